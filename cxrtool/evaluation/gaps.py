"""Gaps between groups that are gaps: intervals that hold for all labels and pairs at once.

The family is everything that one evaluation could say: all pairs of groups of all columns, for all
labels, of AUROC, TPR and FPR together. An evaluation of a model that serves all groups alike so
states any gap at all in 5 % of cases at most (tests/benchmarks/bench_alarms.py).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.result import ClearGap, Gap, Gaps
from cxrtool.evaluation.simultaneous import MaxT, Simultaneous, correlations, square_and_add

MEASURES = ("auroc", "tpr", "fpr")


@dataclass(frozen=True)
class Figures:
    """One measure of one group, of all labels."""

    values: Floats
    """(C,) NaN where not defined."""
    drawn: Floats | None
    """(R, C) in each draw of patients; None: no intervals."""
    ends_at: Callable[[float], Floats]
    """Their intervals (C, 2) at a level."""


@dataclass(frozen=True)
class GroupFigures:
    """One group's figures."""

    measures: Mapping[str, Figures]
    able: NDArray[np.bool_]
    """(C,) whether the group has enough patients of both classes to take part."""


Groups = Mapping[str, GroupFigures]


@dataclass(frozen=True)
class _Apart:
    """All comparisons of two groups by one measure; (K,) each, of K labels."""

    pair: tuple[str, str]
    labels: NDArray[np.intp]
    values: Floats
    """The first group's less the second's."""
    ends: Floats | None
    """(K, 2) that hold together."""

    def gap(self, at: int) -> Gap:
        """A label's gap, above 0: from the higher to the lower group."""
        value, (first, second) = float(self.values[at]), self.pair
        low, high = (np.nan, np.nan) if self.ends is None else self.ends[at].tolist()
        if value < 0 or (value == 0 and first < second):
            value, low, high, first, second = -value, -high, -low, second, first
        ci = Estimate.of(value, (low, high)).interval
        return Gap(gap=value, ci=ci, highest=first, lowest=second)


def adjust_gaps(columns: Sequence[Groups]) -> Simultaneous | None:
    """What the intervals of all gaps of an evaluation need to hold together."""
    family: MaxT | None = None
    for groups, measure in itertools.product(columns, MEASURES):
        for first, second in itertools.combinations(groups.values(), 2):
            one, other = first.measures[measure], second.measures[measure]
            if one.drawn is None or other.drawn is None:
                return None
            family = family or MaxT(len(one.drawn))
            labels = _labels(first, second, measure)
            if len(labels):
                family.add(one.drawn[:, labels] - other.drawn[:, labels])
    return family.adjust() if family is not None else None


def _labels(first: GroupFigures, second: GroupFigures, measure: str) -> NDArray[np.intp]:
    """The labels of which both groups have a figure that counts."""
    both = first.able & second.able
    for group in (first, second):
        both = both & ~np.isnan(group.measures[measure].values)
    return np.flatnonzero(both)


def find_gaps(
    labels: Sequence[str], groups: Groups, together: Simultaneous | None
) -> tuple[dict[str, Gaps], tuple[ClearGap, ...]]:
    """Each label's gaps between its highest and lowest group, and all gaps that are clear of 0.

    The clear ones, of any two groups, come surest first: by the end nearer to 0.
    """
    largest: dict[str, dict[str, Gap]] = {label: {} for label in labels}
    clear: list[ClearGap] = []
    for measure in MEASURES:
        for apart in _pairs(groups, measure, together):
            for at, column in enumerate(apart.labels):
                label, gap = labels[column], apart.gap(at)
                known = largest[label].get(measure)
                if known is None or gap.gap > known.gap:
                    largest[label][measure] = gap
                if gap.ci and gap.ci[0] > 0:
                    clear.append(ClearGap(**vars(gap), measure=measure, label=label))
    clear.sort(key=lambda one: -one.ci[0] if one.ci else 0.0)
    return {label: Gaps(**of) for label, of in largest.items()}, tuple(clear)


def _pairs(groups: Groups, measure: str, together: Simultaneous | None) -> list[_Apart]:
    ends = {}
    if together is not None:
        level = together.single_level
        ends = {name: of.measures[measure].ends_at(level) for name, of in groups.items()}
    found = []
    for (first, one), (second, other) in itertools.combinations(groups.items(), 2):
        labels = _labels(one, other, measure)
        mine, theirs = one.measures[measure], other.measures[measure]
        of_both = None
        if ends and mine.drawn is not None and theirs.drawn is not None:
            alike = correlations(mine.drawn[:, labels], theirs.drawn[:, labels])
            of_both = square_and_add(
                (mine.values[labels], ends[first][labels]),
                (theirs.values[labels], ends[second][labels]),
                alike,
            )
        values = mine.values[labels] - theirs.values[labels]
        found.append(_Apart((first, second), labels, values, of_both))
    return found
