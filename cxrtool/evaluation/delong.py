"""DeLong's variance of AUROCs, and of the difference of two, also where patients have many rows.

DeLong, DeLong & Clarke-Pearson (1988, Biometrics 44:837-845) take rows to be independent;
Obuchowski (1997, Biometrics 53:567-578) sums their structural components over each patient first.
With one row a patient both are the same. The components come from midranks (Sun & Xu 2014, IEEE
Signal Process. Lett. 21:1389-1393), so that time grows as n log n, and ties count half.

No library that we know of has Obuchowski's; the published codes compare each positive with each
negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import rankdata

from cxrtool.core.errors import DataError
from cxrtool.core.numbers import Interval
from cxrtool.evaluation.intervals import LEVEL
from cxrtool.evaluation.metrics import Floats, counted_scores


@dataclass(frozen=True)
class ClusteredAreas:
    """AUROCs of K models on the same rows of the same patients."""

    aurocs: Floats
    """(K,)."""
    covariance: Floats
    """(K, K); NaN where a class has fewer than two patients."""

    def interval(self, at: int, level: float = LEVEL) -> Interval:
        """One AUROC's interval on the scale of log odds; None without a variance or at 0 or 1."""
        area, variance = float(self.aurocs[at]), float(self.covariance[at, at])
        if not variance > 0 or not 0 < area < 1:
            return None
        half = ndtri((1 + level) / 2) * np.sqrt(variance) / (area * (1 - area))
        low, high = expit(logit(area) + np.array([-half, half]))
        return float(low), float(high)


@dataclass(frozen=True)
class AreaDifference:
    """How much higher one AUROC is than another on the same patients, by DeLong's method."""

    difference: float
    ci: Interval
    """None, as `p`, where the two never differ or a class has fewer than two patients."""
    p: float | None
    """Two-sided, of no difference."""


def delong_areas(
    y_true: ArrayLike, scores: ArrayLike, patients: ArrayLike, mask: ArrayLike | None = None
) -> ClusteredAreas:
    """AUROCs of K models and the covariance of them over patients.

    Args:
        y_true: (n,) 0 or 1.
        scores: (n, K) finite, a column a model.
        patients: (n,) whose row each is, names or numbers.
        mask: (n,) rows that count; None: all.

    Raises:
        DataError: the shapes differ, a target is not 0 or 1, a score is not finite, or a class
            has no row.

    >>> found = delong_areas([0, 0, 1, 1], np.array([[0.1], [0.4], [0.35], [0.8]]), [1, 2, 3, 4])
    >>> found.aurocs.tolist(), found.covariance.tolist()
    ([0.75], [[0.125]])
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2:
        raise DataError(f"scores have shape {table.shape}: expected (rows, models)")
    counts = np.ones(len(table), bool) if mask is None else np.asarray(mask, bool)
    columns = [counted_scores(y_true, of_model, counts) for of_model in table.T]
    positive, kept = columns[0][0], np.stack([score for _, score in columns], axis=1)
    if positive.all() or not positive.any():
        raise DataError("an AUROC needs rows of both classes")
    _, patient_of = np.unique(np.asarray(patients)[counts], return_inverse=True)
    return _areas(positive, kept, patient_of)


def _areas(
    positive: NDArray[np.bool_], scores: Floats, patient_of: NDArray[np.intp]
) -> ClusteredAreas:
    everywhere = rankdata(scores, axis=0)
    rows = positive, ~positive
    numbers = [int(of.sum()) for of in rows]
    # Of each positive the share of negatives below it, of each negative that of positives above.
    own = [everywhere[of] - rankdata(scores[of], axis=0) for of in rows]
    shares = own[0] / numbers[1], 1 - own[1] / numbers[0]
    aurocs = shares[0].mean(axis=0)
    size = int(patient_of.max()) + 1
    sums, clusters = [], []
    for of, share, number in zip(rows, shares, numbers, strict=True):
        total = np.zeros((size, scores.shape[1]))
        np.add.at(total, patient_of[of], (share - aurocs) / number)
        sums.append(total)
        clusters.append(len(np.unique(patient_of[of])))
    if min(clusters) < 2:
        return ClusteredAreas(aurocs, np.full((scores.shape[1],) * 2, np.nan))
    of_positives, of_negatives = (
        count / (count - 1) * total.T @ total for count, total in zip(clusters, sums, strict=True)
    )
    across = size / (size - 1) * sums[0].T @ sums[1]
    return ClusteredAreas(aurocs, of_positives + of_negatives + across + across.T)


def delong_difference(
    y_true: ArrayLike,
    scores: Sequence[ArrayLike],
    patients: ArrayLike,
    mask: ArrayLike | None = None,
    level: float = LEVEL,
) -> AreaDifference:
    """The first model's AUROC less the second's: `scores` are (n,) of the two.

    A normal quantile, as DeLong's method has it. Raises as `delong_areas`.

    >>> found = delong_difference([0, 0, 1, 1], ([1, 2, 3, 4], [1, 4, 2, 3]), [1, 2, 3, 4])
    >>> found.difference, round(found.p, 3)
    (0.5, 0.317)
    """
    found = delong_areas(
        y_true, np.stack([np.asarray(one) for one in scores], axis=1), patients, mask
    )
    apart = float(found.aurocs[0] - found.aurocs[1])
    signs = np.array([1.0, -1.0])
    variance = float(signs @ found.covariance @ signs)
    # What is left of a variance of 0 is rounding.
    if not variance > np.finfo(float).eps * float(np.trace(found.covariance)):
        return AreaDifference(apart, None, None)
    error = float(np.sqrt(variance))
    half = float(ndtri((1 + level) / 2)) * error
    return AreaDifference(apart, (apart - half, apart + half), float(2 * ndtr(-abs(apart) / error)))
