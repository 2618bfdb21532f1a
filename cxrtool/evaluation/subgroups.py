"""Scores group by group: AUROC and rates at the threshold, the largest gaps, what a group tells."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import BOTH, SUBGROUPS
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.bootstrap import Draws, bootstrap_rankings
from cxrtool.evaluation.intervals import LEAST_PATIENTS, area_interval, bootstrap_interval
from cxrtool.evaluation.metrics import Floats, auroc
from cxrtool.evaluation.protocol import NOT_KNOWN
from cxrtool.evaluation.rates import Outcomes
from cxrtool.evaluation.result import Gap, Gaps, Group, GroupScores, Subgroups
from cxrtool.evaluation.sample import Sample, measured, patients_of_classes

Names = NDArray[np.str_]
Mask = NDArray[np.bool_]

MOST_GROUPS = 20
"""A column with more values than this tells rows apart, and not groups."""
AGE_BANDS = (0, 20, 40, 60, 80)
"""Where bands of age begin, years; the last one has no end."""


def group_rows(about: pd.DataFrame, columns: Sequence[str]) -> dict[str, Names]:
    """The group that each row is in, for each of the columns: (n,) names.

    `age` is cut into bands; `view` tells AP from PA where `orientation` is there; any other
    column's values are its groups. Blanks are `not known`.

    Raises:
        UsageError: there is no such column, or it has more than 20 values.
    """
    found = {}
    for column in columns:
        if not len(about.columns):
            raise UsageError(
                f"--by {column}: the truth has no column beside its labels and keys to form groups "
                "by: add one, or pass --by none"
            )
        found[column] = _groups_of(about, column)
        count = len(np.unique(found[column]))
        if count > MOST_GROUPS:
            raise UsageError(
                f"--by {column}: its {count:,} values make too many groups "
                f"({MOST_GROUPS} at most): name another column"
            )
    return found


def _groups_of(about: pd.DataFrame, column: str) -> Names:
    """(n,) the group of each row by a column, or by two: `Female, 20-39` by `sex x age`."""
    if column in about.columns:
        return _groups_of_one(about, column)
    parts = column.split(BOTH)
    absent = [name for name in parts if name not in about.columns]
    if absent or len(parts) > 2:
        wrong = absent[0] if absent else column
        raise UsageError(unknown_name("column of --by", wrong, list(about.columns)))
    first, second = (_groups_of_one(about, name) for name in parts)
    known = (first != NOT_KNOWN) & (second != NOT_KNOWN)
    return np.where(known, np.char.add(np.char.add(first, ", "), second), NOT_KNOWN)


def _groups_of_one(about: pd.DataFrame, column: str) -> Names:
    if column == "age":
        names = _age_bands(about["age"])
    elif column == "view" and "orientation" in about.columns:
        names = (_texts(about["view"]) + " " + _texts(about["orientation"])).str.strip()
    else:
        names = _texts(about[column])
    return np.where(names == "", NOT_KNOWN, names).astype(str)


def _texts(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype(object).where(column.notna(), "").astype(str).str.strip()


def _age_bands(ages: "pd.Series[Any]") -> "pd.Series[str]":
    years = pd.to_numeric(ages, errors="coerce")
    names = [f"{low}-{high - 1}" for low, high in itertools.pairwise(AGE_BANDS)]
    names.append(f"{AGE_BANDS[-1]}+")
    cut = pd.cut(years, [*AGE_BANDS, np.inf], right=False, labels=names)
    return cut.astype(object).where(cut.notna(), "").astype(str)


def known_groups(about: pd.DataFrame, columns: Sequence[str] | None) -> dict[str, Names]:
    """The groups of the columns asked for; without any, of the usual ones that tell something."""
    if columns is not None:
        return group_rows(about, columns)
    single = [name for name in SUBGROUPS if name in about.columns]
    usual = group_rows(about, single)
    known = {name: values for name, values in usual.items() if (values != NOT_KNOWN).any()}
    for both in (name for name in SUBGROUPS if name not in about.columns and BOTH in name):
        if not set(both.split(BOTH)) <= set(known):
            continue
        values = _groups_of(about, both)
        # Nobody asked for it: a column of many values that is called sex has no intersections.
        if 1 < len(np.unique(values)) <= MOST_GROUPS:
            known[both] = values
    return known


class _Group(NamedTuple):
    """One group's figures of all labels, with their replicates for the gaps."""

    measures: dict[str, tuple[Floats, Floats | None]]
    """Of AUROC, TPR and FPR the values (C,) and those in each draw of patients (R, C)."""
    few: NDArray[np.int64]
    """(C,) patients of the rarer class."""
    labels: dict[str, GroupScores]


def assess_groups(sample: Sample, thresholds: Floats, draws: Draws | None) -> dict[str, Subgroups]:
    """Of each column in `sample.groups` its groups' figures, the largest gaps, and `within`.

    `thresholds` (C,) are NaN for none. `draws` are of the sample's patients: a group's replicates
    are those rows of it that were drawn. Without draws there are no intervals.
    """
    return {
        column: _assess_column(sample, values, thresholds, draws)
        for column, values in sample.groups.items()
    }


def _assess_column(
    sample: Sample, values: Names, thresholds: Floats, draws: Draws | None
) -> Subgroups:
    names = np.unique(values).tolist()
    names.sort(key=lambda name: name in (NOT_KNOWN, "several"))
    masks = [sample.mask & (values == name)[:, None] for name in names]
    groups = dict(zip(names, _assess_each(sample, masks, thresholds, draws), strict=True))
    return Subgroups(
        groups={
            name: Group(
                n=int((values == name).sum()),
                patients=len(np.unique(sample.patients[values == name])),
                labels=group.labels,
            )
            for name, group in groups.items()
        },
        gaps={
            label: _gaps(at, groups, has_threshold=not np.isnan(thresholds[at]))
            for at, label in enumerate(sample.labels)
        },
        within=_within(sample, masks, list(groups.values())),
    )


def _assess_each(
    sample: Sample, masks: list[Mask], thresholds: Floats, draws: Draws | None
) -> list[_Group]:
    drawn: list[Floats | None] = [None] * len(masks)
    if draws is not None:
        # All groups at once, as so many labels more: the draws are made once.
        again = (1, len(masks))
        ranked = bootstrap_rankings(
            np.tile(sample.targets, again), np.tile(sample.ranked, again), np.hstack(masks), draws
        )
        drawn = list(np.hsplit(ranked.auroc, len(masks)))
    return [
        _assess_one(sample, mask, thresholds, draws, of_group)
        for mask, of_group in zip(masks, drawn, strict=True)
    ]


def _assess_one(
    sample: Sample, mask: Mask, thresholds: Floats, draws: Draws | None, aurocs: Floats | None
) -> _Group:
    values = measured(auroc, sample, mask)
    few = patients_of_classes(sample, mask).min(axis=0)
    ends = np.full((len(values), 2), np.nan)
    if aurocs is not None:
        ends = area_interval(aurocs, values, few - 1.0)
    outcomes = Outcomes(sample, thresholds, mask, draws)
    tpr, fpr = outcomes.share("tp", "fn"), outcomes.share("fp", "tn")
    labels = {}
    for at, label in enumerate(sample.labels):
        n, positives = int(mask[:, at].sum()), int((sample.targets & mask)[:, at].sum())
        labels[label] = GroupScores(
            n=n,
            positives=positives,
            prevalence=positives / n if n else None,
            auroc=Estimate.of(values[at], ends[at]),
            too_few=bool(few[at] < LEAST_PATIENTS),
            tpr=tpr.estimates[at],
            fpr=fpr.estimates[at],
        )
    measures = {
        "auroc": (values, aurocs),
        "tpr": (tpr.values, tpr.drawn),
        "fpr": (fpr.values, fpr.drawn),
    }
    return _Group(measures, few, labels)


def _gaps(at: int, groups: Mapping[str, _Group], *, has_threshold: bool) -> Gaps:
    """The largest differences between two groups of one label that are not too small."""
    able = {name: group for name, group in groups.items() if group.few[at] >= LEAST_PATIENTS}
    if len(able) < 2:
        return Gaps()
    rates = {name: _gap(at, able, name) for name in ("tpr", "fpr")} if has_threshold else {}
    return Gaps(auroc=_gap(at, able, "auroc"), **rates)


def _gap(at: int, groups: Mapping[str, _Group], measure: str) -> Gap:
    ordered = sorted(groups, key=lambda name: (groups[name].measures[measure][0][at], name))
    lowest, highest = groups[ordered[0]], groups[ordered[-1]]
    (low, low_drawn), (high, high_drawn) = (of.measures[measure] for of in (lowest, highest))
    gap, ends = float(high[at] - low[at]), np.full(2, np.nan)
    if low_drawn is not None and high_drawn is not None:
        apart = (high_drawn - low_drawn)[:, [at]]
        freedom = min(lowest.few[at], highest.few[at]) - 1.0
        ends = bootstrap_interval(apart, [gap], [freedom])[0]
    interval = Estimate.of(gap, ends).interval
    return Gap(gap=gap, ci=interval, highest=ordered[-1], lowest=ordered[0])


def _within(
    sample: Sample, masks: Sequence[Mask], groups: Sequence[_Group]
) -> dict[str, float | None]:
    """The mean of the groups' AUROCs, each weighing as many pairs as it has."""
    positives = np.array([(sample.targets & mask).sum(axis=0) for mask in masks], float)
    negatives = np.array([(~sample.targets & mask).sum(axis=0) for mask in masks], float)
    pairs = positives * negatives
    won = np.nansum(pairs * np.array([group.measures["auroc"][0] for group in groups]), axis=0)
    whole = pairs.sum(axis=0)
    return {
        label: float(won[at] / whole[at]) if whole[at] else None
        for at, label in enumerate(sample.labels)
    }
