"""Intervals: what they must hold, and where they must say nothing."""

import doctest

import numpy as np
import pytest
from scipy import special, stats

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import intervals as intervals
from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.metrics import auroc


def test_with_many_patients_and_no_bias_they_are_percentiles():
    values = np.random.default_rng(10).normal(size=(2001, 2))
    found = intervals.bootstrap_interval(values, np.median(values, axis=0), [1e9, 1e9], level=0.9)
    np.testing.assert_allclose(found, np.percentile(values, [5, 95], axis=0).T, atol=0.02)


def test_few_patients_widen_them():
    values = np.random.default_rng(1).normal(size=(4001, 1))
    widths = [
        np.diff(intervals.bootstrap_interval(values, np.median(values, axis=0), [freedom])[0])[0]
        for freedom in (5, 20, 100, 1e9)
    ]
    assert widths == sorted(widths, reverse=True)
    expected = stats.t.ppf(0.975, 20) * np.sqrt(21 / 20)
    assert widths[1] == pytest.approx(2 * expected, rel=0.06)


def test_a_bias_moves_them_by_twice_itself():
    values = np.random.default_rng(2).normal(size=(8001, 1))
    low, high = intervals.bootstrap_interval(values, [0.3], [1e9])[0]
    assert (low + high) / 2 == pytest.approx(0.6, abs=0.1)


def test_they_are_undefined_where_nothing_can_be_said():
    values = np.tile(np.linspace(0, 1, 400)[:, None], 6)
    values[:201, 1] = np.nan
    values[:200, 2] = np.nan
    values[:, 5] = 1.0
    estimates = [0.5, 0.75, 0.75, np.nan, 0.5, 1.0]
    found = intervals.bootstrap_interval(values, estimates, [50, 50, 50, 50, 0, 50])
    assert np.isnan(found).any(axis=1).tolist() == [False, True, False, True, True, True]


def test_an_area_has_a_t_interval_of_its_log_odds():
    drawn = special.expit(np.random.default_rng(7).normal(3.0, 0.5, (20_000, 1)))
    low, high = intervals.area_interval(drawn, [special.expit(3.0)], [20])[0]
    half = stats.t.ppf(0.975, 20) * np.sqrt(21 / 20) * 0.5
    assert special.logit([low, high]) == pytest.approx([3.0 - half, 3.0 + half], rel=0.01)
    assert special.expit(3.0) - low > high - special.expit(3.0)


def test_an_area_near_one_has_an_interval_below_one():
    drawn = np.where(np.arange(400) % 2 == 0, 1.0, 0.99)[:, None]
    low, high = intervals.area_interval(drawn, [0.996], [9])[0]
    assert 0.9 < low < 0.996 < high < 1
    mirrored = intervals.area_interval(1 - drawn, [0.004], [9])[0]
    assert mirrored == pytest.approx([1 - high, 1 - low])


def test_an_area_has_none_where_nothing_can_be_said():
    values = np.tile(np.linspace(0.1, 0.9, 400)[:, None], 6)
    values[:201, 1] = np.nan
    values[:, 4] = values[:, 5] = np.arange(400) % 2
    estimates = [0.5, 0.75, np.nan, 0.5, 1.0, 0.5]
    found = intervals.area_interval(values, estimates, [50, 50, 50, 0, 50, 50])
    assert np.isnan(found).any(axis=1).tolist() == [False, True, True, True, True, True]


def test_wrong_shapes_and_levels_are_refused():
    with pytest.raises(DataError, match="expected"):
        intervals.bootstrap_interval([0.5], [0.5], [3])
    with pytest.raises(DataError, match="expected"):
        intervals.bootstrap_interval([[0.5]], [0.5, 0.6], [3, 3])
    for level in (0, 1, 95, float("nan")):
        with pytest.raises(UsageError, match="level"):
            intervals.bootstrap_interval([[0.5]], [0.5], [3], level=level)
        with pytest.raises(UsageError, match="level"):
            intervals.area_interval([[0.5]], [0.5], [3], level=level)
        with pytest.raises(UsageError, match="level"):
            intervals.share_interval([0.5], [[0.5]], [3], [3], level=level)


def test_a_share_of_independent_rows_has_wilsons_interval():
    rng = np.random.default_rng(3)
    for hits, n in ((0, 12), (12, 12), (30, 90), (5, 400)):
        drawn = rng.binomial(n, hits / n, (20_000, 1)) / n
        found = intervals.share_interval([hits / n], drawn, [n], [n])[0]
        theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert found == pytest.approx([theirs.low, theirs.high], abs=0.01)
        assert 0 <= found[0] <= hits / n <= found[1] <= 1


def test_alike_rows_are_worth_fewer():
    rng = np.random.default_rng(4)
    patients = rng.binomial(40, 0.5, (20_000, 1)) / 40
    alike = intervals.share_interval([0.5], patients, [400], [40])[0]
    apart = intervals.share_interval([0.5], [[0.5]] * 2 + [[0.51], [0.49]], [400], [400])[0]
    assert np.diff(alike) > 2 * np.diff(apart)
    of_forty = stats.binomtest(20, 40).proportion_ci(method="wilson")
    assert alike == pytest.approx([of_forty.low, of_forty.high], abs=0.02)


def wilson(share, rows):
    """By the formula, also for rows that are no whole number."""
    z = stats.norm.ppf(0.975)
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return [middle - half, middle + half]


def test_six_patients_drawn_with_replacement_are_worth_five():
    spread = np.sqrt(0.25 / 6)  # the standard deviation of a mean of six, drawn so
    found = intervals.share_interval([0.5], [[0.5 - spread], [0.5 + spread]], [60], [6])[0]
    assert found == pytest.approx(wilson(0.5, 5))


def test_no_row_is_worth_more_than_one():
    found = intervals.share_interval([0.5], [[0.499], [0.501]], [30], [30])[0]
    assert found == pytest.approx(wilson(0.5, 30))


def test_a_share_of_nothing_has_none():
    assert np.isnan(intervals.share_interval([np.nan], [[np.nan]], [0], [0])).all()


def test_the_freedom_of_a_mean_lies_between_its_parts():
    rng = np.random.default_rng(5)
    drawn = rng.normal(size=(500, 3)) * [1, 1, 5]
    assert 9 < intervals.mean_freedom(drawn, [100, 100, 9]) < 20
    assert intervals.mean_freedom(drawn, [100, 100, 0]) == 0
    assert intervals.mean_freedom(np.zeros((5, 0)), []) == 0


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
            low, high = intervals.area_interval(drawn, [area], [few - 1])[0]
            hits[row] += low <= true <= high
    # Three standard errors of a simulated share of 95 % are 0.038.
    assert 0.91 < hits[0] / simulations < 0.985
    assert hits[1] / simulations < 0.88


def test_docstrings_say_what_happens():
    result = doctest.testmod(intervals)
    assert result.failed == 0
    assert result.attempted >= 5
