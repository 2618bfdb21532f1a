"""Scores group by group: AUROC and rates at the threshold, their gaps, what a group tells."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import BOTH, SUBGROUPS
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.area_intervals import area_interval
from cxrtool.evaluation.areas import backing_of
from cxrtool.evaluation.bootstrap import Draws, bootstrap_rankings
from cxrtool.evaluation.gaps import Figures, GroupFigures, adjust_gaps, find_gaps
from cxrtool.evaluation.intervals import LEAST_PATIENTS, LEVEL
from cxrtool.evaluation.metrics import Floats, auroc
from cxrtool.evaluation.protocol import NOT_KNOWN
from cxrtool.evaluation.rates import Outcomes
from cxrtool.evaluation.result import Group, GroupScores, Subgroups
from cxrtool.evaluation.sample import Sample, measured, patients_of_classes
from cxrtool.evaluation.simultaneous import Simultaneous

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
    """One group's figures of all labels."""

    figures: GroupFigures
    labels: dict[str, GroupScores]


def assess_groups(sample: Sample, thresholds: Floats, draws: Draws | None) -> dict[str, Subgroups]:
    """Of each column in `sample.groups` its groups' figures, their gaps, and `within`.

    `thresholds` (C,) are NaN for none. `draws` are of the sample's patients: a group's replicates
    are those rows of it that were drawn. Without draws there are no intervals.
    """
    columns = {name: _column(sample, values) for name, values in sample.groups.items()}
    groups = {
        name: dict(zip(masks, _assess_each(sample, masks, thresholds, draws), strict=True))
        for name, masks in columns.items()
    }
    figures = {
        name: {group: found.figures for group, found in of.items()} for name, of in groups.items()
    }
    together = adjust_gaps(list(figures.values()))
    return {
        name: _subgroups(sample, name, columns[name], groups[name], together) for name in columns
    }


def _column(sample: Sample, values: Names) -> dict[str, Mask]:
    """The rows (n, C) of each group that count; `not known` and `several` last."""
    names = np.unique(values).tolist()
    names.sort(key=lambda name: name in (NOT_KNOWN, "several"))
    return {name: sample.mask & (values == name)[:, None] for name in names}


def _subgroups(
    sample: Sample,
    column: str,
    masks: Mapping[str, Mask],
    groups: Mapping[str, _Group],
    together: Simultaneous | None,
) -> Subgroups:
    values = sample.groups[column]
    gaps, clear = find_gaps(
        sample.labels, {name: of.figures for name, of in groups.items()}, together
    )
    return Subgroups(
        groups={
            name: Group(
                n=int((values == name).sum()),
                patients=len(np.unique(sample.patients[values == name])),
                labels=group.labels,
            )
            for name, group in groups.items()
        },
        gaps=gaps,
        within=_within(sample, list(masks.values()), list(groups.values())),
        clear=clear,
        adjusted=together,
    )


def _assess_each(
    sample: Sample, masks: Mapping[str, Mask], thresholds: Floats, draws: Draws | None
) -> list[_Group]:
    drawn: list[Floats | None] = [None] * len(masks)
    if draws is not None:
        # All groups at once, as so many labels more: the draws are made once.
        again = (1, len(masks))
        ranked = bootstrap_rankings(
            np.tile(sample.targets, again),
            np.tile(sample.ranked, again),
            np.hstack(list(masks.values())),
            draws,
        )
        drawn = list(np.hsplit(ranked.auroc, len(masks)))
    return [
        _assess_one(sample, mask, thresholds, draws, of_group)
        for mask, of_group in zip(masks.values(), drawn, strict=True)
    ]


def _assess_one(
    sample: Sample, mask: Mask, thresholds: Floats, draws: Draws | None, aurocs: Floats | None
) -> _Group:
    few = patients_of_classes(sample, mask).min(axis=0)
    areas = _aurocs(sample, mask, aurocs)
    ends = areas.ends_at(LEVEL)
    outcomes = Outcomes(sample, thresholds, mask, draws)
    tpr, fpr = outcomes.share("tp", "fn"), outcomes.share("fp", "tn")
    labels = {}
    for at, label in enumerate(sample.labels):
        n, positives = int(mask[:, at].sum()), int((sample.targets & mask)[:, at].sum())
        labels[label] = GroupScores(
            n=n,
            positives=positives,
            prevalence=positives / n if n else None,
            auroc=Estimate.of(areas.values[at], ends[at]),
            too_few=bool(few[at] < LEAST_PATIENTS),
            tpr=tpr.estimates[at],
            fpr=fpr.estimates[at],
        )
    measures = {
        "auroc": areas,
        "tpr": Figures(tpr.values, tpr.drawn, tpr.ends_at),
        "fpr": Figures(fpr.values, fpr.drawn, fpr.ends_at),
    }
    return _Group(GroupFigures(measures, few >= LEAST_PATIENTS), labels)


def _aurocs(sample: Sample, mask: Mask, drawn: Floats | None) -> Figures:
    values = measured(auroc, sample, mask)
    backing = backing_of(sample, mask, drawn)

    def ends_at(level: float) -> Floats:
        if drawn is None:
            return np.full((len(values), 2), np.nan)
        return area_interval(drawn, values, backing, level)

    return Figures(values, drawn, ends_at)


def _within(
    sample: Sample, masks: Sequence[Mask], groups: Sequence[_Group]
) -> dict[str, float | None]:
    """The mean of the groups' AUROCs, each weighing as many pairs as it has."""
    positives = np.array([(sample.targets & mask).sum(axis=0) for mask in masks], float)
    negatives = np.array([(~sample.targets & mask).sum(axis=0) for mask in masks], float)
    pairs = positives * negatives
    won = np.nansum(
        pairs * np.array([group.figures.measures["auroc"].values for group in groups]), axis=0
    )
    whole = pairs.sum(axis=0)
    return {
        label: float(won[at] / whole[at]) if whole[at] else None
        for at, label in enumerate(sample.labels)
    }
