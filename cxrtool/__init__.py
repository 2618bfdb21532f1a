"""From a folder of chest X-rays with multi-label findings to a model that can be trusted.

In Python: `xray_block` and `xray_learner` are fastai's DataBlock and Learner for chest X-rays,
`load_run` is a finished run that scores images.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cxrtool.core.hardware import spin_briefly

if TYPE_CHECKING:
    from cxrtool.inference.loaded_run import load_run
    from cxrtool.training.block import xray_block
    from cxrtool.training.learner import xray_learner

spin_briefly()  # here, since it must come before torch, whichever way in is taken

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load_run", "xray_block", "xray_learner"]

_HOMES = {
    "load_run": "cxrtool.inference.loaded_run",
    "xray_block": "cxrtool.training.block",
    "xray_learner": "cxrtool.training.learner",
}
"""Imported when they are first asked for: fastai alone takes seconds."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
