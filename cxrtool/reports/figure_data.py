"""What the pictures of an evaluation show: curves, bins and rows, from a sample and its figures."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.metrics import Floats, precision_recall_points, roc_points
from cxrtool.evaluation.reliability import reliability_bins
from cxrtool.evaluation.result import LabelScores
from cxrtool.evaluation.sample import Sample
from cxrtool.reports.figures import Curve, Reliability, Scores

MOST_POINTS = 500
"""Of a curve: more cannot be seen."""
BINS = 25
"""Of a distribution of scores."""


def roc_curves(sample: Sample, labels: Mapping[str, LabelScores]) -> dict[str, Curve]:
    """Each label's ROC curve with its operating point; `labels` are their figures."""
    found = {}
    for at, (label, scores) in enumerate(labels.items()):
        if scores.auroc.value is None:
            found[label] = _no_curve(scores)
            continue
        fpr, tpr, _ = roc_points(*_ranked(sample, at))
        point = None
        if scores.specificity.value is not None and scores.sensitivity.value is not None:
            point = (1 - scores.specificity.value, scores.sensitivity.value)
        x, y = _thinned(np.append(0.0, fpr), np.append(0.0, tpr))
        found[label] = Curve(x=x, y=y, point=point, area=scores.auroc)
    return found


def precision_recall_curves(sample: Sample, labels: Mapping[str, LabelScores]) -> dict[str, Curve]:
    """Each label's precision-recall curve with its operating point and the prevalence."""
    found = {}
    for at, (label, scores) in enumerate(labels.items()):
        if scores.auprc.value is None:
            found[label] = _no_curve(scores)
            continue
        recall, precision, _ = precision_recall_points(*_ranked(sample, at))
        point = None
        if scores.ppv.value is not None and scores.sensitivity.value is not None:
            point = (scores.sensitivity.value, scores.ppv.value)
        # From the left edge on: before the first image that is called there is no precision.
        x, y = _thinned(np.append(0.0, recall), np.append(precision[0], precision))
        found[label] = Curve(x=x, y=y, point=point, area=scores.auprc, baseline=scores.prevalence)
    return found


def reliabilities(
    sample: Sample, labels: Mapping[str, LabelScores], raw: Sample | None
) -> dict[str, Reliability]:
    """Each label's probabilities against what was found; `raw`: before a calibration."""
    found = {}
    for at, (label, scores) in enumerate(labels.items()):
        if scores.brier is None:
            found[label] = Reliability(bins=None, note="no images")
            continue
        bins = reliability_bins(*sample.column(at))
        before = None
        if raw is not None:
            earlier = reliability_bins(*raw.column(at))
            before = (earlier.predicted, earlier.observed)
        found[label] = Reliability(
            bins=bins,
            brier=scores.brier,
            ece=scores.ece,
            before=before,
        )
    return found


def distributions(sample: Sample, labels: Mapping[str, LabelScores]) -> dict[str, Scores]:
    """Each label's scores among its positives and among its negatives."""
    found = {}
    for column, label in enumerate(sample.labels):
        positive, score, mask = sample.column(column)
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
            threshold=labels[label].threshold,
            note="" if len(counted) else "no images",
        )
    return found


def _ranked(sample: Sample, column: int) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    return sample.targets[:, column], sample.ranked[:, column], sample.mask[:, column]


def _no_curve(scores: LabelScores) -> Curve:
    missing = "positive" if not scores.positives else "negative"
    note = f"no {missing} among {scores.n:,}" if scores.n else "no images"
    nothing = np.array([])
    return Curve(x=nothing, y=nothing, point=None, area=Estimate(), note=note)


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
