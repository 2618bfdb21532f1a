"""Metrics: equal to scikit-learn's and to brute force, with ties and with missing labels."""

import doctest
import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from cxrtool.core.errors import DataError
from cxrtool.evaluation import metrics as metrics
from tests.support.confusion import confusion_at
from tests.support.labelled_scores import labelled_scores

pytestmark = pytest.mark.filterwarnings("error")

CASES = {  # images, prevalence, distinct scores (None: no ties), share without a label
    "random": (400, 0.4, None, 0.0),
    "tied": (400, 0.4, 7, 0.0),
    "two scores": (60, 0.5, 2, 0.1),
    "one score": (30, 0.5, 1, 0.0),
    "rare": (3000, 0.004, None, 0.2),
    "common and tied": (3000, 0.98, 40, 0.2),
    "small": (24, 0.5, None, 0.1),
    "tiny": (5, 0.5, None, 0.0),
    "tiny and tied": (6, 0.5, 3, 0.2),
    "mostly missing": (200, 0.5, 20, 0.9),
}


@pytest.fixture(params=[(case, seed) for case in CASES for seed in range(5)], ids=str)
def labelled(request):
    case, seed = request.param
    return labelled_scores(CASES[case], seed)


def brute_youden(y_true, y_score):
    """Lowest of the scores with the greatest J, in fractions."""
    positive, negative = y_score[y_true == 1], y_score[y_true == 0]

    def j(threshold):
        tpr = Fraction(int(np.sum(positive >= threshold)), len(positive))
        return tpr - Fraction(int(np.sum(negative >= threshold)), len(negative))

    return min(np.unique(y_score), key=lambda threshold: (-j(threshold), threshold))


# One label


def test_auroc_and_auprc_equal_scikit_learn(labelled):
    y_true, y_score, mask = labelled
    kept = y_true[mask], y_score[mask]
    assert metrics.auroc(*labelled) == pytest.approx(roc_auc_score(*kept), abs=1e-12)
    assert metrics.auprc(*labelled) == pytest.approx(average_precision_score(*kept), abs=1e-12)


def test_auroc_counts_pairs(labelled):
    y_true, y_score, mask = labelled
    positive, negative = y_score[mask & (y_true == 1)], y_score[mask & (y_true == 0)]
    won = np.sum(positive[:, None] > negative) + np.sum(positive[:, None] == negative) / 2
    assert metrics.auroc(*labelled) == pytest.approx(won / positive.size / negative.size, abs=1e-14)


def test_roc_points_equal_scikit_learn_without_its_first(labelled):
    y_true, y_score, mask = labelled
    expected = roc_curve(y_true[mask], y_score[mask], drop_intermediate=False)
    for ours, theirs in zip(metrics.roc_points(*labelled), expected, strict=True):
        np.testing.assert_allclose(ours, theirs[1:], rtol=0, atol=1e-14)


def test_roc_points_thresholds_occur_and_end_at_one_one(labelled):
    _, y_score, mask = labelled
    fpr, tpr, thresholds = metrics.roc_points(*labelled)
    np.testing.assert_array_equal(thresholds, np.unique(y_score[mask])[::-1])
    assert fpr[-1] == tpr[-1] == 1


def test_youden_equals_brute_force(labelled):
    y_true, y_score, mask = labelled
    found = metrics.youden_threshold(*labelled)
    assert found == brute_youden(y_true[mask], y_score[mask])
    assert found in y_score[mask]


def test_youden_resolves_ties_to_the_higher_sensitivity():
    # 1/6 - 0/2 at 7 equals 4/6 - 1/2 at 3; as floats the first is greater.
    y_true, y_score = [1, 0, 1, 1, 1, 0, 1, 1], np.arange(8.0)[::-1]
    assert metrics.youden_threshold(y_true, y_score) == 3
    fpr, tpr, thresholds = metrics.roc_points(y_true, y_score)
    assert thresholds[np.flatnonzero(tpr - fpr == np.max(tpr - fpr))[-1]] == 7
    assert metrics.youden_threshold([0, 1, 0, 1], [0.5] * 4) == 0.5


def test_each_roc_point_has_the_rates_at_its_threshold():
    y_true, y_score, mask = labelled_scores(CASES["tiny and tied"], 1)
    for fpr, tpr, threshold in zip(*metrics.roc_points(y_true, y_score, mask), strict=True):
        at = confusion_at(y_true, y_score, threshold, mask)
        assert (1 - at.specificity, at.sensitivity) == pytest.approx((fpr, tpr), abs=1e-15)


# What must not change a score, and what must


def test_ranks_alone_count(labelled):
    y_true, y_score, mask = labelled
    small = np.where(mask, y_score, 0.0).astype(float)
    for moved in (np.exp(small), 3 * small - 7, np.arctan(small)):
        assert len(np.unique(moved[mask])) == len(np.unique(small[mask]))
        for score in (metrics.auroc, metrics.auprc):
            assert score(y_true, moved, mask) == score(y_true, small, mask)
        before, after = (metrics.youden_threshold(y_true, s, mask) for s in (small, moved))
        np.testing.assert_array_equal(small[mask] >= before, moved[mask] >= after)


def test_negated_scores_and_swapped_classes_give_the_rest(labelled):
    y_true, y_score, mask = labelled
    rest = pytest.approx(1 - metrics.auroc(*labelled), abs=1e-14)
    assert metrics.auroc(y_true, -y_score, mask) == rest
    assert metrics.auroc(1 - y_true, y_score, mask) == rest


def test_order_of_images_is_no_matter(labelled):
    order = np.random.default_rng(0).permutation(len(labelled[0]))
    shuffled = [column[order] for column in labelled]
    for score in (metrics.auroc, metrics.auprc, metrics.youden_threshold):
        assert score(*shuffled) == score(*labelled)


def test_mask_is_the_same_as_leaving_out(labelled):
    y_true, y_score, mask = labelled
    for score in (metrics.auroc, metrics.auprc, metrics.youden_threshold):
        assert score(*labelled) == score(y_true[mask] == 1, y_score[mask])


@pytest.mark.parametrize("y_true", [[], [0], [1], [0, 0, 0], [1, 1, 1]], ids=str)
def test_one_class_is_nan_without_a_warning(y_true):
    y_score = np.arange(len(y_true)) / 10
    for score in (metrics.auroc, metrics.auprc, metrics.youden_threshold):
        assert math.isnan(score(y_true, y_score))
        mask = np.append(np.ones(len(y_true), bool), [False, False])
        assert math.isnan(score([*y_true, 0, 1], [*y_score, 0, 1], mask))
    fpr, tpr, thresholds = metrics.roc_points(y_true, y_score)
    assert len(fpr) == len(tpr) == len(thresholds) == len(y_true)
    assert np.isnan(fpr).all() == (0 not in y_true)
    assert np.isnan(tpr).all() == (1 not in y_true)


def test_extreme_scores_keep_their_order():
    assert metrics.auroc([0, 1], [-1.7e308, 1.7e308]) == 1
    assert metrics.auroc([0, 1, 1], [0.0, 5e-324, -0.0]) == 0.75


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], "y_score"),
        ([[0, 1]], [[0.1, 0.2]], "dimension"),
        ([0, -1, np.nan], [0.1, 0.2, 0.3], "2 have a target other"),
        ([0, 1, 1], [0.1, np.nan, np.inf], "2 a score that is not finite"),
    ],
)
def test_wrong_input_is_named(y_true, y_score, message):
    for score in (metrics.auroc, metrics.auprc, metrics.roc_points, metrics.youden_threshold):
        with pytest.raises(DataError, match=message):
            score(y_true, y_score)


def test_mean_defined():
    assert metrics.mean_defined([0.5, math.nan, 0.7, 0.9]) == (pytest.approx(0.7), 3)
    assert metrics.mean_defined(np.array([0.25])) == (0.25, 1)
    for nothing in ([], [math.nan, math.nan]):
        mean, defined = metrics.mean_defined(nothing)
        assert math.isnan(mean)
        assert defined == 0


# Many labels, and patients drawn again


def draw_labels(seed, n=300, patients=90, distinct=None):
    """Five labels with missing targets, and the patients: some with one image, some with many."""
    rng = np.random.default_rng([seed, n])
    groups = rng.integers(0, patients, n) ** 2 // patients
    targets = (rng.random((n, 5)) < [0.5, 0.1, 0.9, 0.02, 0.0]).astype(float)
    targets[:2, :4] = [[0], [1]]
    scores = rng.normal(targets, 1.5) + rng.normal(size=n)[groups][:, None]
    if distinct:
        scores = np.digitize(scores, np.linspace(-3, 4, distinct - 1)).astype(float)
    mask = rng.random((n, 5)) < [1.0, 0.7, 0.7, 1.0, 1.0]
    mask[:2] = True
    targets[~mask], scores[~mask] = np.nan, np.nan
    return targets, scores, mask, groups


def test_auroc_per_label_is_auroc_of_each():
    targets, scores, mask, _ = draw_labels(0)
    found = metrics.auroc_per_label(targets, scores, mask)
    each = [metrics.auroc(*columns) for columns in zip(targets.T, scores.T, mask.T, strict=True)]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, each)
    assert np.isnan(found).tolist() == [False] * 4 + [True]


def test_many_labels_name_what_is_wrong():
    targets, scores, mask, _ = draw_labels(9)
    wrong = targets.copy()
    wrong[7, 3] = -1
    with pytest.raises(DataError, match="scores"):
        metrics.auroc_per_label(targets, scores[:, :4], mask)
    with pytest.raises(DataError, match=r"column 3: .* 1 have a target other"):
        metrics.auroc_per_label(wrong, scores, mask)


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_points_equal_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    y_true, y_score = rng.random(60) < 0.3, rng.integers(0, [5, 1000][seed % 2], 60) / 7
    recall, precision, thresholds = metrics.precision_recall_points(y_true, y_score)
    theirs = precision_recall_curve(y_true, y_score)
    np.testing.assert_allclose(precision, theirs[0][-2::-1], atol=1e-15)
    np.testing.assert_allclose(recall, theirs[1][-2::-1], atol=1e-15)
    np.testing.assert_allclose(thresholds, theirs[2][::-1])
    assert np.isnan(metrics.precision_recall_points(y_true & False, y_score)[:2]).all()


def test_docstrings_say_what_happens():
    result = doctest.testmod(metrics)
    assert result.failed == 0
    assert result.attempted >= 12
