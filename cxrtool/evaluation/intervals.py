"""From replicates to 95 % intervals that hold what they promise, also for few patients.

An AUPRC, whose replicates lie higher than itself, and differences, which have no scale of their
own, get percentiles that are shifted and widened; rates Wilson's interval with as many rows as the
alike ones are worth. Those of an AUROC are in `area_intervals`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation.metrics import Floats

LEVEL = 0.95
LEAST_PATIENTS = 10
"""With fewer patients of a class a label's figures rest on too little: its interval is not to be
leaned on, no threshold is chosen among them, and a group as small says nothing of it."""
LEAST_DEFINED = 0.5
"""The share of replicates in which a score must be defined for its interval to say anything."""


def bootstrap_interval(
    replicates: ArrayLike, estimates: ArrayLike, freedom: ArrayLike, level: float = LEVEL
) -> Floats:
    """Interval of each column: bias-corrected percentiles, their levels widened for few patients.

    Bias-corrected (Efron 1981, Can. J. Stat. 9:139-172): where a share p of the replicates lies
    below the estimate, the ends move by twice the normal quantile of p. Widened (Hesterberg 2015,
    Am. Stat. 69:371-386): Student's t in place of the normal quantile, and sqrt(n / (n - 1)),
    since the variance among n patients drawn with replacement is that much too small.

    Args:
        replicates: (R, K); NaN where a draw leaves a score undefined.
        estimates: (K,) the scores on all patients.
        freedom: (K,) degrees of freedom, patients less one: of an AUROC those of its rarer class.
        level: the share of true values that the intervals shall hold.

    Returns:
        (K, 2), lower and upper end, between the least and the greatest replicate; NaN where the
        estimate is, where `freedom` is below 1, fewer than half of the replicates are defined, or
        all are the same: a perfect score among a few is no certainty.

    Raises:
        DataError: shapes do not fit.
        UsageError: `level` is not between 0 and 1.

    >>> values = [[0.1], [0.2], [0.3], [0.4], [0.5]]
    >>> bootstrap_interval(values, [0.3], [1e9], level=0.5).round(2).tolist()
    [[0.2, 0.4]]
    """
    out = np.full((len(np.asarray(estimates)), 2), np.nan)
    degrees = np.asarray(freedom, np.float64)
    for column, drawn, estimate in each_column(replicates, estimates, freedom, level):
        if drawn.min() < drawn.max() and degrees[column] >= 1:
            out[column] = _percentiles(drawn, estimate, float(degrees[column]), level)
    return out


def each_column(
    replicates: ArrayLike, estimates: ArrayLike, freedom: ArrayLike, level: float
) -> Iterator[tuple[int, Floats, float]]:
    """Columns whose estimate and half of whose replicates are defined: number, those, estimate.

    Raises:
        DataError: the shapes are not (R, K), (K,) and (K,).
        UsageError: `level` is not between 0 and 1.
    """
    values, estimate = np.asarray(replicates, np.float64), np.asarray(estimates, np.float64)
    degrees = np.asarray(freedom, np.float64)
    _check_level(level)
    if values.ndim != 2 or not estimate.shape == degrees.shape == values.shape[1:]:
        raise DataError(
            f"replicates {values.shape}, estimates {estimate.shape} and freedom {degrees.shape}: "
            "expected (replicates, scores), (scores,) and (scores,)"
        )
    for column, of_this in enumerate(values.T):
        defined = of_this[~np.isnan(of_this)]
        enough = len(defined) and len(defined) >= LEAST_DEFINED * len(of_this)
        if enough and not np.isnan(estimate[column]):
            yield column, defined, float(estimate[column])


def _percentiles(replicates: Floats, estimate: float, freedom: float, level: float) -> Floats:
    below = np.sum(replicates < estimate) + np.sum(replicates == estimate) / 2
    # Half a replicate on either side keeps the quantile finite.
    shift = ndtri((below + 0.5) / (len(replicates) + 1))
    width = _width(freedom, level)
    ends: Floats = np.quantile(replicates, ndtr(2 * shift + np.array([-width, width])))
    return ends


def _width(freedom: float, level: float) -> float:
    """Standard deviations of replicates on either side of an estimate."""
    return float(stdtrit(freedom, (1 + level) / 2) * np.sqrt((freedom + 1) / freedom))


def mean_freedom(replicates: ArrayLike, freedom: ArrayLike) -> float:
    """Degrees of freedom of a mean of scores, from their own (Satterthwaite 1946).

    (sum v)^2 / sum(v^2 / freedom) over the variances v of the columns of (R, K) replicates: rare
    labels vary most and count most. 0 where one of the columns has none. Biom. Bull. 2:110-114.

    >>> mean_freedom([[0.1, 0.3], [0.2, 0.4]], [10, 10])
    20.0
    """
    values, degrees = np.asarray(replicates, np.float64), np.asarray(freedom, np.float64)
    if not degrees.size or (degrees < 1).any():
        return 0.0
    variance = _variances(values)
    if not variance.any():
        return float(degrees.min())
    return float(variance.sum() ** 2 / np.sum(variance**2 / degrees))


def share_interval(
    shares: ArrayLike,
    replicates: ArrayLike,
    rows: ArrayLike,
    patients: ArrayLike,
    level: float = LEVEL,
) -> Floats:
    """Wilson interval of each share, with as many rows as the alike ones are worth.

    A bootstrap of 5 hits among 5 never misses, and would promise certainty. So the replicates
    give the variance alone, and with it the effective number of independent rows, p (1 - p) /
    variance; Wilson's interval (1927, J. Am. Stat. Assoc. 22:209-212) is that of so many rows, as
    surveys do it (Korn & Graubard 1998, Surv. Methodol. 24:193-201): times (z / t)^2, t being
    Student's quantile, since how alike a patient's rows are is known from few patients. A share of
    0 or 1 has no variance: there a patient counts as one row.

    Args:
        shares: (K,) in [0, 1].
        replicates: (R, K) of them; NaN where a draw has no row of the kind.
        rows: (K,) how many rows each share is of; it is never worth more of them.
        patients: (K,) of how many patients they are, by `effective_number`.
        level: the share of true values that the intervals shall hold.

    Returns:
        (K, 2) in [0, 1]; NaN where the share is.

    >>> share_interval([1.0], [[1.0]], [9], [5]).round(3).tolist()
    [[0.566, 1.0]]
    """
    _check_level(level)
    share = np.asarray(shares, np.float64)
    count, whom = np.asarray(rows, np.float64), np.asarray(patients, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = _variances(np.asarray(replicates, np.float64))
        variance *= whom / np.maximum(whom - 1, 1)
        freedom = np.maximum(whom - 1, 1)
        known = (ndtri((1 + level) / 2) / stdtrit(freedom, (1 + level) / 2)) ** 2
        known = np.where(count > whom, known, 1.0)
        effective = np.where(variance > 0, known * share * (1 - share) / variance, whom)
        effective = np.clip(effective, 1, np.maximum(count, 1))
    return wilson_interval(share, effective, level)


def wilson_interval(shares: ArrayLike, rows: ArrayLike, level: float = LEVEL) -> Floats:
    """Wilson's interval (1927) of shares (K,) of so many independent rows (K,) each: (K, 2).

    In [0, 1]; NaN where the share is. scipy has it of one share of whole counts alone.

    >>> wilson_interval([0.5], [10]).round(3).tolist()
    [[0.237, 0.763]]
    """
    _check_level(level)
    share, count = np.asarray(shares, np.float64), np.asarray(rows, np.float64)
    z = ndtri((1 + level) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    half /= 1 + z**2 / count
    ends = np.stack([middle - half, middle + half], axis=1)
    # Rounding must not put an end of 0 or 1 beside it.
    ends[share == 0, 0], ends[share == 1, 1] = 0.0, 1.0
    bounded: Floats = np.clip(ends, 0.0, 1.0)
    return bounded


def _variances(replicates: Floats) -> Floats:
    """The variance of each column's defined replicates; NaN where none is."""
    defined = [column[~np.isnan(column)] for column in replicates.T]
    return np.array([np.var(column) if len(column) else np.nan for column in defined])


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level is {level}: expected a share between 0 and 1, as 0.95")
