"""AUROCs of scores with few levels, as if a few more patients had been seen: Agresti and Caffo's.

With scores of two levels an AUROC is the mean of sensitivity and specificity, two shares of
independent patients, and Agresti & Caffo (2000, Am. Stat. 54:280-288) add one success and one
failure to each, so that a share of 1 among twenty is no certainty. Here each class gets two more
patients, who are like those seen, but half of each moved to the next level below and above that
occurs.
Where scores are finely graded the next level is so near that nothing changes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrtool.evaluation.metrics import Floats

MORE = 2.0
"""Patients that each class gets, as Agresti and Caffo advise."""


class Smoothed(NamedTuple):
    """An AUROC with the patients added, and the variance that they add."""

    area: float
    lacking: float
    """How much more its variance is than without them; 0 or more."""


def smoothed_area(
    positive: NDArray[np.bool_], score: Floats, patients: tuple[float, float]
) -> Smoothed:
    """The AUROC of `score` (n,) with the patients added.

    `patients` are the effective numbers of patients with and without (`effective_number`). NaN and
    0.0 where there is no row of a class.

    >>> area, more = smoothed_area(np.array([True, True, False, False]), np.array([1., 1, 1, 0]),
    ...                            (2, 2))
    >>> area == (3 / 4 + 2 / 4) / 2, more > 0
    (True, True)
    """
    levels, at = np.unique(score, return_inverse=True)
    counts = [np.bincount(at[rows], minlength=len(levels)) for rows in (positive, ~positive)]
    if not all(of.any() for of in counts):
        return Smoothed(float("nan"), 0.0)
    seen = [of / of.sum() for of in counts]
    added = [_spread(of, number) for of, number in zip(seen, patients, strict=True)]
    lacking = 0.0
    for mine, other, number in ((0, 1, patients[0]), (1, 0, patients[1])):
        wide = _variance(added[mine], _below(added[other])) / (number + MORE)
        lacking += max(wide - _variance(seen[mine], _below(seen[other])) / number, 0.0)
    return Smoothed(float(added[0] @ _below(added[1])), lacking)


def _spread(shares: Floats, number: float) -> Floats:
    """The shares of each level with `MORE` patients added to `number` of them."""
    half = shares / 2
    moved = np.append(half[1:], half[-1]) + np.append(half[0], half[:-1])
    spread: Floats = (number * shares + MORE * moved) / (number + MORE)
    return spread


def _below(shares: Floats) -> Floats:
    """The share under each level, ties counted half."""
    below: Floats = np.cumsum(shares) - shares / 2
    return below


def _variance(shares: Floats, values: Floats) -> float:
    mean = shares @ values
    return float(shares @ (values - mean) ** 2)
