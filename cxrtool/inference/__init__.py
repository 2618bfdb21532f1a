"""Images and a model to rows: engines, ensembles, heat maps, the journal."""
