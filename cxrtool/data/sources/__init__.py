"""The data sets that can be read: one file each, its own CSV and folders to manifest rows."""
