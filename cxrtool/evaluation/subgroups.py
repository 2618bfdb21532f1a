"""Scores group by group: AUROC and rates at the threshold, the largest gaps, what a group tells."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.evaluation.bootstrap import Draws, bootstrap_rankings
from cxrtool.evaluation.intervals import LEAST_PATIENTS, area_interval, bootstrap_interval
from cxrtool.evaluation.metrics import auroc
from cxrtool.evaluation.sample import (
    Floats,
    Sample,
    drawn_counts,
    json_interval,
    json_number,
    outcomes,
    patients_of_classes,
    rate_with_interval,
)

MOST_GROUPS = 20
"""A column with more values than this tells rows apart, and not groups."""
AGE_BANDS = (0, 20, 40, 60, 80)
"""Where bands of age begin, years; the last one has no end."""
NOT_KNOWN = "not known"
RATES = {"tpr": (("tp",), ("tp", "fn")), "fpr": (("fp",), ("fp", "tn"))}


def group_rows(about: pd.DataFrame, columns: Sequence[str]) -> dict[str, NDArray[np.str_]]:
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
        if column not in about.columns:
            raise UsageError(unknown_name("column of --by", column, list(about.columns)))
        if column == "age":
            names = _age_bands(about["age"])
        elif column == "view" and "orientation" in about.columns:
            names = (_texts(about["view"]) + " " + _texts(about["orientation"])).str.strip()
        else:
            names = _texts(about[column])
        values = np.where(names == "", NOT_KNOWN, names).astype(str)
        count = len(np.unique(values))
        if count > MOST_GROUPS:
            raise UsageError(
                f"--by {column}: its {count:,} values make too many groups "
                f"({MOST_GROUPS} at most): name another column"
            )
        found[column] = values
    return found


def _texts(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype(object).where(column.notna(), "").astype(str).str.strip()


def _age_bands(ages: "pd.Series[Any]") -> "pd.Series[str]":
    years = pd.to_numeric(ages, errors="coerce")
    names = [f"{low}-{high - 1}" for low, high in itertools.pairwise(AGE_BANDS)]
    names.append(f"{AGE_BANDS[-1]}+")
    cut = pd.cut(years, [*AGE_BANDS, np.inf], right=False, labels=names)
    return cut.astype(object).where(cut.notna(), "").astype(str)


class _Group(NamedTuple):
    """One group's figures of all labels, with their replicates for the gaps."""

    auroc: Floats  # (C,)
    auroc_drawn: Floats | None  # (R, C)
    rates: dict[str, Floats]  # (C,) each
    rates_drawn: dict[str, Floats]  # (R, C) each
    few: NDArray[np.int64]  # (C,) patients of the rarer class
    told: dict[str, Any]


def assess_groups(
    sample: Sample, thresholds: Floats, draws: Draws | None
) -> dict[str, dict[str, Any]]:
    """Of each column in `sample.groups`: its groups' figures, the largest gaps, `within`.

    Args:
        sample: of n rows and C labels.
        thresholds: (C,) a score at or over it is positive; NaN for none.
        draws: of the sample's patients, over which a group's replicates are those rows of it
            that were drawn; None: no intervals.

    Returns:
        For each column `groups` (name to `n, patients, labels`), `gaps` (label to the largest
        differences of AUROC, tpr and fpr between groups that are not too small, the two groups
        being chosen after looking) and `within` (label to the AUROC among pairs of a positive
        and a negative of the same group: what is left when the group itself tells nothing).
    """
    found = {}
    for column, values in sample.groups.items():
        names = sorted(np.unique(values).tolist(), key=_group_order)
        masks = [sample.mask & (values == name)[:, None] for name in names]
        groups = _assess_each(sample, masks, thresholds, draws)
        told = {}
        for name, group in zip(names, groups, strict=True):
            rows = values == name
            whom = len(np.unique(sample.patients[rows]))
            told[name] = {"n": int(rows.sum()), "patients": whom, "labels": group.told}
        found[column] = {
            "groups": told,
            "gaps": {
                label: _gaps(at, names, groups, thresholds)
                for at, label in enumerate(sample.labels)
            },
            "within": _within(sample, masks, groups),
        }
    return found


def _group_order(name: str) -> tuple[bool, str]:
    return name in (NOT_KNOWN, "several"), name


def _assess_each(
    sample: Sample, masks: list[NDArray[np.bool_]], thresholds: Floats, draws: Draws | None
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
    sample: Sample,
    mask: NDArray[np.bool_],
    thresholds: Floats,
    draws: Draws | None,
    auroc_drawn: Floats | None,
) -> _Group:
    columns = zip(sample.targets.T, sample.ranked.T, mask.T, strict=True)
    values = np.array([auroc(*column) for column in columns])
    few = patients_of_classes(sample, mask).min(axis=0)
    ends = np.full((len(values), 2), np.nan)
    if auroc_drawn is not None:
        ends = area_interval(auroc_drawn, values, few - 1.0)
    rows = outcomes(sample, thresholds, mask)
    totals = {name: of.sum(axis=0).astype(float) for name, of in rows.items()}
    counts = None if draws is None else drawn_counts(rows, draws)
    rates, rates_drawn = {}, {}
    told: dict[str, Any] = {}
    for at, label in enumerate(sample.labels):
        n, positives = int(mask[:, at].sum()), int((sample.targets & mask)[:, at].sum())
        told[label] = {
            "n": n,
            "positives": positives,
            "prevalence": positives / n if n else None,
            "auroc": json_number(float(values[at])),
            "auroc_ci": json_interval(ends[at]),
            "too_few": bool(few[at] < LEAST_PATIENTS),
        }
    for name, (part, whole) in RATES.items():
        among = np.logical_or.reduce([rows[kind] for kind in whole])
        shares, share_ends = rate_with_interval(part, whole, totals, counts, among, sample.patients)
        rates[name] = shares
        if counts is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                rates_drawn[name] = counts[part[0]] / sum(counts[kind] for kind in whole)
        for at, label in enumerate(sample.labels):
            told[label][name] = json_number(float(shares[at]))
            told[label][f"{name}_ci"] = json_interval(share_ends[at])
    return _Group(values, auroc_drawn, rates, rates_drawn, few, told)


def _gaps(
    at: int, names: Sequence[str], groups: Sequence[_Group], thresholds: Floats
) -> dict[str, Any]:
    """The largest differences between two groups of one label; None with fewer than two."""
    able = [row for row, group in enumerate(groups) if group.few[at] >= LEAST_PATIENTS]
    if len(able) < 2:
        return {"auroc": None, **dict.fromkeys(RATES)}
    of_groups = [(group.auroc[at], group.auroc_drawn, group.few[at]) for group in groups]
    gaps: dict[str, Any] = {"auroc": _gap(able, names, of_groups, at)}
    for name in RATES:
        known = not np.isnan(thresholds[at])
        of_groups = [(g.rates[name][at], g.rates_drawn.get(name), g.few[at]) for g in groups]
        gaps[name] = _gap(able, names, of_groups, at) if known else None
    return gaps


def _gap(
    able: Sequence[int],
    names: Sequence[str],
    of_groups: Sequence[tuple[float, Floats | None, int]],
    at: int,
) -> dict[str, Any]:
    ordered = sorted(able, key=lambda row: (of_groups[row][0], names[row]))
    (low, low_drawn, low_few), (high, high_drawn, high_few) = (
        of_groups[ordered[end]] for end in (0, -1)
    )
    ends = np.full(2, np.nan)
    if low_drawn is not None and high_drawn is not None:
        apart = (high_drawn - low_drawn)[:, [at]]
        ends = bootstrap_interval(apart, [high - low], [min(low_few, high_few) - 1.0])[0]
    return {
        "gap": float(high - low),
        "ci": json_interval(ends),
        "highest": names[ordered[-1]],
        "lowest": names[ordered[0]],
    }


def _within(
    sample: Sample, masks: Sequence[NDArray[np.bool_]], groups: Sequence[_Group]
) -> dict[str, float | None]:
    """The mean of the groups' AUROCs, each weighing as many pairs as it has."""
    positives = np.array([(sample.targets & mask).sum(axis=0) for mask in masks], float)
    negatives = np.array([(~sample.targets & mask).sum(axis=0) for mask in masks], float)
    pairs = positives * negatives
    won = np.nansum(pairs * np.array([group.auroc for group in groups]), axis=0)
    whole = pairs.sum(axis=0)
    return {
        label: float(won[at] / whole[at]) if whole[at] else None
        for at, label in enumerate(sample.labels)
    }
