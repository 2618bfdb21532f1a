"""What the pictures of an evaluation show: curves, bins and rows, from a sample and its figures."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.evaluation.metrics import confusion_at, precision_recall_points, roc_points
from cxrtool.evaluation.reliability import reliability_bins
from cxrtool.evaluation.sample import Sample
from cxrtool.reports.figures import Curve, ForestRow, Reliability, Scores

Floats = NDArray[np.float64]
Point = tuple[float, float] | None
MOST_POINTS = 500
"""Of a curve: more cannot be seen."""
BINS = 25
"""Of a distribution of scores."""
ALL = "all"


def roc_curves(sample: Sample, labels: Mapping[str, Any]) -> dict[str, Curve]:
    """Each label's ROC curve with its operating point; `labels` are the figures of `assess`."""

    def drawn(column: int, figures: Mapping[str, Any]) -> tuple[Floats, Floats, Point]:
        fpr, tpr, _ = roc_points(*_ranked(sample, column))
        point = None
        if figures["threshold"] is not None:
            at = confusion_at(
                *_of(sample, column)[:2], figures["threshold"], sample.mask[:, column]
            )
            point = (1 - at.specificity, at.sensitivity)
        return np.append(0.0, fpr), np.append(0.0, tpr), point

    return _curves(sample, labels, "auroc", drawn)


def precision_recall_curves(sample: Sample, labels: Mapping[str, Any]) -> dict[str, Curve]:
    """Each label's precision-recall curve with its operating point and the prevalence."""

    def drawn(column: int, figures: Mapping[str, Any]) -> tuple[Floats, Floats, Point]:
        recall, precision, _ = precision_recall_points(*_ranked(sample, column))
        point = None
        if figures["ppv"] is not None and figures["sensitivity"] is not None:
            point = (figures["sensitivity"], figures["ppv"])
        # From the left edge on: before the first image that is called there is no precision.
        return np.append(0.0, recall), np.append(precision[0], precision), point

    found = _curves(sample, labels, "auprc", drawn)
    return {
        label: replace(curve, baseline=labels[label]["prevalence"]) if curve.x.size else curve
        for label, curve in found.items()
    }


def _curves(
    sample: Sample,
    labels: Mapping[str, Any],
    area: str,
    drawn: Callable[[int, Mapping[str, Any]], tuple[Floats, Floats, Point]],
) -> dict[str, Curve]:
    found = {}
    for column, label in enumerate(sample.labels):
        figures = labels[label]
        if figures[area] is None:
            found[label] = _no_curve(figures)
            continue
        x, y, point = drawn(column, figures)
        x, y = _thinned(x, y)
        found[label] = Curve(
            x=x, y=y, point=point, area=figures[area], interval=_ends(figures[f"{area}_ci"])
        )
    return found


def reliabilities(
    sample: Sample, labels: Mapping[str, Any], raw: Sample | None
) -> dict[str, Reliability]:
    """Each label's probabilities against what was found; `raw`: before a calibration."""
    found = {}
    for column, label in enumerate(sample.labels):
        figures = labels[label]
        if figures["brier"] is None:
            found[label] = _no_reliability()
            continue
        bins = reliability_bins(*_of(sample, column))
        before = None
        if raw is not None:
            earlier = reliability_bins(*_of(raw, column))
            before = (earlier.predicted, earlier.observed)
        found[label] = Reliability(
            predicted=bins.predicted,
            observed=bins.observed,
            low=bins.low,
            high=bins.high,
            count=bins.count.astype(np.float64),
            brier=figures["brier"],
            ece=figures["ece"],
            before=before,
        )
    return found


def distributions(sample: Sample, labels: Mapping[str, Any]) -> dict[str, Scores]:
    """Each label's scores among its positives and among its negatives."""
    found = {}
    for column, label in enumerate(sample.labels):
        positive, score, mask = _of(sample, column)
        counted = score[mask]
        low, high = (0.0, 1.0) if sample.probabilities else _range(counted)
        edges = np.linspace(low, high, BINS + 1)
        classes = [score[mask & of_class] for of_class in (positive, ~positive)]
        shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in classes]
        found[label] = Scores(
            edges=edges,
            positive=shares[0],
            negative=shares[1],
            positives=len(classes[0]),
            negatives=len(classes[1]),
            threshold=labels[label]["threshold"],
            note="" if len(counted) else "no images",
        )
    return found


def forest_rows(values: Mapping[str, Any]) -> dict[str, list[ForestRow]]:
    """Each label's AUROC over all rows and in each group, from the JSON of an evaluation."""
    found = {}
    for label, figures in values["labels"].items():
        if figures["auroc"] is None:
            continue
        rows = [_forest_row("", ALL, figures, too_few=False)]
        for column, told in values["subgroups"].items():
            for group, of_group in told["groups"].items():
                one = of_group["labels"][label]
                rows.append(_forest_row(column, group, one, too_few=one["too_few"]))
        found[label] = rows
    return found


def _forest_row(column: str, group: str, figures: Mapping[str, Any], *, too_few: bool) -> ForestRow:
    value = figures["auroc"]
    return ForestRow(
        column=column,
        group=group,
        auroc=float("nan") if value is None else value,
        interval=_ends(figures["auroc_ci"]),
        n=figures["n"],
        positives=figures["positives"],
        too_few=too_few,
    )


def _of(sample: Sample, column: int) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    return sample.targets[:, column], sample.scores[:, column], sample.mask[:, column]


def _ranked(sample: Sample, column: int) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    return sample.targets[:, column], sample.ranked[:, column], sample.mask[:, column]


def _ends(interval: list[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0], interval[1])


def _no_curve(figures: Mapping[str, Any]) -> Curve:
    missing = "positive" if not figures["positives"] else "negative"
    note = f"no {missing} among {figures['n']:,}" if figures["n"] else "no images"
    nothing = np.array([])
    return Curve(x=nothing, y=nothing, point=None, area=float("nan"), interval=None, note=note)


def _no_reliability() -> Reliability:
    nothing, nan = np.array([]), float("nan")
    return Reliability(
        predicted=nothing,
        observed=nothing,
        low=nothing,
        high=nothing,
        count=nothing,
        brier=nan,
        ece=nan,
        note="no images",
    )


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A curve of as many points as can be seen, its ends among them."""
    if len(x) <= MOST_POINTS:
        return x, y
    # By length along the curve: a steep start has few steps to the right.
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, along[-1], MOST_POINTS)
    chosen = np.unique(np.append(np.searchsorted(along, wanted), [0, len(x) - 1]))
    return x[chosen], y[chosen]


def _range(scores: Floats) -> tuple[float, float]:
    if not len(scores):
        return 0.0, 1.0
    low, high = float(scores.min()), float(scores.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)
