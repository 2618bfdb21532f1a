"""Scores of a label's ranking: AUROC, AUPRC, ROC points, Youden's threshold.

One label: `y_true` (n,) in {0, 1}, `y_score` (n,) any finite reals, `mask` (n,) True where the
image counts (None: everywhere). Many labels: the same with (n, C). What stands where the mask is
False is never read, so NaN may. What the data cannot define is NaN, without a warning.

Raised by all that take scores: `DataError` where shapes differ, a target that counts is not 0 or
1, or a score that counts is not finite.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrtool.core.errors import DataError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def auroc(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Chance that a positive image scores higher than a negative one, ties counted half.

    The Mann-Whitney statistic over its maximum (Hanley & McNeil 1982, Radiology 143:29-36).
    In [0, 1]; NaN where the images that count have one class.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> auroc([0, 1], [0.5, 0.5])
    0.5
    >>> auroc([1, 1], [0.2, 0.9])
    nan
    """
    _, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    # A negative loses to every positive above its score and to half of those that share it.
    twice_lost = np.sum(np.diff(fp) * (tp[:-1] + tp[1:]))
    pairs = int(tp[-1] * fp[-1])
    return float(int(twice_lost) / (2 * pairs)) if pairs else float("nan")


def auprc(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Average precision: precision at each threshold, weighted by the recall it adds.

    AP = sum_k (R_k - R_{k-1}) P_k over the distinct scores from above, without interpolation
    (scikit-learn's `average_precision_score`). A random ranking gets about the prevalence.
    In (0, 1]; NaN where the images that count have one class.

    >>> round(auprc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    _, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        return float("nan")
    return float(np.sum(np.diff(tp) / tp[-1] * tp[1:] / (tp + fp)[1:]))


def roc_points(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Trace the ROC curve: one point for each score that occurs, when score >= it is positive.

    Returns fpr, tpr and thresholds, each (k,) for k distinct scores, thresholds descending. The
    last point is (1, 1); the curve's start (0, 0) belongs to no score that occurs and is left out.
    A rate without images of its class is NaN throughout.

    >>> fpr, tpr, thresholds = roc_points([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0])
    >>> thresholds.tolist()
    [0.8, 0.4, 0.35, 0.1]
    """
    thresholds, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    fpr, tpr = (n[1:] / n[-1] if n[-1] else np.full(len(n) - 1, np.nan) for n in (fp, tp))
    return fpr, tpr, thresholds


def precision_recall_points(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Trace the precision-recall curve: one point for each score, when score >= it is positive.

    Returns recall, precision and thresholds, each (k,) for k distinct scores, thresholds
    descending, so recall rises to 1, where precision is the prevalence. Without both classes
    recall and precision are NaN throughout.

    >>> recall, precision, _ = precision_recall_points([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> recall.tolist(), precision.round(2).tolist()
    ([0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 0.67, 0.5])
    """
    thresholds, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        nothing = np.full(len(thresholds), np.nan)
        return nothing, nothing.copy(), thresholds
    return tp[1:] / tp[-1], tp[1:] / (tp + fp)[1:], thresholds


def youden_threshold(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Find the score that, as a threshold (score >= it is positive), maximises Youden's J.

    J = TPR + (1 - FPR) - 1 (Youden 1950, Cancer 3:32-35), compared in whole numbers, so that
    rounding breaks no tie. Of equal J the lowest threshold wins: the one of higher sensitivity.
    It is a score that occurs among the images that count; NaN where they have one class only.

    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    """
    thresholds, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        return float("nan")
    scaled_j = (tp * fp[-1] - fp * tp[-1])[1:]
    return float(thresholds[np.flatnonzero(scaled_j == scaled_j.max())[-1]])


def mean_defined(values: Sequence[float]) -> tuple[float, int]:
    """Average the values that are not NaN, and say how many they are; (NaN, 0) for none.

    >>> mean_defined([0.75, float("nan"), 0.25])
    (0.5, 2)
    """
    defined = [float(value) for value in values if not np.isnan(value)]
    return (sum(defined) / len(defined) if defined else float("nan")), len(defined)


def auroc_per_label(targets: ArrayLike, scores: ArrayLike, mask: ArrayLike) -> Floats:
    """`auroc` of each label: (n, C) each to (C,), NaN for a label with one class only.

    >>> auroc_per_label([[0, 1], [1, 1]], [[0.2, 0.5], [0.6, 0.7]], [[True, True]] * 2).tolist()
    [1.0, nan]
    """
    columns = columns_that_count(targets, scores, mask)
    return np.array([auroc(y_true, y_score) for _, y_true, y_score in columns], np.float64)


def _check_shapes(dimensions: int, **arrays: NDArray[np.generic]) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != dimensions for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"{found}: expected {dimensions} dimension(s) and one shape")


def counted_scores(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None, where: str = ""
) -> tuple[NDArray[np.bool_], Floats]:
    """Keep the images that count, as bool targets and float64 scores, both checked."""
    true, score = np.asarray(y_true), np.asarray(y_score)
    counts = np.ones(true.shape, bool) if mask is None else np.asarray(mask, dtype=bool)
    _check_shapes(1, y_true=true, y_score=score, mask=counts)
    true, score = true[counts].astype(np.float64), score[counts].astype(np.float64)
    strange, endless = np.sum(~np.isin(true, (0, 1))), np.sum(~np.isfinite(score))
    if strange or endless:
        raise DataError(
            f"{where}of {len(true)} images that count {strange} have a target other than 0 and 1 "
            f"and {endless} a score that is not finite: mask what has no target, score the rest"
        )
    return true == 1, score


def counts_from_above(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Counts, Counts]:
    """Count the positives and negatives (k + 1,) at or above each of k distinct scores.

    The scores (k,) descend; both counts start at 0, above them all.
    """
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    last_of_tie = np.flatnonzero(score != np.append(score[1:], -np.inf))
    tp = np.cumsum(np.append(0, positive))[np.append(0, last_of_tie + 1)]
    return score[last_of_tie], tp, np.append(0, last_of_tie + 1) - tp


def columns_that_count(
    targets: ArrayLike, scores: ArrayLike, mask: ArrayLike
) -> Iterator[tuple[Counts, NDArray[np.bool_], Floats]]:
    """Of each label of (n, C): the rows that count (k,), their targets and scores, checked.

    A DataError has the column's number (from 0).
    """
    true, score, counts = np.asarray(targets), np.asarray(scores), np.asarray(mask, dtype=bool)
    _check_shapes(2, targets=true, scores=score, mask=counts)
    for label in range(true.shape[1]):
        kept = counts[:, label]
        y_true, y_score = counted_scores(true[:, label], score[:, label], kept, f"column {label}: ")
        yield np.flatnonzero(kept), y_true, y_score
