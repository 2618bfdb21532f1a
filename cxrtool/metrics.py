"""Scores of a label's ranking: AUROC, AUPRC, operating points, and intervals over patients.

One label: `y_true` (n,) in {0, 1}, `y_score` (n,) any finite reals, `mask` (n,) True where the
image counts (None: everywhere). Many labels: the same with (n, C). What stands where the mask is
False is never read, so NaN may. What the data cannot define is NaN, without a warning.

Raised by all that take scores: `DataError` where shapes differ, a target that counts is not 0 or
1, or a score that counts is not finite.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrtool.errors import DataError, UsageError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

CHUNK_CELLS = 2**18
"""Replicates times images that `bootstrap_auroc` holds at once: 2 MB an array, near the cache."""


def auroc(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Chance that a positive image scores higher than a negative one, ties counted half.

    The Mann-Whitney statistic over its maximum (Hanley & McNeil 1982, Radiology 143:29-36).
    In [0, 1]; NaN where the images that count have one class. Raises DataError as the module says.
    Of the four pairs here three are in the right order:

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> auroc([0, 1], [0.5, 0.5])
    0.5
    >>> auroc([1, 1], [0.2, 0.9])
    nan
    """
    _, tp, fp = _counts_from_above(*_counted(y_true, y_score, mask))
    # A negative loses to every positive above its score and to half of those that share it.
    twice_lost = np.sum(np.diff(fp) * (tp[:-1] + tp[1:]))
    return _ratio(int(twice_lost), int(2 * tp[-1] * fp[-1]))


def auprc(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Average precision: precision at each threshold, weighted by the recall it adds.

    AP = sum_k (R_k - R_{k-1}) P_k over the distinct scores from above, without interpolation
    (scikit-learn's `average_precision_score`). A random ranking gets about the prevalence.
    In (0, 1]; NaN where the images that count have one class. Raises DataError as the module says.
    Here the first positive is found at precision 1, the second at 2/3:

    >>> round(auprc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    _, tp, fp = _counts_from_above(*_counted(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        return float("nan")
    return float(np.sum(np.diff(tp) / tp[-1] * tp[1:] / (tp + fp)[1:]))


def roc_points(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats]:
    """Trace the ROC curve: one point for each score that occurs, when score >= it is positive.

    Returns:
        fpr, tpr and thresholds, each (k,) for k distinct scores, thresholds descending. The last
        point is (1, 1). The curve's start (0, 0) belongs to no score that occurs and is left
        out: a figure puts it in front. A rate without images of its class is NaN throughout.
        Raises DataError as the module says.

    >>> fpr, tpr, thresholds = roc_points([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0])
    >>> thresholds.tolist()
    [0.8, 0.4, 0.35, 0.1]
    """
    thresholds, tp, fp = _counts_from_above(*_counted(y_true, y_score, mask))
    fpr, tpr = (n[1:] / n[-1] if n[-1] else np.full(len(n) - 1, np.nan) for n in (fp, tp))
    return fpr, tpr, thresholds


def youden_threshold(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Find the score that, as a threshold (score >= it is positive), maximises Youden's J.

    J = TPR + (1 - FPR) - 1 (Youden 1950, Cancer 3:32-35), compared in whole numbers, so that
    rounding breaks no tie. Of equal J the lowest threshold wins: the one of higher sensitivity.
    It is a score that occurs among the images that count; NaN where they have one class only.
    Raises DataError as the module says. Here J is 0.5 at 0.8 and at 0.35, and 0 at 0.4 and at 0.1:

    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    """
    thresholds, tp, fp = _counts_from_above(*_counted(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        return float("nan")
    scaled_j = (tp * fp[-1] - fp * tp[-1])[1:]
    return float(thresholds[np.flatnonzero(scaled_j == scaled_j.max())[-1]])


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts at one threshold, and their rates in [0, 1]; NaN where a rate's denominator is 0.

    >>> at = Confusion(tp=8, fp=4, tn=16, fn=2)
    >>> at.sensitivity, at.specificity, round(at.ppv, 3), round(at.npv, 3), round(at.f1, 3)
    (0.8, 0.8, 0.667, 0.889, 0.727)
    """

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def sensitivity(self) -> float:
        """Share of the positive images that are called positive (TPR, recall)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of the negative images that are called negative (1 - FPR)."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float:
        """Share of the positive calls that are right (precision)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float:
        """Share of the negative calls that are right."""
        return _ratio(self.tn, self.tn + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and ppv, as 2 tp / (2 tp + fp + fn)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion_at(
    y_true: ArrayLike, y_score: ArrayLike, threshold: float, mask: ArrayLike | None = None
) -> Confusion:
    """Count the four outcomes when score >= threshold is called positive.

    Raises DataError as the module says, and for a NaN threshold: that of a one-class label.

    >>> confusion_at([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.35)
    Confusion(tp=2, fp=1, tn=1, fn=0)
    """
    if np.isnan(threshold):
        raise DataError("the threshold is NaN: a label without one has no operating point")
    positive, score = _counted(y_true, y_score, mask)
    called = score >= threshold
    tp, called_sum = int(np.sum(called & positive)), int(np.sum(called))
    fn, fp = int(np.sum(positive)) - tp, called_sum - tp
    return Confusion(tp=tp, fp=fp, tn=len(score) - tp - fp - fn, fn=fn)


def mean_defined(values: Sequence[float]) -> tuple[float, int]:
    """Average the values that are not NaN, and say how many they are; (NaN, 0) for none.

    >>> mean_defined([0.75, float("nan"), 0.25])
    (0.5, 2)
    """
    defined = [float(value) for value in values if not np.isnan(value)]
    return (sum(defined) / len(defined) if defined else float("nan")), len(defined)


def auroc_per_label(targets: ArrayLike, scores: ArrayLike, mask: ArrayLike) -> Floats:
    """`auroc` of each label: (n, C) each to (C,), NaN for a label with one class only.

    Raises DataError as the module says, with the column's number (from 0).

    >>> targets = [[0, 1], [1, 1]]
    >>> auroc_per_label(targets, [[0.2, 0.5], [0.6, 0.7]], [[True, True], [True, True]]).tolist()
    [1.0, nan]
    """
    columns = _columns(targets, scores, mask)
    return np.array([auroc(y_true, y_score) for _, y_true, y_score in columns], np.float64)


def bootstrap_auroc(
    targets: ArrayLike,
    scores: ArrayLike,
    mask: ArrayLike,
    groups: ArrayLike,
    *,
    replicates: int = 1000,
    seed: int = 42,
) -> Floats:
    """AUROC of each label under patients drawn again with replacement (the cluster bootstrap).

    A patient's images are alike, so it is patients that are drawn, each with all of its images
    (Field & Welsh 2007, J. R. Stat. Soc. B 69:369-390). An image weighs as often as its patient
    was drawn. The draws hang on the set of patients and the seed alone: labels share them, two
    runs on the same images can be compared replicate by replicate, and fewer `replicates` give
    the first rows of more.

    `targets`, `scores` and `mask` are (n, C), `groups` (n,) the images' patients, numbers or
    strings, none missing.

    Returns:
        (replicates, C) in [0, 1], NaN where the patients drawn leave a label with one class.

    Raises:
        DataError: as the module says, or `groups` is not (n,).
        UsageError: `replicates` is below 1.

    Each patient has a positive and a negative image, in the right order: no draw changes that.

    >>> targets, scores = [[0], [1], [0], [1]], [[0.1], [0.8], [0.2], [0.7]]
    >>> everywhere = [[True]] * 4
    >>> bootstrap_auroc(targets, scores, everywhere, ["a", "a", "b", "b"], replicates=3).tolist()
    [[1.0], [1.0], [1.0]]
    """
    if replicates < 1:
        raise UsageError(f"replicates is {replicates}: expected 1 or more")
    columns = list(_columns(targets, scores, mask))
    patients, patient_of = np.unique(np.asarray(groups), return_inverse=True)
    if patient_of.shape != np.shape(targets)[:1]:
        raise DataError(f"groups {np.shape(groups)} do not fit targets {np.shape(targets)}")
    ranked = [_rank(patient_of[rows], y_true, y_score) for rows, y_true, y_score in columns]
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // max(1, len(patient_of)))
    out = np.empty((replicates, len(ranked)))
    for start in range(0, replicates, step):
        drawn = _draw_patients(rng, min(step, replicates - start), len(patients))
        for label, ranks in enumerate(ranked):
            out[start : start + step, label] = _weighted_auroc(ranks, drawn)
    return out


def percentile_interval(replicates: ArrayLike, level: float = 0.95) -> Floats:
    """Percentile interval of each label's replicates (Efron & Tibshirani 1993, chapter 13).

    From (R, C) to (C, 2), lower and upper end: `level` in (0, 1) of a label's replicates lies
    between them. NaN ones are left out; with fewer than half of them defined both ends are NaN.
    Raises DataError for another shape, UsageError for another level.

    >>> percentile_interval([[0.0], [1.0], [2.0], [3.0], [4.0]], level=0.5).tolist()
    [[1.0, 3.0]]
    """
    if not 0 < level < 1:
        raise UsageError(f"level is {level}: expected a share between 0 and 1, as 0.95")
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 2:
        raise DataError(f"replicates have shape {values.shape}: expected (replicates, labels)")
    out = np.full((values.shape[1], 2), np.nan)
    for label, column in enumerate(values.T):
        defined = column[~np.isnan(column)]
        if len(defined) and 2 * len(defined) >= len(column):
            out[label] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return out


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _check_shapes(dimensions: int, **arrays: NDArray[np.generic]) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != dimensions for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"{found}: expected {dimensions} dimension(s) and one shape")


def _counted(
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


def _counts_from_above(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Counts, Counts]:
    """Count the positives and negatives (k + 1,) at or above each of k distinct scores.

    The scores (k,) descend; both counts start at 0, above them all.
    """
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    last_of_tie = np.flatnonzero(score != np.append(score[1:], -np.inf))
    tp = np.cumsum(np.append(0, positive))[np.append(0, last_of_tie + 1)]
    return score[last_of_tie], tp, np.append(0, last_of_tie + 1) - tp


def _columns(
    targets: ArrayLike, scores: ArrayLike, mask: ArrayLike
) -> Iterator[tuple[Counts, NDArray[np.bool_], Floats]]:
    """Of each label the rows that count, their targets and their scores."""
    true, score, counts = np.asarray(targets), np.asarray(scores), np.asarray(mask, dtype=bool)
    _check_shapes(2, targets=true, scores=score, mask=counts)
    for label in range(true.shape[1]):
        kept = counts[:, label]
        y_true, y_score = _counted(true[:, label], score[:, label], kept, f"column {label}: ")
        yield np.flatnonzero(kept), y_true, y_score


class _Ranks(NamedTuple):
    """One label, sorted by ascending score: whose its images are, and where the positives stand."""

    negatives: Counts  # (N,) patients
    positives: Counts  # (P,) patients
    below: Counts  # (P,) how many negatives score lower than each positive
    up_to: Counts  # (P,) how many score lower or the same


def _rank(patient: Counts, positive: NDArray[np.bool_], score: Floats) -> _Ranks:
    order = np.argsort(score, kind="stable")
    patient, positive, score = patient[order], positive[order], score[order]
    below = np.searchsorted(score[~positive], score[positive], "left")
    up_to = np.searchsorted(score[~positive], score[positive], "right")
    return _Ranks(patient[~positive], patient[positive], below, up_to)


def _draw_patients(rng: np.random.Generator, rows: int, patients: int) -> Counts:
    """Draw `patients` of them with replacement, `rows` times: how often each came (rows, patients).

    One call of the generator a row, so that a replicate does not hang on the chunk it is in.
    """
    draws = (rng.integers(0, patients, patients) for _ in range(rows))
    return np.stack([np.bincount(draw, minlength=patients) for draw in draws])


def _weighted_auroc(ranks: _Ranks, drawn: Counts) -> Floats:
    """AUROC (rows,) with each image weighing as often as its patient was drawn (rows, patients).

    In whole numbers up to the last division, so that it is exact.
    """
    lower = np.zeros((len(drawn), len(ranks.negatives) + 1), np.int64)
    np.cumsum(drawn.take(ranks.negatives, axis=1), axis=1, out=lower[:, 1:])
    positives = drawn.take(ranks.positives, axis=1)
    twice_won = np.einsum(
        "ri,ri->r", positives, lower.take(ranks.below, axis=1) + lower.take(ranks.up_to, axis=1)
    )
    pairs = positives.sum(axis=1) * lower[:, -1]
    out = np.full(len(drawn), np.nan)
    np.divide(twice_won, 2 * pairs, out=out, where=pairs > 0)
    return out
