"""Net benefit: counted by hand, and intervals that patients are behind."""

import doctest

import numpy as np
import pytest
from scipy.special import expit

from cxrtool.core.errors import DataError
from cxrtool.evaluation import net_benefit
from cxrtool.evaluation.bootstrap import bootstrap_sums, draw_patients
from cxrtool.evaluation.net_benefit import DecisionCurve, decision_curve, thresholds_around

pytestmark = pytest.mark.filterwarnings("error")


def draw(seed=0, patients=200, level=-1.0):
    rng = np.random.default_rng(seed)
    whom = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    logit = rng.normal(level, 0.7, len(whom)) + rng.normal(0, 1.2, patients)[whom]
    return rng.random(patients)[whom] < expit(logit), expit(logit).round(3), whom


def test_each_threshold_is_counted():
    y_true, y_score, whom = draw()
    at = [0.05, float(y_score[3]), 0.3, 0.9]
    found = decision_curve(y_true, y_score, None, whom, thresholds=at)
    for place, threshold in enumerate(at):
        true = sum(
            1 for true, score in zip(y_true, y_score, strict=True) if true and score >= threshold
        )
        false = sum(
            1
            for true, score in zip(y_true, y_score, strict=True)
            if not true and score >= threshold
        )
        odds = threshold / (1 - threshold)
        expected = true / len(y_true) - false / len(y_true) * odds
        assert found.net_benefit[place] == pytest.approx(expected, abs=1e-12)
        share = np.mean(y_true)
        assert found.treat_all[place] == pytest.approx(share - (1 - share) * odds, abs=1e-12)


def test_the_ends_are_treating_all_and_treating_none():
    y_true, y_score, whom = draw(1)
    found = decision_curve(y_true, y_score, None, whom, thresholds=[1e-6, 1 - 1e-6])
    assert found.net_benefit[0] == pytest.approx(found.treat_all[0], abs=1e-12)
    assert found.net_benefit[1] == 0


def test_intervals_are_those_of_a_bootstrap_of_patients():
    y_true, y_score, whom = draw(2, 400)
    at = np.array([0.1, 0.3, 0.5])
    found = decision_curve(y_true, y_score, None, whom, thresholds=at)
    gained = (y_score[:, None] >= at) * np.where(y_true[:, None], 1.0, -at / (1 - at))
    sums = bootstrap_sums(np.column_stack([gained, np.ones(len(whom))]), draw_patients(whom))
    spread = np.std(sums[:, :-1] / sums[:, -1:], axis=0)
    half = (np.array(found.high) - found.low) / 2
    assert half / 1.97 == pytest.approx(spread, rel=0.1)
    images = decision_curve(y_true, y_score, thresholds=at)
    assert (half > 1.3 * (np.array(images.high) - images.low) / 2).all()


def test_a_model_that_knows_nothing_is_useful_nowhere_and_a_good_one_somewhere():
    rng = np.random.default_rng(5)
    y_true = rng.random(800) < 0.2
    blind = decision_curve(y_true, rng.random(800))
    assert blind.useful_range is None
    good = decision_curve(y_true, np.where(y_true, 0.6, 0.05) + rng.random(800) / 5)
    low, high = good.useful_range
    assert low < 0.15 < 0.4 < high
    # Just above the prevalence, treating all does not pay; a useful model has to beat both.
    at = np.array(good.threshold)
    inside = (at >= low) & (at <= high)
    better = np.array(good.net_benefit) > np.maximum(good.treat_all, 0)
    assert better[inside].all()


def test_the_longest_useful_stretch_is_told():
    def curve(useful):
        levels = tuple(np.linspace(0.1, 0.5, len(useful)).round(3).tolist())
        return DecisionCurve(threshold=levels, net_benefit=(), treat_all=(), useful=useful)

    assert curve((True, False, True, True, False)).useful_range == (0.3, 0.4)
    assert curve((False,) * 5).useful_range is None
    assert curve((True,) * 5).useful_range == (0.1, 0.5)


@pytest.mark.parametrize("prevalence", [0.0001, 0.02, 0.5, 0.97])
def test_thresholds_reach_tenfold_in_odds_to_either_side_of_the_prevalence(prevalence):
    at = thresholds_around(prevalence)
    odds = at / (1 - at)
    assert (np.diff(at) > 0).all()
    middle = prevalence / (1 - prevalence)
    assert odds[[0, 20, 40]] == pytest.approx(np.array([0.1, 1, 10]) * middle)


def test_what_is_not_defined():
    assert decision_curve([0, 0], [0.1, 0.2]) is None
    assert decision_curve([1, 1], [0.1, 0.2]) is None
    assert decision_curve([], []) is None
    alone = decision_curve([0, 1, 0], [0.1, 0.2, 0.3])
    assert alone.low == () == alone.useful
    assert decision_curve([0, 1] * 20, [0.2, 0.4] * 20, level=None).low == ()
    y_true, y_score, whom = draw(3)
    mask = np.arange(len(whom)) % 3 > 0
    kept = decision_curve(y_true[mask], y_score[mask], None, whom[mask])
    assert decision_curve(y_true, np.where(mask, y_score, np.nan), mask, whom) == kept
    with pytest.raises(DataError, match="calibration needs probabilities"):
        decision_curve([0, 1], [0.5, 1.5])


def test_examples():
    assert doctest.testmod(net_benefit).failed == 0
