"""What is taken from fastai, imported without the warnings that are its own and not the user's."""

import warnings

with warnings.catch_warnings():
    # fastai still scripts a function on import, which torch calls deprecated.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.script.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # Imported for what they give a Learner: `summary`, and its progress bars.
    import fastai.callback.hook
    import fastai.callback.progress  # noqa: F401
    from fastai.callback.core import (
        Callback,
        CancelBatchException,
        CancelFitException,
        CancelValidException,
        TrainEvalCallback,
    )
    from fastai.callback.schedule import valley
    from fastai.data.block import DataBlock, TransformBlock
    from fastai.data.core import DataLoaders, Datasets, TfmdDL, TfmdLists
    from fastai.data.transforms import (
        ColReader,
        ColSplitter,
        EncodedMultiCategorize,
        IntToFloatTensor,
        MultiCategory,
    )
    from fastai.learner import Learner, Metric, defaults
    from fastai.optimizer import OptimWrapper
    from fastai.torch_core import (
        TensorBase,
        TensorImageBW,
        TensorMultiCategory,
        default_device,
        show_image,
        show_title,
    )
    from fastai.vision.augment import RandTransform
    from fastai.vision.data import dispatch, get_grid
    from fasttransform import Transform

__all__ = [
    "Callback",
    "CancelBatchException",
    "CancelFitException",
    "CancelValidException",
    "ColReader",
    "ColSplitter",
    "DataBlock",
    "DataLoaders",
    "Datasets",
    "EncodedMultiCategorize",
    "IntToFloatTensor",
    "Learner",
    "Metric",
    "MultiCategory",
    "OptimWrapper",
    "RandTransform",
    "TensorBase",
    "TensorImageBW",
    "TensorMultiCategory",
    "TfmdDL",
    "TfmdLists",
    "TrainEvalCallback",
    "Transform",
    "TransformBlock",
    "default_device",
    "defaults",
    "dispatch",
    "get_grid",
    "show_image",
    "show_title",
    "valley",
]
