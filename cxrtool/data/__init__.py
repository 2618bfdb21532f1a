"""Labels and policies, the manifest, the split, data sets, drawn data, rows of predictions."""
