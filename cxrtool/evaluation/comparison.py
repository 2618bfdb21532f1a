"""Two models on the same rows: the difference of their scores, on the same draws of patients."""

import itertools
from collections.abc import Sequence

import numpy as np

from cxrtool.core.errors import DataError
from cxrtool.data.labels import COMPETITION_LABELS
from cxrtool.evaluation.areas import Areas, measured_areas
from cxrtool.evaluation.bootstrap import Draws, Rankings, draw_patients
from cxrtool.evaluation.intervals import bootstrap_interval
from cxrtool.evaluation.result import Difference, MeanDifference, PairedDifferences
from cxrtool.evaluation.sample import Sample, patients_of_classes
from cxrtool.evaluation.scoring import Scored

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
    reasons = {
        "images": not np.array_equal(one.raw.keys, other.raw.keys),
        "uncertainty": here.uncertainty != there.uncertainty,
        "blank": here.blank != there.blank,
        "trained_on": here.trained_on != there.trained_on,
        "protocol": here != there,
    }
    return next((name for name, applies in reasons.items() if applies), None)


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
    aurocs, auprcs = apart.of_labels("auroc"), apart.of_labels("auprc")
    five = [at for at, label in enumerate(shared) if label in COMPETITION_LABELS]
    return PairedDifferences(
        run=names[0],
        baseline=names[1],
        mean=_mean(apart, range(len(shared))),
        competition=_mean(apart, five) if five else None,
        labels={
            label: Difference(auroc=aurocs[at], auprc=auprcs[at]) for at, label in enumerate(shared)
        },
    )


def _check_truth(one: Sample, other: Sample) -> None:
    if not np.array_equal(one.keys, other.keys):
        raise DataError("the rows are not the same: score both on the same images")
    masks, truths = (one.mask, other.mask), (one.targets & one.mask, other.targets & other.mask)
    if not (np.array_equal(*masks) and np.array_equal(*truths)):
        raise DataError("the truth is not the same: pass --uncertainty to score both against one")


def _apart(one: Sample, other: Sample, draws: Draws | None) -> Areas:
    """The differences of each label's AUROC and AUPRC."""
    (ours, mine), (theirs, yours) = (measured_areas(of, draws) for of in (one, other))
    drawn = None
    if mine is not None and yours is not None:
        drawn = Rankings(mine.auroc - yours.auroc, mine.auprc - yours.auprc)
    return Areas(
        {measure: ours[measure] - theirs[measure] for measure in ours},
        drawn,
        patients_of_classes(one, one.mask).min(axis=0) - 1.0,
        dict.fromkeys(ours, bootstrap_interval),
    )


def _mean(apart: Areas, columns: Sequence[int]) -> MeanDifference:
    """Over those of the columns that are defined."""
    chosen = apart.defined(columns)
    auroc, auprc = (
        apart.mean(measure, chosen, float(values[chosen].mean()) if chosen else float("nan"))
        for measure, values in apart.values.items()
    )
    return MeanDifference(defined=len(chosen), auroc=auroc, auprc=auprc)
