"""Two models on the same rows: the difference of their scores, on the same draws of patients."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrtool.core.errors import DataError
from cxrtool.core.numbers import Estimate, or_none
from cxrtool.data.labels import COMPETITION_LABELS
from cxrtool.evaluation.areas import defined, freedom_of, mean_of, measured_areas
from cxrtool.evaluation.bootstrap import Draws, draw_patients
from cxrtool.evaluation.delong import AreaDifference, delong_difference
from cxrtool.evaluation.intervals import LEVEL, mean_freedom
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.result import Difference, MeanDifference, PairedDifferences
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.scoring import Scored
from cxrtool.evaluation.simultaneous import MaxT, Simultaneous, t_chances, t_intervals

APART = {
    "images": "the images differ, as those of two folds' valid parts do. Give the mean and the "
    "spread of the folds' scores, or score both on images that neither saw (--split test)",
    "uncertainty": "the truth of uncertain labels differs: --uncertainty POLICY scores all "
    "against one",
    "blank": "the truth of labels not mentioned differs: --blank scores all against one",
    "trained_on": "only one of the two has seen patients of these images",
    "protocol": "their protocols differ",
}
"""Why no difference is taken of a pair, and what to do."""


def differences_of(scored: Sequence[Scored]) -> list[PairedDifferences]:
    """The differences of each pair that has one truth, the later less the earlier."""
    found = []
    for earlier, later in itertools.combinations(scored, 2):
        if why_apart(earlier, later):
            continue
        draws = earlier.draws
        if draws is not None:
            draws = draw_patients(later.raw.patients, replicates=draws.replicates, seed=draws.seed)
        names = later.result.run, earlier.result.run
        found.append(paired_differences(later.raw, earlier.raw, draws, names))
    return found


def why_apart(one: Scored, other: Scored) -> str | None:
    """The key in `APART` of the first reason why a difference would mean nothing; None: no reason.

    Images come before the truth: of other images no truth is the same.
    """
    here, there = one.result.protocol, other.result.protocol
    if _truth_is_one(one, other):
        # What the policies would make of values that are not there is no difference.
        here = replace(here, uncertainty=there.uncertainty, blank=there.blank)
    reasons = {
        "images": not np.array_equal(one.raw.keys, other.raw.keys),
        "uncertainty": here.uncertainty != there.uncertainty,
        "blank": here.blank != there.blank,
        "trained_on": here.trained_on != there.trained_on,
        "protocol": here != there,
    }
    return next((name for name, applies in reasons.items() if applies), None)


def unused_policies(one: Scored, other: Scored) -> str | None:
    """What of two policies differs in name and, on these images, in nothing: in words; None: they
    are the same, or make the truth another."""
    here, there = one.result.protocol, other.result.protocol
    kinds = {
        "uncertain": (here.uncertainty, there.uncertainty),
        "not mentioned": (here.blank, there.blank),
    }
    differing = [f"{kind} as {' or '.join(of)}" for kind, of in kinds.items() if of[0] != of[1]]
    if not differing or why_apart(one, other):
        return None
    return ", ".join(differing)


def _truth_is_one(one: Scored, other: Scored) -> bool:
    """Whether two are of the same rows, whose common labels have the same truth in both."""
    shared = [label for label in one.raw.labels if label in other.raw.labels]
    if not shared or not np.array_equal(one.raw.keys, other.raw.keys):
        return False
    return _same_truth(one.raw.choose(shared), other.raw.choose(shared))


def paired_differences(
    one: Sample, other: Sample, draws: Draws | None, names: tuple[str, str]
) -> PairedDifferences:
    """How much higher `one` scores than `other`: of each label, and of means over labels.

    Both are compared with the same truth on the same rows, and each draw of patients gives one
    difference: what the two have in common, the luck of the patients, is gone from it. Labels may
    stand in another order; without draws there are no intervals. `names` are those of the two.

    Raises:
        DataError: the rows or their truth differ, or no label is common.
    """
    shared = [label for label in one.labels if label in other.labels]
    if not shared:
        raise DataError("no label is common: nothing can be compared")
    one, other = one.choose(shared), other.choose(shared)
    _check_truth(one, other)
    apart = _apart(one, other, draws)
    five = [at for at, label in enumerate(shared) if label in COMPETITION_LABELS]
    return PairedDifferences(
        run=names[0],
        baseline=names[1],
        mean=_mean(apart, range(len(shared))),
        competition=_mean(apart, five) if five else None,
        labels=dict(zip(shared, _of_labels(apart, _by_delong(one, other)), strict=True)),
        adjusted=apart["auroc"].adjust(),
    )


def _check_truth(one: Sample, other: Sample) -> None:
    if not np.array_equal(one.keys, other.keys):
        raise DataError("the rows are not the same: score both on the same images")
    if not _same_truth(one, other):
        raise DataError("the truth is not the same: pass --uncertainty to score both against one")


def _same_truth(one: Sample, other: Sample) -> bool:
    """Whether the same rows and labels count in both, with the same answer."""
    masks, truths = (one.mask, other.mask), (one.targets & one.mask, other.targets & other.mask)
    return np.array_equal(*masks) and np.array_equal(*truths)


@dataclass(frozen=True)
class _Apart:
    """The differences of one measure of all labels."""

    values: Floats
    """(C,) NaN where not defined."""
    drawn: Floats | None
    """(R, C) in each draw of patients; None: no intervals."""
    freedom: Floats
    """(C,)."""

    @property
    def ends(self) -> Floats:
        """The intervals of single labels, (C, 2)."""
        return self.ends_at(LEVEL)

    def ends_at(self, level: float) -> Floats:
        """Intervals of another level."""
        if self.drawn is None:
            return np.full((len(self.values), 2), np.nan)
        return t_intervals(self.drawn, self.values, self.freedom, level)

    @property
    def p(self) -> Floats:
        """(C,) p-values of single labels."""
        if self.drawn is None:
            return np.full(len(self.values), np.nan)
        return t_chances(self.drawn, self.values, self.freedom)

    def adjust(self) -> Simultaneous | None:
        """What all labels with a difference need to hold together."""
        if self.drawn is None:
            return None
        known = ~np.isnan(self.values)
        family = MaxT(len(self.drawn))
        if known.any():
            family.add(self.drawn[:, known])
        return family.adjust()

    def adjusted_ends(self) -> Floats:
        """The intervals that hold together, (C, 2)."""
        together = self.adjust()
        return self.ends_at(LEVEL if together is None else together.single_level)

    def mean(self, columns: Sequence[int]) -> Estimate:
        """The mean over columns, and its interval."""
        value = mean_of(self.values, columns)
        if not columns or self.drawn is None:
            return Estimate.of(value)
        drawn = self.drawn[:, columns]
        # A draw without one of the labels has no mean over the same labels.
        means = drawn.mean(axis=1, keepdims=True)
        freedom = np.array([mean_freedom(drawn, self.freedom[columns])])
        return Estimate.of(value, t_intervals(means, np.array([value]), freedom, LEVEL)[0])


def _apart(one: Sample, other: Sample, draws: Draws | None) -> dict[str, _Apart]:
    """The differences of each label's AUROC and AUPRC."""
    (ours, mine), (theirs, yours) = (measured_areas(of, draws) for of in (one, other))
    freedom = freedom_of(one, one.mask)
    found = {}
    for measure in ours:
        drawn = None
        if mine is not None and yours is not None:
            drawn = getattr(mine, measure) - getattr(yours, measure)
        found[measure] = _Apart(ours[measure] - theirs[measure], drawn, freedom)
    return found


def _by_delong(one: Sample, other: Sample) -> list[AreaDifference | None]:
    """Of each label; None where a class is missing."""
    found: list[AreaDifference | None] = []
    for at, rows in enumerate(one.mask.T):
        truth = one.targets[:, at]
        both = truth[rows].any() and not truth[rows].all()
        scores = one.ranked[:, at], other.ranked[:, at]
        found.append(delong_difference(truth, scores, one.patients, rows) if both else None)
    return found


def _of_labels(
    apart: dict[str, _Apart], by_delong: Sequence[AreaDifference | None]
) -> list[Difference]:
    aurocs, auprcs = apart["auroc"], apart["auprc"]
    adjusted = zip(aurocs.adjusted_ends(), auprcs.adjusted_ends(), strict=True)
    return [
        Difference(
            auroc=auroc,
            auprc=auprc,
            auroc_p=or_none(p),
            auroc_adjusted=Estimate.of(None, of_auroc).interval,
            auprc_adjusted=Estimate.of(None, of_auprc).interval,
            delong=delong,
        )
        for auroc, auprc, p, (of_auroc, of_auprc), delong in zip(
            Estimate.each(aurocs.values, aurocs.ends),
            Estimate.each(auprcs.values, auprcs.ends),
            aurocs.p.tolist(),
            adjusted,
            by_delong,
            strict=True,
        )
    ]


def _mean(apart: dict[str, _Apart], columns: Sequence[int]) -> MeanDifference:
    """Over those of the columns that are defined."""
    chosen = defined(apart["auroc"].values, columns)
    return MeanDifference(
        defined=len(chosen), auroc=apart["auroc"].mean(chosen), auprc=apart["auprc"].mean(chosen)
    )
