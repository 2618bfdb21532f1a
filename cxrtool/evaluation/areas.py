"""AUROC and AUPRC of several labels, or differences of them, with intervals, and their means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.area_intervals import Backing, area_interval
from cxrtool.evaluation.bootstrap import Draws, Rankings, bootstrap_rankings
from cxrtool.evaluation.coarse_scores import smoothed_area
from cxrtool.evaluation.effective_number import effective_patients
from cxrtool.evaluation.intervals import LEVEL, bootstrap_interval, mean_freedom
from cxrtool.evaluation.metrics import Floats, auprc, auroc
from cxrtool.evaluation.sample import Sample, measured, patients_of_classes


@dataclass(frozen=True)
class Areas:
    """AUROC and AUPRC of labels."""

    auroc: Floats
    """(C,), as `auprc`; NaN where not defined."""
    auprc: Floats
    drawn: Rankings | None
    """The same in each draw of patients; None: no intervals."""
    backing: Backing
    """What the AUROCs rest on."""

    def aurocs(self, level: float = LEVEL) -> list[Estimate]:
        """Each label's AUROC and its interval."""
        if self.drawn is None:
            return Estimate.each(self.auroc)
        return Estimate.each(
            self.auroc, area_interval(self.drawn.auroc, self.auroc, self.backing, level)
        )

    def auprcs(self) -> list[Estimate]:
        """Each label's AUPRC and its interval."""
        if self.drawn is None:
            return Estimate.each(self.auprc)
        ends = bootstrap_interval(self.drawn.auprc, self.auprc, self.backing.freedom)
        return Estimate.each(self.auprc, ends)

    def mean_auroc(self, columns: Sequence[int]) -> Estimate:
        """The mean AUROC over those of the columns that are defined, and its interval."""
        chosen = defined(self.auroc, columns)
        value = mean_of(self.auroc, chosen)
        if not chosen or self.drawn is None:
            return Estimate.of(value)
        drawn = self.drawn.auroc[:, chosen]
        # A draw without one of the labels has no mean over the same labels.
        means, backing = drawn.mean(axis=1, keepdims=True), self.backing.of_mean(drawn, chosen)
        return Estimate.of(value, area_interval(means, [value], backing)[0])

    def mean_auprc(self, columns: Sequence[int]) -> Estimate:
        """The same of AUPRC, over the labels whose AUROC is defined."""
        chosen = defined(self.auroc, columns)
        value = mean_of(self.auprc, chosen)
        if not chosen or self.drawn is None:
            return Estimate.of(value)
        drawn = self.drawn.auprc[:, chosen]
        freedom = mean_freedom(drawn, self.backing.freedom[chosen])
        means = drawn.mean(axis=1, keepdims=True)
        return Estimate.of(value, bootstrap_interval(means, [value], [freedom])[0])


def defined(values: Floats, columns: Sequence[int]) -> list[int]:
    """Those of the columns whose value is no NaN."""
    return [column for column in columns if not np.isnan(values[column])]


def mean_of(values: Floats, columns: Sequence[int]) -> float:
    """The mean over columns; NaN over none."""
    return float(values[list(columns)].mean()) if len(columns) else float("nan")


def measured_areas(
    sample: Sample, draws: Draws | None
) -> tuple[dict[str, Floats], Rankings | None]:
    """Each label's AUROC and AUPRC, and the same in each draw of the sample's patients."""
    values = {"auroc": measured(auroc, sample), "auprc": measured(auprc, sample)}
    if draws is None:
        return values, None
    return values, bootstrap_rankings(sample.targets, sample.ranked, sample.mask, draws)


def areas_of(sample: Sample, draws: Draws | None) -> Areas:
    """AUROC and AUPRC of a sample's labels, with what their intervals need."""
    values, drawn = measured_areas(sample, draws)
    backing = backing_of(sample, sample.mask, None if drawn is None else drawn.auroc)
    return Areas(values["auroc"], values["auprc"], drawn, backing)


def freedom_of(sample: Sample, mask: NDArray[np.bool_]) -> Floats:
    """Degrees of freedom of each label's AUROC: effective patients of the rarer class, less one."""
    freedom: Floats = _effective(sample, mask).min(axis=0) - 1.0
    return freedom


def backing_of(sample: Sample, mask: NDArray[np.bool_], drawn: Floats | None) -> Backing:
    """What each label's AUROC among the rows of `mask` (n, C) rests on.

    `drawn` (R, C) are its replicates. Where patients have unequal numbers of rows, these vary too
    little by k / (k - 1), k being the rarer class's effective patients; the varying number of its
    m patients in a draw makes up for m / (m - 1) of it.
    """
    effective, patients = _effective(sample, mask), patients_of_classes(sample, mask)
    ranked = sample.ranked
    smoothed = [
        smoothed_area(
            sample.targets[rows, label], ranked[rows, label], tuple(effective[:, label].tolist())
        )
        for label, rows in enumerate(mask.T)
    ]
    lacking = np.array([one.lacking for one in smoothed])
    rarer = effective.argmin(axis=0), np.arange(len(lacking))
    few, whole = effective[rarer], patients[rarer]
    if drawn is not None and len(drawn):
        ratio = np.ones(len(few))
        np.divide(few * (whole - 1), (few - 1) * whole, out=ratio, where=few > 1)
        lacking = lacking + np.maximum(ratio - 1, 0) * _variances(drawn)
    return Backing(
        few - 1.0,
        _disjoint_pairs(sample, mask, patients),
        np.array([one.area for one in smoothed]),
        lacking,
    )


def _effective(sample: Sample, mask: NDArray[np.bool_]) -> Floats:
    """(2, C) effective patients with a positive and with a negative row."""
    classes = sample.targets & mask, ~sample.targets & mask
    return np.stack([effective_patients(sample.patients, rows) for rows in classes])


def _disjoint_pairs(sample: Sample, mask: NDArray[np.bool_], patients: NDArray[np.int64]) -> Floats:
    anybody = [len(np.unique(sample.patients[rows])) // 2 for rows in mask.T]
    pairs: Floats = np.minimum(patients.min(axis=0), anybody).astype(np.float64)
    return pairs


def _variances(drawn: Floats) -> Floats:
    columns = [column[~np.isnan(column)] for column in drawn.T]
    return np.array([np.var(column) if len(column) else 0.0 for column in columns])
