"""AUROC and AUPRC of several labels, or differences of them, with intervals, and their means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.bootstrap import Draws, Rankings, bootstrap_rankings
from cxrtool.evaluation.intervals import mean_freedom
from cxrtool.evaluation.metrics import Floats, auprc, auroc
from cxrtool.evaluation.sample import Sample, measured

IntervalOf = Callable[[ArrayLike, ArrayLike, ArrayLike], Floats]


@dataclass(frozen=True)
class Areas:
    """Values of labels, by the measure: `auroc` and `auprc`."""

    values: Mapping[str, Floats]
    """(C,) each, NaN where not defined."""
    drawn: Rankings | None
    """The same in each draw of patients; None: no intervals."""
    freedom: Floats
    """(C,) patients of each label's rarer class, less one."""
    interval_of: Mapping[str, IntervalOf]
    """How each measure's intervals are made of `drawn`."""

    def of_labels(self, measure: str) -> list[Estimate]:
        """Each label's value and its interval."""
        values = self.values[measure]
        if self.drawn is None:
            return Estimate.each(values)
        ends = self.interval_of[measure](getattr(self.drawn, measure), values, self.freedom)
        return Estimate.each(values, ends)

    def defined(self, columns: Sequence[int]) -> list[int]:
        """Those of the columns whose AUROC is defined."""
        return [column for column in columns if not np.isnan(self.values["auroc"][column])]

    def mean(self, measure: str, columns: Sequence[int], value: float) -> Estimate:
        """The mean `value` over columns that are defined, and its interval."""
        if not columns or self.drawn is None:
            return Estimate.of(value)
        drawn = getattr(self.drawn, measure)[:, columns]
        # A draw without one of the labels has no mean over the same labels.
        means = drawn.mean(axis=1, keepdims=True)
        freedom = mean_freedom(drawn, self.freedom[columns])
        return Estimate.of(value, self.interval_of[measure](means, [value], [freedom])[0])


def measured_areas(
    sample: Sample, draws: Draws | None
) -> tuple[dict[str, Floats], Rankings | None]:
    """Each label's AUROC and AUPRC, and the same in each draw of the sample's patients."""
    values = {"auroc": measured(auroc, sample), "auprc": measured(auprc, sample)}
    if draws is None:
        return values, None
    return values, bootstrap_rankings(sample.targets, sample.ranked, sample.mask, draws)
