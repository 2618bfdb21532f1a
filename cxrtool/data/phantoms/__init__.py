"""Drawn chest X-rays: a data set in CheXpert's layout that is nobody's, to try the tool on."""

from cxrtool.data.phantoms.dataset import DrawnDataset, draw_dataset

__all__ = ["DrawnDataset", "draw_dataset"]
