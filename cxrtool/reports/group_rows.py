"""Subgroups as rows of a table: label by label, group beside group."""

from dataclasses import dataclass

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.result import (
    EvaluationResult,
    Gaps,
    GroupScores,
    LabelScores,
    Subgroups,
)
from cxrtool.reports.underdiagnosis import complement

CLEARLY_BELOW = 0.02
"""So far under the overall AUROC (and its interval) is the one within groups worth a word."""
RATES = {"auroc": ("AUROC", 3), "tpr": ("TPR", 2), "fpr": ("FPR", 2)}
"""The rates of each group, and with how many decimals they are shown."""


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """One label's figures in each group of a column, and over all rows."""

    label: str
    cells: list[GroupScores]
    overall: LabelScores
    fpr: Estimate
    """1 - specificity over all rows."""
    gaps: Gaps
    within: float | None
    below: float | None
    """How far `within` is clearly under the overall AUROC."""

    def over_all(self, rate: str) -> Estimate:
        """A figure of `RATES` over all rows."""
        return {"auroc": self.overall.auroc, "tpr": self.overall.sensitivity, "fpr": self.fpr}[rate]


def subgroup_table(result: EvaluationResult, column: str) -> dict[str, object]:
    """One column's groups, label by label, with the rows that any group has a figure for."""
    of = result.subgroups[column]
    cells = [cell for group in of.groups.values() for cell in group.labels.values()]
    # AUROC always has a row; the two rates only where an operating point was chosen.
    rates = {
        key: rate
        for key, rate in RATES.items()
        if key == "auroc" or any(getattr(cell, key).value is not None for cell in cells)
    }
    return {
        "column": column,
        "groups": of.groups,
        "rates": rates,
        "rows": [_group_row(label, overall, of) for label, overall in result.labels.items()],
        "clear_gaps": {key: [gap for gap in of.clear if gap.measure == key] for key in rates},
        "compared": {key: any(getattr(gaps, key) for gaps in of.gaps.values()) for key in rates},
        "adjusted": of.adjusted,
        "few": sum(cell.too_few for cell in cells),
        "cells": len(cells),
    }


def _group_row(label: str, overall: LabelScores, of: Subgroups) -> GroupRow:
    cells, within = [group.labels[label] for group in of.groups.values()], of.within[label]
    # Among groups that are too small, the difference is chance.
    large = sum(not cell.too_few for cell in cells)
    return GroupRow(
        label=label,
        cells=cells,
        overall=overall,
        fpr=complement(overall.specificity),
        gaps=of.gaps[label],
        within=within,
        below=below(overall.auroc, within) if large > 1 else None,
    )


def below(overall: Estimate, within: float | None) -> float | None:
    """How far the AUROC within groups is under the overall one; None where not clearly."""
    if overall.value is None or within is None or overall.value - within < CLEARLY_BELOW:
        return None
    # Inside its own interval the overall AUROC could be the one within groups by chance.
    inside = overall.interval is not None and within >= overall.interval[0]
    return None if inside else overall.value - within
