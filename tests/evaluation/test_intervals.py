"""Intervals: what they must hold, and where they must say nothing."""

import doctest

import numpy as np
import pytest
from scipy import stats

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import intervals as intervals


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


def test_wrong_shapes_and_levels_are_refused():
    with pytest.raises(DataError, match="expected"):
        intervals.bootstrap_interval([0.5], [0.5], [3])
    with pytest.raises(DataError, match="expected"):
        intervals.bootstrap_interval([[0.5]], [0.5, 0.6], [3, 3])
    for level in (0, 1, 95, float("nan")):
        with pytest.raises(UsageError, match="level"):
            intervals.bootstrap_interval([[0.5]], [0.5], [3], level=level)
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


def test_six_patients_drawn_with_replacement_are_worth_five_and_fewer_by_students_t():
    spread = np.sqrt(0.25 / 6)  # the standard deviation of a mean of six, drawn so
    found = intervals.share_interval([0.5], [[0.5 - spread], [0.5 + spread]], [60], [6])[0]
    students = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 5)) ** 2
    assert found == pytest.approx(wilson(0.5, 5 * students))


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


def test_docstrings_say_what_happens():
    result = doctest.testmod(intervals)
    assert result.failed == 0
    assert result.attempted >= 4
