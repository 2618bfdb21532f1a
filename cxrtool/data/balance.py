"""How evenly labels and pairs of labels lie over the parts of a split: LD and LPD."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, first_few

Positives = NDArray[np.bool_] | Sequence[NDArray[np.bool_]]
"""Indicator columns (n, labels), or several such matrices, one per uncertainty policy."""


def label_distribution(
    positives: NDArray[np.bool_], folds: NDArray[np.int64], n_folds: int
) -> float:
    """LD: the mean over folds and labels of |p / (1 - p) - P / (1 - P)|; 0 is perfect balance.

    p is a label's share of a fold's images, P its share of all (Sechidis et al. 2011, the
    measures of section 4; Szymanski & Kajdanowicz 2017). Where all images of a fold, but not all
    images, have a label, the fold counts as if half an image had not. A label that all images
    have adds 0, and so does one that none has. Folds without images are left out of the mean.

    Args:
        positives: (n, labels) bool.
        folds: (n,) fold numbers in [0, n_folds).
        n_folds: the number of folds.

    Raises:
        DataError: shapes that do not fit, or a fold number out of range.
    """
    (matrix,) = label_matrices(positives, len(folds))
    return _mean_odds_gap(list(matrix.T), folds, n_folds)


def label_pair_distribution(
    positives: NDArray[np.bool_], folds: NDArray[np.int64], n_folds: int
) -> float:
    """LPD: `label_distribution` over the pairs of labels that occur; 0.0 where none occurs.

    Szymanski & Kajdanowicz (2017). Arguments and errors as in `label_distribution`.
    """
    matrices = label_matrices(positives, len(folds))
    return _mean_odds_gap(pair_columns(matrices), folds, n_folds)


def _mean_odds_gap(
    columns: list[NDArray[np.bool_]], folds: NDArray[np.int64], n_folds: int
) -> float:
    folds = np.asarray(folds)
    if folds.size and not 0 <= folds.min() <= folds.max() < n_folds:
        raise DataError(f"fold numbers {folds.min()} to {folds.max()}: expected 0 to {n_folds - 1}")
    positive = [np.bincount(folds[column], minlength=n_folds) for column in columns]
    return odds_gap(np.array(positive), np.bincount(folds, minlength=n_folds))


def odds_gap(positive: NDArray[np.int64], images: NDArray[np.int64]) -> float:
    """LD, or LPD, from counts: the mean of |p / (1 - p) - P / (1 - P)|.

    Args:
        positive: (labels or pairs, n_folds) how many images of a fold have it.
        images: (n_folds,) how many images a fold has.
    """
    if not len(positive):
        return 0.0
    positive = positive[:, images > 0]
    negatives = images[images > 0] - positive
    some = negatives.sum(axis=1) > 0
    gaps = np.zeros(positive.shape)
    positive, negatives = positive[some], negatives[some]
    overall = positive.sum(axis=1, keepdims=True) / negatives.sum(axis=1, keepdims=True)
    gaps[some] = np.abs(positive / np.maximum(negatives, 0.5) - overall)
    return float(gaps.mean())


def label_matrices(positives: Positives, n: int | None = None) -> list[NDArray[np.bool_]]:
    """The matrices as a list of bool, each checked to be (n, labels)."""
    given = [positives] if isinstance(positives, np.ndarray) else list(positives)
    matrices = [np.asarray(matrix).astype(bool) for matrix in given]
    if not matrices:
        raise DataError("no table of labels to balance: expected one for each policy")
    rows = len(matrices[0]) if n is None else n
    wrong = [matrix.shape for matrix in matrices if matrix.ndim != 2 or len(matrix) != rows]
    if wrong:
        raise DataError(f"labels of shape {first_few(wrong)}: expected ({rows}, number of labels)")
    return matrices


def pair_columns(matrices: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Both labels of a pair, for the pairs that occur within a matrix."""
    pairs = (
        matrix_columns[a] & matrix_columns[b]
        for matrix_columns in (np.ascontiguousarray(matrix.T) for matrix in matrices)
        for a, b in combinations(range(len(matrix_columns)), 2)
    )
    return [pair for pair in pairs if pair.any()]
