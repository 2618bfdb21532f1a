"""From a folder of chest X-rays with multi-label findings to a model that can be trusted."""

from cxrtool.core.hardware import spin_briefly

spin_briefly()  # here, since it must come before torch, whichever way in is taken

__version__ = "0.1.0"
