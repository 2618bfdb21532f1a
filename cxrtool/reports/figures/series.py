"""What a label's panels are drawn from: its curves, its bins and its scores."""

from dataclasses import dataclass

import numpy as np

from cxrtool.core.numbers import Estimate, Interval
from cxrtool.evaluation.calibration_measures import CalibrationCurve
from cxrtool.evaluation.human_readers import HumanReaders
from cxrtool.evaluation.metrics import Floats, precision_recall_points, roc_points
from cxrtool.evaluation.reliability import Bins, reliability_bins
from cxrtool.evaluation.result import LabelScores
from cxrtool.evaluation.sample import Sample

MOST_POINTS = 500
"""Of a curve: more cannot be seen."""
BINS = 25
"""Of a distribution of scores."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One label's ROC or precision-recall curve.

    x and y are (k,) in [0, 1] from left to right, the start included; empty where the label is
    not defined. `area` is its AUROC or AUPRC.
    """

    x: Floats
    y: Floats
    point: tuple[float, float] | None
    """The operating point."""
    area: Estimate
    baseline: float | None = None
    """What chance gets at any x: the prevalence. None: the diagonal."""
    note: str = ""
    """Why there is nothing to draw, such as `no positive among 40 images`."""
    readers: tuple["ReaderPoint", ...] = ()
    """Human readers' operating points."""


@dataclass(frozen=True, kw_only=True)
class ReaderPoint:
    """A human reader in ROC space."""

    x: float
    """The false positive rate."""
    y: float
    """The sensitivity."""
    x_ends: Interval
    y_ends: Interval


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One label's scores against what was found; `bins` are None where it is not defined."""

    bins: Bins | None
    brier: float | None = None
    ece: float | None = None
    note: str = ""
    before: tuple[Floats, Floats] | None = None
    """`predicted` and `observed` without calibration, where some was fitted."""
    curve: CalibrationCurve | None = None
    """The smooth curve, where there are enough patients for one."""
    slope: Estimate | None = None
    intercept: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One label's distributions of scores, on any scale.

    `edges` (b + 1,) rise. `positive` and `negative` (b,) are shares of the class's images in each
    bin: they sum to 1, or to 0 where the class has no image.
    """

    edges: Floats
    positive: Floats
    negative: Floats
    positives: int
    negatives: int
    threshold: float | None
    note: str = ""


def roc_curve(sample: Sample, at: int, scores: LabelScores) -> Curve:
    """The ROC curve of a sample's label number `at`, with its operating point."""
    if scores.auroc.value is None:
        return _no_curve(scores)
    positive, _, mask = sample.column(at)
    fpr, tpr, _ = roc_points(positive, sample.ranked[:, at], mask)
    point = None
    if scores.specificity.value is not None and scores.sensitivity.value is not None:
        point = (1 - scores.specificity.value, scores.sensitivity.value)
    x, y = _thinned(np.append(0.0, fpr), np.append(0.0, tpr))
    return Curve(x=x, y=y, point=point, area=scores.auroc)


def reader_points(readers: HumanReaders | None, label: str) -> tuple[ReaderPoint, ...]:
    """The points of those who read a label, where both of a point's rates are defined."""
    if readers is None or label not in readers.labels:
        return ()
    found = []
    for one in readers.labels[label].readers.values():
        specificity, sensitivity = one.specificity, one.sensitivity
        if specificity.value is not None and sensitivity.value is not None:
            ends = specificity.interval
            found.append(
                ReaderPoint(
                    x=1 - specificity.value,
                    y=sensitivity.value,
                    x_ends=ends and (1 - ends[1], 1 - ends[0]),
                    y_ends=sensitivity.interval,
                )
            )
    return tuple(found)


def precision_recall_curve(sample: Sample, at: int, scores: LabelScores) -> Curve:
    """The same of precision and recall, over the prevalence."""
    if scores.auprc.value is None:
        return _no_curve(scores)
    positive, _, mask = sample.column(at)
    recall, precision, _ = precision_recall_points(positive, sample.ranked[:, at], mask)
    point = None
    if scores.ppv.value is not None and scores.sensitivity.value is not None:
        point = (scores.sensitivity.value, scores.ppv.value)
    # From the left edge on: before the first image that is called there is no precision.
    x, y = _thinned(np.append(0.0, recall), np.append(precision[0], precision))
    return Curve(x=x, y=y, point=point, area=scores.auprc, baseline=scores.prevalence)


def reliability(
    sample: Sample,
    at: int,
    scores: LabelScores,
    raw: Sample | None,
    curve: CalibrationCurve | None = None,
) -> Reliability:
    """A label's probabilities against what was found; `raw`: before a calibration."""
    if scores.brier is None:
        return Reliability(bins=None, note="no images")
    earlier = None if raw is None else reliability_bins(*raw.column(at))
    return Reliability(
        bins=reliability_bins(*sample.column(at)),
        brier=scores.brier,
        ece=scores.ece,
        before=None if earlier is None else (earlier.predicted, earlier.observed),
        curve=curve,
        slope=scores.calibration_slope,
        intercept=scores.calibration_intercept,
    )


def distribution(sample: Sample, at: int, scores: LabelScores) -> Scores:
    """A label's scores among its positives and among its negatives."""
    positive, score, mask = sample.column(at)
    counted = score[mask]
    low, high = (0.0, 1.0) if sample.probabilities else _range(counted)
    edges = np.linspace(low, high, BINS + 1)
    classes = [score[mask & of_class] for of_class in (positive, ~positive)]
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in classes]
    return Scores(
        edges=edges,
        positive=shares[0],
        negative=shares[1],
        positives=len(classes[0]),
        negatives=len(classes[1]),
        threshold=scores.threshold,
        note="" if len(counted) else "no images",
    )


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
