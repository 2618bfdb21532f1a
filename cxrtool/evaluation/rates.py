"""Rates at a threshold, of all labels at once, with intervals over patients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.bootstrap import Draws, bootstrap_sums
from cxrtool.evaluation.effective_number import effective_patients
from cxrtool.evaluation.intervals import LEVEL, bootstrap_interval, share_interval
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.sample import Sample


@dataclass(frozen=True)
class Rate:
    """A rate of each label."""

    values: Floats
    """(C,) NaN where not defined."""
    drawn: Floats | None
    """(R, C) the same in each draw of patients."""
    ends_at: Callable[[float], Floats]
    """Their intervals (C, 2) at a level; NaN without draws."""

    @cached_property
    def estimates(self) -> list[Estimate]:
        """Each label's rate and its interval."""
        return Estimate.each(self.values, self.ends_at(LEVEL))


class Outcomes:
    """Which rows are true and false positives and negatives, and how many of them there are.

    Of a sample of n rows and C labels: `thresholds` (C,) are NaN for none, and then a label has
    none of the four; `mask` (n, C) says which rows count. Without draws there are no intervals.
    """

    def __init__(
        self, sample: Sample, thresholds: Floats, mask: NDArray[np.bool_], draws: Draws | None
    ) -> None:
        counts = mask & ~np.isnan(thresholds)
        called = np.greater_equal(sample.scores, thresholds)  # NaN is at or over nothing
        self._rows = {
            "tp": counts & called & sample.targets,
            "fp": counts & called & ~sample.targets,
            "tn": counts & ~called & ~sample.targets,
            "fn": counts & ~called & sample.targets,
        }
        self._patients, self._chosen = sample.patients, ~np.isnan(thresholds)
        self._totals = {name: of.sum(axis=0).astype(float) for name, of in self._rows.items()}
        self._drawn: dict[str, Floats] | None = None
        if draws is not None:
            sums = np.hsplit(bootstrap_sums(np.hstack(list(self._rows.values())), draws), 4)
            self._drawn = dict(zip(self._rows, sums, strict=True))

    def share(self, part: str, rest: str) -> Rate:
        """The rate part / (part + rest), such as the sensitivity of `tp` and `fn`."""
        values = _divide(self._totals[part], self._totals[part] + self._totals[rest])
        if self._drawn is None:
            return Rate(values, None, lambda _: np.full((len(values), 2), np.nan))
        drawn = _divide(self._drawn[part], self._drawn[part] + self._drawn[rest])
        among = self._rows[part] | self._rows[rest]
        rows, patients = among.sum(axis=0), effective_patients(self._patients, among)
        return Rate(
            values,
            drawn,
            lambda level: share_interval(values, drawn, rows, patients, level),
        )

    def counts(self, at: int) -> dict[str, int | None]:
        """How many rows of label number `at` are each of the four; None without a threshold."""
        chosen = bool(self._chosen[at])
        return {name: int(of[at]) if chosen else None for name, of in self._totals.items()}

    def f1(self) -> list[Estimate]:
        """Of each label, 2 tp / (2 tp + fp + fn)."""
        values = _f1(self._totals)
        if self._drawn is None:
            return Estimate.each(values)
        freedom = effective_patients(self._patients, self._rows["tp"] | self._rows["fn"]) - 1.0
        return Estimate.each(values, bootstrap_interval(_f1(self._drawn), values, freedom))


def _f1(counts: dict[str, Floats]) -> Floats:
    return _divide(2 * counts["tp"], 2 * counts["tp"] + counts["fp"] + counts["fn"])


def _divide(part: Floats, whole: Floats) -> Floats:
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
