"""Intervals that hold all at once: of many comparisons that are made on the same patients.

Of 14 labels and some pairs of groups one seems to differ almost always. Max-T (Westfall & Young
1993, Resampling-Based Multiple Testing, ch. 2) asks how far the most extreme of all comparisons
strays, in standard deviations; what they have in common, such as labels that go together, costs
nothing. How they go together is taken from the draws of patients, by Gaussian multipliers
(Chernozhukov, Chetverikov & Kato 2013, Ann. Stat. 41:2786-2819): how each strays by itself is a
matter of its own interval, of few patients or a rate near 1, and not of all the others'.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from cxrtool.core.json_files import JsonResult
from cxrtool.evaluation.intervals import LEVEL
from cxrtool.evaluation.metrics import Floats


@dataclass(frozen=True, kw_only=True)
class Simultaneous(JsonResult):
    """How intervals of several comparisons were made to hold together."""

    level: float
    """The chance that all of them hold."""
    comparisons: int
    single_level: float
    """The level of each by itself."""
    method: str = "max-T over the same draws of patients"


MULTIPLIERS = 4000
"""Sets of Gaussian multipliers: the 95 % point of the greatest is known to 0.02."""


class MaxT:
    """Collects comparisons, each with its replicates, and says how wide their intervals must be."""

    def __init__(self, replicates: int) -> None:
        # The same for all, so that an evaluation repeats itself.
        self._multipliers = np.random.default_rng(0).normal(size=(MULTIPLIERS, replicates))
        self._greatest = np.zeros(MULTIPLIERS)
        self._comparisons = 0

    def add(self, drawn: Floats) -> None:
        """Take in K comparisons, from their (R, K) replicates, NaN where undefined.

        One that does not vary counts as a comparison and strays nowhere.
        """
        self._comparisons += drawn.shape[1]
        apart = np.stack([_centred(replicates) for replicates in drawn.T], axis=1)
        lengths = np.linalg.norm(apart, axis=0)
        varied = apart[:, lengths > 0] / lengths[lengths > 0]
        if varied.shape[1]:
            strayed = np.abs(self._multipliers @ varied).max(axis=1)
            self._greatest = np.maximum(self._greatest, strayed)

    def adjust(self, level: float = LEVEL) -> Simultaneous | None:
        """The level that each interval needs so that all hold at `level`; None of nothing.

        Between `level`, that of a single comparison, and Bonferroni's 1 - (1 - level) / K.
        """
        if not self._comparisons:
            return None
        strayed = float(np.quantile(self._greatest, level, method="higher"))
        bonferroni = 1 - (1 - level) / self._comparisons
        single = min(max(float(2 * ndtr(strayed) - 1), level), bonferroni)
        return Simultaneous(level=level, comparisons=self._comparisons, single_level=single)


def _centred(replicates: Floats) -> Floats:
    """How far each is from their mean; 0 for all where none differs."""
    known = ~np.isnan(replicates)
    out = np.zeros(len(replicates))
    if known.any() and np.ptp(replicates[known]) > 0:
        out[known] = replicates[known] - replicates[known].mean()
    return out


def t_intervals(drawn: Floats, values: Floats, freedom: Floats, level: float) -> Floats:
    """Student's t interval of each of K differences, from (R, K) replicates: (K, 2).

    NaN where a value is, where the freedom (K,) is below 1 or nothing varies.
    """
    columns = [column[~np.isnan(column)] for column in drawn.T]
    spread = np.array([np.std(column) if len(column) else np.nan for column in columns])
    able = (freedom >= 1) & (spread > 0)
    width = np.full(len(values), np.nan)
    width[able] = stdtrit(freedom[able], (1 + level) / 2) * spread[able]
    ends: Floats = np.stack([values - width, values + width], axis=1)
    return ends


def t_chances(drawn: Floats, values: Floats, freedom: Floats) -> Floats:
    """The two-sided p-value (K,) of no difference that belongs to `t_intervals`."""
    half = np.diff(t_intervals(drawn, values, freedom, LEVEL), axis=1)[:, 0] / 2
    found = np.full(len(values), np.nan)
    able = half > 0
    spread = half[able] / stdtrit(freedom[able], (1 + LEVEL) / 2)
    found[able] = 2 * stdtr(freedom[able], -np.abs(values[able]) / spread)
    return found


def square_and_add(
    high: tuple[Floats, Floats], low: tuple[Floats, Floats], alike: Floats
) -> Floats:
    """Intervals of K differences from those of the two figures of each: (K, 2).

    By Zou & Donner (2008, Stat. Med. 27:1693-1702), who follow Newcombe: a difference inherits how
    lopsided the intervals of its two figures are, and has one where a figure has no variance, such
    as a sensitivity of 1.

    Args:
        high: the figures (K,) that are subtracted from, and their intervals (K, 2).
        low: those that are subtracted.
        alike: (K,) the correlation of the two, 0 for groups of other patients.
    """
    (above, of_above), (below, of_below) = high, low
    apart = above - below

    def reach(one: Floats, two: Floats) -> Floats:
        return np.sqrt(np.maximum(one**2 + two**2 - 2 * alike * one * two, 0.0))

    down = reach(above - of_above[:, 0], of_below[:, 1] - below)
    up = reach(of_above[:, 1] - above, below - of_below[:, 0])
    ends: Floats = np.stack([apart - down, apart + up], axis=1)
    return ends


def correlations(one: Floats, other: Floats) -> Floats:
    """Of K pairs of replicates, (R, K) each: (K,); 0 where one does not vary."""
    found = np.zeros(one.shape[1])
    for at, (first, second) in enumerate(zip(one.T, other.T, strict=True)):
        known = ~np.isnan(first) & ~np.isnan(second)
        if known.any() and np.ptp(first[known]) > 0 and np.ptp(second[known]) > 0:
            found[at] = np.corrcoef(first[known], second[known])[0, 1]
    return found
