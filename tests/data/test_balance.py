"""The measures of balance are those of their definitions."""

from itertools import combinations

import numpy as np
import pytest

from cxrtool.data.balance import label_distribution, label_pair_distribution
from tests.support.folds import SIZES, draw


def naive_gap(positives, folds, n_folds, order):
    """LD (order 1) and LPD (order 2) written out as loops over the definition."""
    gaps = []
    for columns in combinations(range(positives.shape[1]), order):
        has = [all(row[c] for c in columns) for row in positives]
        if order == 2 and not any(has):
            continue
        overall = sum(has) / len(has)
        for fold in range(n_folds):
            inside = [h for h, f in zip(has, folds, strict=True) if f == fold]
            p = sum(inside) / len(inside)
            gaps.append(abs(p / (1 - p) - overall / (1 - overall)))
    return sum(gaps) / len(gaps)


def test_measures_of_a_case_worked_by_hand():
    positives = np.array([[1, 1], [1, 0], [0, 0], [0, 0], [1, 1], [0, 1], [0, 1], [0, 0]], bool)
    folds = np.repeat([0, 1], 4)
    # label 0: odds 3/5 in all, 1 and 1/3 in the folds; label 1: 1 in all, 1/3 and 3
    assert label_distribution(positives, folds, 2) == pytest.approx(
        (2 / 5 + 4 / 15 + 2 / 3 + 2) / 4
    )
    # both: 2/6 in all, 1/3 in each fold
    assert label_pair_distribution(positives, folds, 2) == pytest.approx(0)


@pytest.mark.parametrize("seed", range(3))
def test_measures_agree_with_the_definition_written_out(seed):
    (positives, _), _, _ = draw(250, 100, seed)
    positives[:, 5] = False
    folds = np.random.default_rng(seed).choice(3, 250, p=SIZES)
    assert label_distribution(positives, folds, 3) == pytest.approx(
        naive_gap(positives, folds, 3, 1)
    )
    assert label_pair_distribution(positives, folds, 3) == pytest.approx(
        naive_gap(positives, folds, 3, 2)
    )


def test_measures_stay_finite_at_the_edges():
    always = np.ones((4, 1), dtype=bool)
    assert label_distribution(always, np.array([0, 0, 1, 1]), 2) == 0
    assert label_pair_distribution(always, np.array([0, 0, 1, 1]), 2) == 0
    half = np.array([[1], [1], [0], [0]], bool)
    # odds 1 in all; 2 to a half in the first fold, 0 in the second
    assert label_distribution(half, np.array([0, 0, 1, 1]), 2) == pytest.approx((3 + 1) / 2)
    assert label_distribution(half, np.array([0, 0, 2, 2]), 3) == pytest.approx((3 + 1) / 2)
