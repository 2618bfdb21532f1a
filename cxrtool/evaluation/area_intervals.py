"""From replicates to intervals of AUROCs, also of coarse scores, few patients and perfect ranks.

Replicates alone know nothing of what no patient here happened to show: with two scores and twenty
positives that all have the higher one, each draw has sensitivity 1, and without more the interval
held the true AUROC in 60 to 90 % of simulations (tests/benchmarks/bench_coverage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, stdtrit

from cxrtool.evaluation.intervals import LEVEL, each_column, mean_freedom
from cxrtool.evaluation.metrics import Floats


@dataclass(frozen=True)
class Backing:
    """What K AUROCs rest on, beside their replicates; (K,) each."""

    freedom: Floats
    """Degrees of freedom: the rarer class's patients, by Kish's effective number, less one."""
    pairs: Floats
    """How many pairs of a patient with and one without there are, none in two of them."""
    centres: Floats
    """The AUROCs as `coarse_scores.smoothed_areas` has them."""
    lacking: Floats
    """The variance that the replicates lack."""

    @classmethod
    def plain(cls, estimates: ArrayLike, freedom: ArrayLike) -> "Backing":
        """Of finely graded scores of patients who have as many rows each."""
        degrees = np.asarray(freedom, np.float64)
        centres = np.asarray(estimates, np.float64)
        return cls(degrees, degrees + 1, centres, np.zeros(len(degrees)))

    def of_mean(self, replicates: Floats, columns: Sequence[int]) -> "Backing":
        """Of the mean over some of the columns, whose (R, k) replicates are given.

        A mean of perfect scores below `x` has a score below `x`, so that the fewest pairs count.
        """
        freedom = mean_freedom(replicates, self.freedom[columns])
        return Backing(
            np.array([freedom]),
            self.pairs[columns].min(keepdims=True),
            self.centres[columns].mean(keepdims=True),
            self.lacking[columns].sum(keepdims=True) / len(columns) ** 2,
        )


def area_interval(
    replicates: ArrayLike, estimates: ArrayLike, backing: Backing, level: float = LEVEL
) -> Floats:
    """Interval of each AUROC, or mean of AUROCs: Student's t on the scale of log odds.

    The log odds of the centre, more and less t times the standard deviation there: that of the
    replicates and what they lack (Pepe 2003, The Statistical Evaluation of Medical Tests, ch. 5,
    advises the scale). An interval never leaves [0, 1], and reaches further down than up where
    the estimate is near 1. Replicates at 0 or 1 count as half as far from it as the nearest other
    one. There is no n / (n - 1): how many patients of a class are drawn varies, and adds as much.

    An estimate of 1 or 0 has the exact one-sided interval of its independent pairs, as the rule
    of three; see `perfect_interval`.

    Args:
        replicates: (R, K); NaN where a draw leaves a score undefined.
        estimates: (K,) the scores on all patients.
        backing: of these scores.
        level: the share of true values that the intervals shall hold.

    Returns:
        (K, 2), lower and upper end, the estimate within; NaN where the estimate is, where the
        freedom is below 1 or fewer than half of the replicates are defined.

    Raises:
        DataError: shapes do not fit.
        UsageError: `level` is not between 0 and 1.

    >>> drawn, backing = [[0.5], [0.5], [0.6], [0.4]], Backing.plain([0.5], [1e9])
    >>> area_interval(drawn, [0.5], backing).round(3).tolist()
    [[0.363, 0.637]]
    """
    out = np.full((len(np.asarray(estimates)), 2), np.nan)
    for column, drawn, estimate in each_column(replicates, estimates, backing.freedom, level):
        if estimate in (0, 1):
            out[column] = perfect_interval(estimate, backing.pairs[column], level)
        elif backing.freedom[column] >= 1:
            centre, lacking = backing.centres[column], backing.lacking[column]
            width = float(stdtrit(backing.freedom[column], (1 + level) / 2))
            out[column] = _by_log_odds(drawn, estimate, (centre, lacking), width)
    return out


def _by_log_odds(
    replicates: Floats, estimate: float, centred: tuple[float, float], width: float
) -> Floats:
    inside = replicates[(replicates > 0) & (replicates < 1)]
    centre, lacking = centred
    variance = lacking / (centre * (1 - centre)) ** 2
    if len(inside):
        kept = np.clip(replicates, inside.min() / 2, (1 + inside.max()) / 2)
        variance += float(np.var(logit(kept)))
    if not variance:
        return np.full(2, np.nan)
    half = width * np.sqrt(variance)
    low, high = expit(logit(centre) + np.array([-half, half]))
    return np.array([min(low, estimate), max(high, estimate)])


def perfect_interval(estimate: float, pairs: float, level: float = LEVEL) -> Floats:
    """The one-sided interval of an AUROC of 1, or mirrored of 0: (2,).

    A pair of a patient with and one without is ranked right, ties aside, with a chance of no more
    than the true AUROC, so that among k pairs that share no patient none is ranked wrong with a
    chance of AUROC^k at most: the lower end is (1 - level)^(1/k), about 1 - 3/k at 95 % (the rule
    of three; Hanley & Lippman-Hand 1983, JAMA 249:1743-1745). NaN without a pair.

    >>> perfect_interval(1.0, 30).round(3).tolist()
    [0.905, 1.0]
    """
    if pairs < 1:
        return np.full(2, np.nan)
    low = (1 - level) ** (1 / pairs)
    return np.array([low, 1.0] if estimate == 1 else [0.0, 1 - low])
