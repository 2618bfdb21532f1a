"""How a run does on other data sets beside its own: the scores, and how far they are apart.

The patients of two data sets are other people, so the two are independent, and a difference's
replicate is made of one of each. Where both draw as many patients by one seed, the same places are
drawn in both: so replicate r of one meets replicate r + 1 of the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrtool.core.json_files import JsonResult, plain
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.area_intervals import Backing, area_interval
from cxrtool.evaluation.areas import areas_of
from cxrtool.evaluation.intervals import bootstrap_interval, mean_freedom
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.evaluation.scoring import Scored
from cxrtool.evaluation.shared_labels import LabelCells, SharedLabels


@dataclass(frozen=True, kw_only=True)
class Apart(JsonResult):
    """AUROCs on a run's own data and on others, and the second less the first."""

    internal: Estimate
    external: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True)
class Differences(JsonResult):
    """How far a run's AUROCs on another data set are from those on its own."""

    labels: Mapping[str, Apart]
    """Of the labels in common."""
    mean: Apart
    """Over those that are defined on both."""
    defined: int
    """How many these are."""


@dataclass(frozen=True, kw_only=True)
class ExternalSet(JsonResult):
    """A run on one other data set."""

    name: str
    labels: SharedLabels
    cells: LabelCells
    """Of the labels in common."""
    unusable: int
    """Rows that were left out, since they or their images could not be used."""
    other_views: int
    """Rows that were left out since they are of other views than the run's."""
    result: EvaluationResult
    differences: Differences | None
    """None without scores on the run's own data."""


@dataclass(frozen=True, kw_only=True)
class InternalSet(JsonResult):
    """The run on a part of its own data."""

    cells: LabelCells
    """Of the labels that some of the other data sets have."""
    result: EvaluationResult


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """A run on its own data and on others."""

    run: str
    internal: InternalSet | None
    """On a part of its own data; None where that is not here or cannot be scored."""
    sets: tuple[ExternalSet, ...]
    written: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {
            "run": self.run,
            "internal": plain(self.internal),
            "external": plain(self.sets),
        }


@dataclass(frozen=True)
class _Side:
    """One data set's AUROCs of the labels in common."""

    values: Floats
    """(C,)."""
    drawn: Floats | None
    """(R, C) in each draw of patients."""
    backing: Backing
    """Of the labels."""

    def mean(self, columns: Sequence[int]) -> "_Side":
        """The mean over some of the labels, as of one."""
        chosen = list(columns)
        if not chosen:
            return _Side(np.array([np.nan]), None, Backing.plain([np.nan], [0.0]))
        value = self.values[chosen].mean(keepdims=True)
        if self.drawn is None:
            return _Side(value, None, Backing.plain(value, [0.0]))
        drawn = self.drawn[:, chosen]
        # A draw without one of the labels has no mean over the same labels.
        backing = self.backing.of_mean(drawn, chosen)
        return _Side(value, drawn.mean(axis=1, keepdims=True), backing)

    @property
    def estimates(self) -> list[Estimate]:
        if self.drawn is None:
            return Estimate.each(self.values)
        return Estimate.each(self.values, area_interval(self.drawn, self.values, self.backing))


def differences(internal: Scored, external: Scored) -> Differences:
    """How far the AUROCs of one run on two data sets are apart, the external less the internal.

    Of the labels of the external one, which the internal one has too. Intervals are over the
    patients of both; their degrees of freedom are put together by Satterthwaite (1946).
    """
    labels = external.raw.labels
    here, there = _side(internal, labels), _side(external, labels)
    both = np.flatnonzero(~np.isnan(here.values) & ~np.isnan(there.values)).tolist()
    mean = _apart(here.mean(both), there.mean(both))[0]
    return Differences(
        labels=dict(zip(labels, _apart(here, there), strict=True)), mean=mean, defined=len(both)
    )


def _side(scored: Scored, labels: Sequence[str]) -> _Side:
    sample = scored.raw.choose(labels)
    areas = areas_of(sample, scored.draws)
    drawn = None if areas.drawn is None else areas.drawn.auroc
    return _Side(areas.auroc, drawn, areas.backing)


def _apart(here: _Side, there: _Side) -> list[Apart]:
    """Column by column."""
    values = there.values - here.values
    if here.drawn is None or there.drawn is None:
        estimates = Estimate.each(values)
    else:
        shifted = np.roll(there.drawn, 1, axis=0)
        freedom = [
            mean_freedom(np.stack(pair, axis=1), degrees)
            for pair, degrees in zip(
                zip(here.drawn.T, shifted.T, strict=True),
                zip(here.backing.freedom, there.backing.freedom, strict=True),
                strict=True,
            )
        ]
        ends = bootstrap_interval(shifted - here.drawn, values, freedom)
        estimates = Estimate.each(values, ends)
    sides = zip(here.estimates, there.estimates, estimates, strict=True)
    return [Apart(internal=one, external=two, difference=apart) for one, two, apart in sides]
