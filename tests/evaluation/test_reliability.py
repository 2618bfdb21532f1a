"""How far probabilities are off: equal to scikit-learn's and scipy's."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation.reliability import brier_score, expected_calibration_error, reliability_bins
from tests.support.scores import draw

pytestmark = pytest.mark.filterwarnings("error")
BINS = (1, 2, 5, 10, 15, 100)


@pytest.fixture(params=["drawn", "on the edges", "few", "sure"])
def probabilities(request):
    rng = np.random.default_rng(8)
    if request.param == "drawn":
        return draw("too sure", dtype=np.float64)
    if request.param == "few":
        return np.array([0.0, 1, 1]), np.array([0.2, 0.21, 0.9])
    y_score = rng.integers(0, 11 if request.param == "on the edges" else 2, 300)
    y_score = y_score / y_score.max()
    return (rng.random(300) < y_score * 0.8 + 0.1).astype(float), y_score


def test_brier_score_is_scikit_learns(probabilities):
    assert brier_score(*probabilities) == pytest.approx(brier_score_loss(*probabilities), abs=1e-15)


def test_brier_score_of_the_prevalence():
    y_true = np.repeat([0, 1], [70, 30])
    assert brier_score(y_true, np.full(100, 0.3)) == pytest.approx(0.21)
    assert brier_score(y_true, y_true) == 0
    assert brier_score(y_true, 1 - y_true) == 1
    assert brier_score([1, 1], [1.0, 0.5]) == 0.125


@pytest.mark.parametrize("bins", BINS)
def test_bins_are_scikit_learns(bins, probabilities):
    observed, predicted = calibration_curve(*probabilities, n_bins=bins)
    found = reliability_bins(*probabilities, bins=bins)
    assert found.observed == pytest.approx(observed, abs=1e-15)
    assert found.predicted == pytest.approx(predicted, abs=1e-15)
    assert found.count.sum() == len(probabilities[0])
    assert (found.count > 0).all()
    assert found.count @ found.observed == pytest.approx(probabilities[0].sum())


@pytest.mark.parametrize("bins", BINS)
def test_intervals_are_scipys_wilson(bins, probabilities):
    found = reliability_bins(*probabilities, bins=bins)
    for low, high, observed, count in zip(
        found.low, found.high, found.observed, found.count, strict=True
    ):
        test = binomtest(round(observed * count), count)
        assert (low, high) == pytest.approx(test.proportion_ci(method="wilson"), abs=1e-12)
        assert 0 <= low <= observed <= high <= 1


@pytest.mark.parametrize("bins", BINS)
def test_the_calibration_error_weighs_bins_by_their_images(bins, probabilities):
    y_true, y_score = probabilities
    # Upper ends belong to a bin, lower ones do not: in whole steps, where rounding cannot decide.
    edges = np.linspace(0, 1, bins + 1)
    inside = [
        (y_score > low if low else y_score >= 0) & (y_score <= high)
        for low, high in pairwise(edges)
    ]
    assert np.sum(inside, axis=0).tolist() == [1] * len(y_true)
    parts = [
        kept.mean() * abs(y_true[kept].mean() - y_score[kept].mean())
        for kept in inside
        if kept.any()
    ]
    assert expected_calibration_error(y_true, y_score, bins=bins) == pytest.approx(sum(parts))


def test_ten_bins_are_the_default(probabilities):
    assert expected_calibration_error(*probabilities) == expected_calibration_error(
        *probabilities, bins=10
    )
    assert len(reliability_bins([0] * 101, np.linspace(0, 1, 101)).count) == 10


def test_without_images_there_is_nothing_to_say():
    for y_true, y_score, mask in (([], [], None), ([np.nan], [0.3], [False])):
        assert np.isnan(brier_score(y_true, y_score, mask))
        assert np.isnan(expected_calibration_error(y_true, y_score, mask))
        assert len(reliability_bins(y_true, y_score, mask).count) == 0


def test_one_class_has_a_calibration_all_the_same():
    assert expected_calibration_error([0, 0], [0.3, 0.35]) == pytest.approx(0.325)
    assert brier_score([0, 0], [0.5, 0.5]) == 0.25


@pytest.mark.parametrize("bins", [0, -3])
def test_fewer_than_one_bin_is_refused(bins):
    with pytest.raises(UsageError, match="expected 1 or more"):
        reliability_bins([0, 1], [0.1, 0.2], bins=bins)


@pytest.mark.parametrize("use", [brier_score, reliability_bins, expected_calibration_error])
def test_images_that_cannot_be_are_refused(use):
    with pytest.raises(DataError, match="1 have a target other than 0 and 1"):
        use([0, 0.5], [0.5, 0.5])
    with pytest.raises(DataError, match="1 a score that is not finite"):
        use([0, 1], [0.5, np.nan])
