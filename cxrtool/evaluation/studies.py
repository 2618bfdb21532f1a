"""A study's scores, made of its images': their mean, or the greatest of them."""

import numpy as np
from numpy.typing import NDArray

from cxrtool.data.logits import mean_logits
from cxrtool.evaluation.metrics import Floats

AGGREGATES = ("mean", "max")


def combine_scores(scores: Floats, studies: NDArray[np.int64], size: int, aggregate: str) -> Floats:
    """The scores of studies.

    Sums are rounded as they are added up: rows in another order may give other last digits.

    Args:
        scores: (n, C) of images.
        studies: (n,) each image's study, from 0; each has one.
        size: how many studies there are.
        aggregate: "mean" or "max".

    Returns:
        (size, C).
    """
    if aggregate == "max":
        return _greatest(scores, studies, size)
    total = np.zeros((size, scores.shape[1]))
    np.add.at(total, studies, scores)
    return total / np.bincount(studies)[:, None]


def combine_logits(logits: Floats, studies: NDArray[np.int64], size: int, aggregate: str) -> Floats:
    """The logits of what `combine_scores` makes of the probabilities of these logits."""
    if aggregate == "max":
        return _greatest(logits, studies, size)
    return mean_logits(logits, studies, size)


def _greatest(values: Floats, studies: NDArray[np.int64], size: int) -> Floats:
    greatest = np.full((size, values.shape[1]), -np.inf)
    np.maximum.at(greatest, studies, values)
    return greatest
