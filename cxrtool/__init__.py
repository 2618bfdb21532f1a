"""From a folder of chest X-rays with multi-label findings to a model that can be trusted."""

__version__ = "0.1.0"
