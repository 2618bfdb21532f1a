"""What is taken from fastai, imported without the warnings that are its own and not the user's."""

import warnings

with warnings.catch_warnings():
    # fastai still scripts a function on import, which torch calls deprecated.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.script.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from fastai.callback.core import (
        Callback,
        CancelFitException,
        CancelValidException,
        TrainEvalCallback,
    )
    from fastai.callback.schedule import valley
    from fastai.data.core import DataLoaders, TfmdDL
    from fastai.data.transforms import IntToFloatTensor
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    from fastai.torch_core import TensorBase, TensorImageBW
    from fastai.vision.augment import RandTransform
    from fasttransform import Transform

__all__ = [
    "Callback",
    "CancelFitException",
    "CancelValidException",
    "DataLoaders",
    "IntToFloatTensor",
    "Learner",
    "OptimWrapper",
    "RandTransform",
    "TensorBase",
    "TensorImageBW",
    "TfmdDL",
    "TrainEvalCallback",
    "Transform",
    "valley",
]
