"""How far mild changes of the images change scores and decisions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.bootstrap import Draws, bootstrap_rankings
from cxrtool.evaluation.intervals import bootstrap_interval, mean_freedom
from cxrtool.evaluation.metrics import Floats, auroc
from cxrtool.evaluation.sample import Sample, measured, patients_of_classes


@dataclass(frozen=True, kw_only=True)
class ChangedScores(JsonResult):
    """What one change of the images does."""

    mean_auroc: float | None
    """Over the labels that are defined, of the changed images."""
    difference: Estimate
    """Of that mean, from the images as they are; below 0 where the change costs."""
    labels: Mapping[str, Estimate]
    """The same of each label."""
    flipped: float | None
    """The share of decisions that are other than those of the images as they are; None: no
    thresholds."""

    @property
    def worst(self) -> tuple[str, Estimate] | None:
        """The label that falls most; None where none does."""
        known = {label: one for label, one in self.labels.items() if (one.value or 0) < 0}
        return min(known.items(), key=lambda item: item[1].value or 0, default=None)


@dataclass(frozen=True, kw_only=True)
class Robustness(JsonResult):
    """Scores of changed images beside those of the images as they are, scored together."""

    mean_auroc: float | None
    """Of the images as they are."""
    changes: Mapping[str, ChangedScores]


def assess_robustness(
    plain: Sample, changed: Mapping[str, Sample], thresholds: Floats, draws: Draws | None
) -> Robustness:
    """Compare scores of changed images with those of the same images as they are.

    Differences are paired: of the same draws of patients (Efron 1981's bias-corrected percentiles).

    Args:
        plain: n rows, C labels, of the images as they are.
        changed: the same rows and truth, by what was done to the images.
        thresholds: (C,) on the scale of the samples' scores; NaN for none.
        draws: of the sample's patients; None: no intervals.
    """
    before, drawn = _aurocs(plain, draws)
    freedom = patients_of_classes(plain, plain.mask).min(axis=0) - 1.0
    known = ~np.isnan(before)
    called, decided = plain.scores >= thresholds, plain.mask & ~np.isnan(thresholds)
    found = {}
    for name, sample in changed.items():
        after, again = _aurocs(sample, draws)
        apart = None if again is None or drawn is None else again - drawn
        flips = (called != (sample.scores >= thresholds))[decided]
        found[name] = ChangedScores(
            mean_auroc=_mean(after[known]),
            difference=_mean_difference((after - before)[known], apart, freedom, known),
            labels=dict(
                zip(plain.labels, _differences(after - before, apart, freedom), strict=True)
            ),
            flipped=float(flips.mean()) if flips.size else None,
        )
    return Robustness(mean_auroc=_mean(before[known]), changes=found)


def _aurocs(sample: Sample, draws: Draws | None) -> tuple[Floats, Floats | None]:
    """Each label's AUROC (C,), and the same in each draw of patients (R, C)."""
    values = measured(auroc, sample)
    if draws is None:
        return values, None
    return values, bootstrap_rankings(sample.targets, sample.ranked, sample.mask, draws).auroc


def _differences(values: Floats, drawn: Floats | None, freedom: Floats) -> list[Estimate]:
    if drawn is None:
        return Estimate.each(values)
    return Estimate.each(values, bootstrap_interval(drawn, values, freedom))


def _mean_difference(
    values: Floats, drawn: Floats | None, freedom: Floats, known: NDArray[np.bool_]
) -> Estimate:
    """The mean of the known labels' differences, and its interval."""
    if not len(values) or drawn is None:
        return Estimate(_mean(values))
    chosen = drawn[:, known]
    ends = bootstrap_interval(
        chosen.mean(axis=1, keepdims=True), [values.mean()], [mean_freedom(chosen, freedom[known])]
    )
    return Estimate.of(float(values.mean()), ends[0])


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
