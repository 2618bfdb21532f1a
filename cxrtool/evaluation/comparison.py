"""Two models on the same rows: the difference of their scores, on the same draws of patients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError
from cxrtool.evaluation.bootstrap import Draws, bootstrap_rankings
from cxrtool.evaluation.intervals import bootstrap_interval, mean_freedom
from cxrtool.evaluation.metrics import auprc, auroc
from cxrtool.evaluation.sample import (
    COMPETITION,
    Sample,
    json_interval,
    json_number,
    patients_of_classes,
)

Floats = NDArray[np.float64]
MEASURES = {"auroc": auroc, "auprc": auprc}


def paired_differences(one: Sample, other: Sample, draws: Draws | None) -> dict[str, Any]:
    """How much higher `one` scores than `other`: of each label, and of means over labels.

    Both are held against the same truth on the same rows, and each draw of patients gives one
    difference: what the two have in common, the luck of the patients, is gone from it.

    Args:
        one: the rows and labels of both; labels may stand in another order.
        other: what it is compared with.
        draws: of the samples' patients; None: no intervals.

    Returns:
        `labels`: of each label that both have `auroc, auroc_ci, auprc, auprc_ci`, the
        differences, None where not defined; `mean` the same over the defined labels, with how
        many these are (`defined`), and `competition` over those of the CheXpert competition.

    Raises:
        DataError: the rows or their truth differ, or no label is common.
    """
    shared = [label for label in one.labels if label in other.labels]
    if not shared:
        raise DataError("no label is common: nothing can be compared")
    one, other = one.choose(shared), other.choose(shared)
    _check_truth(one, other)
    freedom = patients_of_classes(one, one.mask).min(axis=0) - 1.0
    values, replicates = {}, {}
    for name, measure in MEASURES.items():
        values[name] = _of_labels(measure, one) - _of_labels(measure, other)
    if draws is not None:
        drawn = [bootstrap_rankings(s.targets, s.ranked, s.mask, draws) for s in (one, other)]
        for name in MEASURES:
            replicates[name] = getattr(drawn[0], name) - getattr(drawn[1], name)
    labels: dict[str, dict[str, Any]] = {label: {} for label in shared}
    for name, apart in values.items():
        ends = np.full((len(shared), 2), np.nan)
        if draws is not None:
            ends = bootstrap_interval(replicates[name], apart, freedom)
        for column, label in enumerate(shared):
            labels[label][name] = json_number(float(apart[column]))
            labels[label][f"{name}_ci"] = json_interval(ends[column])
    five = [column for column, label in enumerate(shared) if label in COMPETITION]
    return {
        "mean": _mean(range(len(shared)), values, replicates, freedom),
        "competition": _mean(five, values, replicates, freedom) if five else None,
        "labels": labels,
    }


def _check_truth(one: Sample, other: Sample) -> None:
    if not np.array_equal(one.keys, other.keys):
        raise DataError("the rows are not the same: score both on the same images")
    same = (one.mask == other.mask).all() and (
        (one.targets & one.mask) == (other.targets & other.mask)
    ).all()
    if not same:
        raise DataError("the truth is not the same: pass --uncertainty to hold both against one")


def _of_labels(measure: Any, sample: Sample) -> Floats:
    columns = zip(sample.targets.T, sample.ranked.T, sample.mask.T, strict=True)
    return np.array([measure(*column) for column in columns])


def _mean(
    columns: Any, values: dict[str, Floats], replicates: dict[str, Floats], freedom: Floats
) -> dict[str, Any]:
    chosen = [column for column in columns if not np.isnan(values["auroc"][column])]
    found: dict[str, Any] = {"defined": len(chosen)}
    for name, apart in values.items():
        mean = float(apart[chosen].mean()) if chosen else float("nan")
        found |= {name: json_number(mean), f"{name}_ci": None}
        if chosen and name in replicates:
            drawn = replicates[name][:, chosen]
            ends = bootstrap_interval(
                drawn.mean(axis=1, keepdims=True), [mean], [mean_freedom(drawn, freedom[chosen])]
            )
            found[f"{name}_ci"] = json_interval(ends[0])
    return found
