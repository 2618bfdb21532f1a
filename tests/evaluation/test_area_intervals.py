"""Intervals of AUROCs: what they must hold, and where they must say nothing."""

import doctest

import numpy as np
import pytest
from scipy import special, stats

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import area_intervals
from cxrtool.evaluation.area_intervals import Backing, area_interval, perfect_interval
from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.metrics import auroc


def of_freedom(drawn, estimates, freedom):
    """Intervals of finely graded scores."""
    return area_interval(drawn, estimates, Backing.plain(estimates, freedom))


def test_an_area_has_a_t_interval_of_its_log_odds():
    drawn = special.expit(np.random.default_rng(7).normal(3.0, 0.5, (20_000, 1)))
    low, high = of_freedom(drawn, [special.expit(3.0)], [20])[0]
    half = stats.t.ppf(0.975, 20) * 0.5
    assert special.logit([low, high]) == pytest.approx([3.0 - half, 3.0 + half], rel=0.01)
    assert special.expit(3.0) - low > high - special.expit(3.0)


def test_an_area_near_one_has_an_interval_below_one():
    drawn = np.where(np.arange(400) % 2 == 0, 1.0, 0.99)[:, None]
    low, high = of_freedom(drawn, [0.996], [9])[0]
    assert 0.9 < low < 0.996 < high < 1
    mirrored = of_freedom(1 - drawn, [0.004], [9])[0]
    assert mirrored == pytest.approx([1 - high, 1 - low])


def test_an_area_has_none_where_nothing_can_be_said():
    values = np.tile(np.linspace(0.1, 0.9, 400)[:, None], 6)
    values[:201, 1] = np.nan
    values[:, 4] = 0.5
    values[:, 5] = np.arange(400) % 2
    estimates = [0.5, 0.75, np.nan, 0.5, 0.5, 0.5]
    found = of_freedom(values, estimates, [50, 50, 50, 0, 50, 50])
    assert np.isnan(found).any(axis=1).tolist() == [False, True, True, True, True, True]


def test_what_replicates_lack_widens_them_about_the_centre():
    drawn = special.expit(np.random.default_rng(7).normal(2.0, 0.3, (20_000, 1)))
    estimate, centre = special.expit(2.0), special.expit(1.8)
    lacking = (0.4 * centre * (1 - centre)) ** 2  # a standard deviation of 0.4 in log odds
    backing = Backing(*(np.array([one]) for one in (20.0, 21.0, centre, lacking)))
    low, high = area_interval(drawn, [estimate], backing)[0]
    half = stats.t.ppf(0.975, 20) * np.hypot(0.3, 0.4)
    assert special.logit([low, high]) == pytest.approx([1.8 - half, 1.8 + half], rel=0.02)


def test_an_estimate_lies_in_its_interval_wherever_the_centre_is():
    backing = Backing(*(np.array([one]) for one in (1e9, 9.0, 0.5, 0.0)))
    drawn = np.array([[0.89], [0.9], [0.91]])
    low, high = area_interval(drawn, [0.9], backing)[0]
    assert low < 0.5 < high == 0.9


def test_perfect_ranks_have_an_exact_one_sided_interval():
    """Its end is the area at which none of so many independent pairs is wrong in 5 % of cases."""
    backing = Backing.plain([1.0, 0.0], [29, 29])
    found = area_interval(np.tile([1.0, 0.0], (50, 1)), [1.0, 0.0], backing)
    assert found[0] == pytest.approx([stats.binomtest(30, 30).proportion_ci(0.9).low, 1.0])
    assert found[0][0] == pytest.approx(1 - 3 / 30, abs=0.006)
    assert found[1] == pytest.approx(1 - found[0][::-1])
    assert np.isnan(perfect_interval(1.0, 0)).all()


def test_a_mean_has_the_fewest_pairs_and_lacks_a_share_of_each():
    rng = np.random.default_rng(8)
    drawn = rng.normal(0.8, 0.01, (500, 3))
    backing = Backing(*map(np.array, ([9.0, 50, 99], [10.0, 40, 90], [0.8, 0.7, 0.6], [3.0, 0, 6])))
    mean = backing.of_mean(drawn[:, [0, 2]], [0, 2])
    assert (mean.pairs[0], mean.centres[0]) == pytest.approx((10, 0.7))
    assert mean.lacking[0] == pytest.approx(9 / 4)
    assert 9 < mean.freedom[0] < 108


def test_wrong_shapes_and_levels_are_refused():
    with pytest.raises(DataError, match="expected"):
        of_freedom([0.5], [0.5], [3])
    for level in (0, 1, 95, float("nan")):
        with pytest.raises(UsageError, match="level"):
            area_interval([[0.5]], [0.5], Backing.plain([0.5], [3]), level)


@pytest.mark.slow
def test_they_hold_the_true_auroc_as_often_as_they_say():
    """Patients with one to five alike images, 50 of them positive; images resampled do not."""
    rng, hits = np.random.default_rng(6), np.zeros(2)
    simulations, true = 300, stats.norm.cdf(1.5 / np.sqrt(2))
    for number in range(simulations):
        images = rng.integers(1, 6, 200)
        positive = np.repeat(np.arange(200) < 50, images)
        alike = np.repeat(rng.normal(size=200), images)
        own = rng.normal(size=len(positive))
        score = 1.5 * positive + np.sqrt(0.6) * alike + np.sqrt(0.4) * own
        patients = np.repeat(np.arange(200), images)
        for row, (groups, few) in enumerate(
            ((patients, 50), (np.arange(len(positive)), positive.sum()))
        ):
            draws = draw_patients(groups, replicates=400, seed=number)
            columns = [array[:, None] for array in (positive, score, positive >= 0)]
            drawn = bootstrap_rankings(*columns, draws).auroc
            area = auroc(positive, score)
            low, high = of_freedom(drawn, [area], [few - 1])[0]
            hits[row] += low <= true <= high
    # Three standard errors of a simulated share of 95 % are 0.038.
    assert 0.91 < hits[0] / simulations < 0.985
    assert hits[1] / simulations < 0.88


def test_docstrings_say_what_happens():
    result = doctest.testmod(area_intervals)
    assert result.failed == 0
    assert result.attempted >= 3
