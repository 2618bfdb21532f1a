"""Log odds and probabilities in float64.

Ranks are taken from logits: of a network that is sure of all it sees the probabilities are 0 and 1
to the last digit of any number format, and its logits still tell its images apart.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LOWEST, HIGHEST = -746.0, 38.0
"""What probabilities of 0 and 1 get for a logit: just beyond float64's own lowest and highest."""
APART = 1e-6
"""How far a stored probability may be from its logit's: what is more was edited."""


def probabilities_of(logits: ArrayLike) -> Floats:
    """1 / (1 + exp(-logit)) of any shape; NaN stays NaN.

    >>> probabilities_of([0.0, -1000.0, 1000.0]).tolist()
    [0.5, 0.0, 1.0]
    """
    values = np.asarray(logits, np.float64)
    # exp of what is not above 0 cannot overflow, and loses no digit of a probability near 0.
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values < 0, small, 1.0) / (1 + small))


def rows_apart(logits: Floats, probabilities: Floats) -> NDArray[np.bool_]:
    """Which rows (n, labels) have a probability that is not its logit's: (n,)."""
    same = np.isfinite(logits) & (np.abs(probabilities_of(logits) - probabilities) <= APART)
    apart: NDArray[np.bool_] = np.logical_or.reduce(~same, axis=1)
    return apart


def logits_of(probabilities: ArrayLike) -> Floats:
    """log(p / (1 - p)) of any shape; finite also for 0 and 1; NaN stays NaN.

    >>> logits_of([0.5, 0.0, 1.0]).tolist()
    [0.0, -746.0, 38.0]
    """
    values = np.asarray(probabilities, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(values) - np.log1p(-values), LOWEST, HIGHEST))


def mean_logits(logits: ArrayLike, groups: ArrayLike, size: int) -> Floats:
    """The logits of the mean probabilities of groups of rows, also where these are all but 0 or 1.

    Args:
        logits: (n, C).
        groups: (n,) the group of each row, from 0.
        size: how many groups there are; each has a row.

    Returns:
        (size, C): log of the mean of p less log of the mean of 1 - p.

    >>> mean_logits([[800.0], [900.0], [0.0]], [0, 0, 1], 2).round(3).tolist()
    [[800.693], [0.0]]
    """
    values, of = np.asarray(logits, np.float64), np.asarray(groups)
    sums = []
    for signed in (values, -values):
        share = -np.logaddexp(0, -signed)  # log p, and then log (1 - p)
        highest = np.full((size, values.shape[1]), -np.inf)
        np.maximum.at(highest, of, share)
        total = np.zeros_like(highest)
        np.add.at(total, of, np.exp(share - highest[of]))
        sums.append(highest + np.log(total))
    return np.asarray(sums[0] - sums[1])
