"""fastai: loaders, losses, the learner, phases, checkpoints, the record of a run."""
