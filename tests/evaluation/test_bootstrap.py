"""The cluster bootstrap against scikit-learn on each draw, and what it must not hang on."""

import doctest
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import bootstrap as bootstrap
from cxrtool.evaluation import metrics as metrics
from cxrtool.evaluation.intervals import bootstrap_interval
from tests.evaluation.test_metrics import draw_labels


def rankings(targets, scores, mask, groups, replicates=1000, seed=42):
    draws = bootstrap.draw_patients(groups, replicates=replicates, seed=seed)
    return bootstrap.bootstrap_rankings(targets, scores, mask, draws)


def aurocs(*arrays, **options):
    return rankings(*arrays, **options).auroc


def image_weights(groups, replicates, seed=42):
    """How often each image's patient is drawn in each replicate, said plainly: (replicates, n)."""
    patients, drawn = np.unique(groups), []
    for row in range(replicates):
        rng = np.random.default_rng([seed, row])
        drawn.append(patients[rng.integers(0, len(patients), len(patients))])
    return np.array([[np.sum(row == group) for group in groups] for row in drawn])


def reference(score, y_true, y_score, weight):
    drawn = weight > 0
    if len(np.unique(y_true[drawn])) < 2:
        return math.nan
    return score(y_true[drawn], y_score[drawn], sample_weight=weight[drawn])


@pytest.mark.parametrize("distinct", [None, 12, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_bootstrap_equals_scikit_learn_with_weights(distinct, seed):
    targets, scores, mask, groups = draw_labels(seed, distinct=distinct)
    found = rankings(targets, scores, mask, groups, replicates=12, seed=seed)
    assert found.auroc.shape == found.auprc.shape == (12, 5)
    for row, weight in enumerate(image_weights(groups, 12, seed)):
        for label in range(5):
            kept = mask[:, label]
            of_label = targets[kept, label], scores[kept, label], weight[kept]
            for ours, theirs in (
                (found.auroc, roc_auc_score),
                (found.auprc, average_precision_score),
            ):
                expected = reference(theirs, *of_label)
                assert ours[row, label] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_bootstrap_draws_a_patients_images_together():
    targets, scores, mask, groups = draw_labels(3)
    once = aurocs(targets, scores, mask, groups, replicates=20)
    thrice = [np.repeat(array, 3, axis=0) for array in (targets, scores, mask, groups)]
    np.testing.assert_array_equal(aurocs(*thrice, replicates=20), once)


def test_bootstrap_weights_are_whole_patients():
    weights = image_weights(draw_labels(4)[3], 30)
    patients = np.unique(draw_labels(4)[3])
    drawn = bootstrap.draw_patients(patients, replicates=30).weights(0, 30)
    assert (drawn.sum(axis=1) == len(patients)).all()
    np.testing.assert_array_equal(
        drawn[:, np.searchsorted(patients, draw_labels(4)[3])],
        weights,
    )


def test_bootstrap_by_patient_is_wider_than_by_image():
    rng = np.random.default_rng(5)
    y_true = rng.random((150, 1)) < 0.5
    y_score = rng.normal(y_true, 1.0)
    copies = [np.repeat(array, 9, axis=0) for array in (y_true, y_score, np.ones((150, 1), bool))]
    by_patient = aurocs(*copies, np.repeat(np.arange(150), 9), replicates=600)
    by_image = aurocs(*copies, np.arange(1350), replicates=600)
    assert by_patient.std() / by_image.std() == pytest.approx(3, rel=0.15)


def test_bootstrap_spread_is_hanley_and_mcneils():
    """Their standard error (1982, formula 1), for one image a patient."""
    rng = np.random.default_rng(6)
    y_true = np.repeat([[0.0], [1.0]], 400, axis=0)
    y_score = rng.normal(y_true, 1.0)
    area = metrics.auroc(y_true[:, 0], y_score[:, 0])
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 399 * (q1 - area**2) + 399 * (q2 - area**2)
    found = aurocs(y_true, y_score, y_true >= 0, np.arange(800))
    assert found.std() == pytest.approx(math.sqrt(variance) / 400, rel=0.1)
    low, high = bootstrap_interval(found, [area], [399])[0]
    assert low < area < high
    assert high - low == pytest.approx(2 * 1.96 * found.std(), rel=0.1)


def test_bootstrap_hangs_on_seed_and_patients_alone(monkeypatch):
    targets, scores, mask, groups = draw_labels(7)
    found = aurocs(targets, scores, mask, groups, replicates=25)
    again = aurocs(targets, scores, mask, groups, replicates=25)
    other = aurocs(targets, scores, mask, groups, replicates=25, seed=1)
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(found, other, equal_nan=True)
    order = np.random.default_rng(0).permutation(len(groups))
    moved = aurocs(targets[order], scores[order], mask[order], groups[order], replicates=25)
    np.testing.assert_array_equal(found, moved)
    fewer = aurocs(targets, scores, mask, groups, replicates=9)
    np.testing.assert_array_equal(found[:9], fewer)
    one_label = aurocs(targets[:, 1:2], scores[:, 1:2], mask[:, 1:2], groups)
    np.testing.assert_array_equal(found[:, 1], one_label[:25, 0])
    names = np.array([f"patient{group:05d}" for group in groups], dtype=object)
    named = aurocs(targets, scores, mask, names, replicates=25)
    np.testing.assert_array_equal(found, named)
    for cells in (1, 4 * len(groups), 10**9):
        monkeypatch.setattr(bootstrap, "CHUNK_CELLS", cells)
        chunked = aurocs(targets, scores, mask, groups, replicates=25)
        np.testing.assert_array_equal(found, chunked)


def test_bootstrap_is_nan_where_a_class_is_not_drawn():
    targets = np.array([[1, 1, 0]] + [[0, 1, 0]] * 5)
    scores = np.random.default_rng(8).random(targets.shape)
    found = aurocs(targets, scores, targets >= 0, range(6), replicates=200)
    weights = image_weights(np.arange(6), 200)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), (weights[:, 0] == 0) | (weights[:, 0] > 5))
    assert np.isnan(found[:, 1:]).all()


def test_bootstrap_without_images_is_nan():
    nothing = np.zeros((0, 2))
    found = aurocs(nothing, nothing, nothing, [], replicates=3)
    assert found.shape == (3, 2)
    assert np.isnan(found).all()


def test_rows_that_are_not_the_draws_are_refused():
    targets, scores, mask, groups = draw_labels(9)
    wrong = targets.copy()
    wrong[7, 3] = -1
    with pytest.raises(DataError, match="scores"):
        aurocs(targets, scores[:, :4], mask, groups)
    with pytest.raises(DataError, match=r"column 3: .* 1 have a target other"):
        aurocs(wrong, scores, mask, groups)
    with pytest.raises(DataError, match="the patients of"):
        aurocs(targets, scores, mask, groups[:-1])
    with pytest.raises(DataError, match="one name a row"):
        bootstrap.draw_patients([groups])
    with pytest.raises(UsageError, match="replicates"):
        bootstrap.draw_patients(groups, replicates=0)


def test_sums_are_those_of_the_rows_drawn():
    _, _, _, groups = draw_labels(2)
    values = np.random.default_rng(2).random((len(groups), 3))
    draws = bootstrap.draw_patients(groups, replicates=8)
    expected = image_weights(groups, 8) @ values
    np.testing.assert_allclose(bootstrap.bootstrap_sums(values, draws), expected, rtol=1e-12)
    with pytest.raises(DataError, match="the patients of"):
        bootstrap.bootstrap_sums(values[1:], draws)
    with pytest.raises(DataError, match="shape"):
        bootstrap.bootstrap_sums(values[:, 0], draws)


def test_docstrings_say_what_happens():
    result = doctest.testmod(bootstrap)
    assert result.failed == 0
    assert result.attempted >= 4
