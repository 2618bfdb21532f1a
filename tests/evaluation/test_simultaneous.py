"""Intervals that hold all at once."""

import numpy as np
import pytest
from scipy import stats

from cxrtool.evaluation.simultaneous import (
    MaxT,
    correlations,
    square_and_add,
    t_chances,
    t_intervals,
)


def adjusted(drawn):
    family = MaxT(len(drawn))
    family.add(drawn)
    return family.adjust()


def test_independent_comparisons_need_sidaks_level():
    drawn = np.random.default_rng(1).normal(size=(4_000, 10)) * np.arange(1, 11) + 5
    found = adjusted(drawn)
    assert found.comparisons == 10
    assert 1 - found.single_level == pytest.approx(1 - 0.95 ** (1 / 10), rel=0.15)


def test_what_goes_together_costs_nothing():
    drawn = np.random.default_rng(2).normal(size=(4_000, 1))
    found = adjusted(np.hstack([drawn, 3 * drawn + 1, -drawn]))
    assert 1 - found.single_level == pytest.approx(0.05, rel=0.15)


def test_it_is_the_greatest_of_normal_numbers_that_go_together_so():
    """Against integrating the density of five, each two correlated by 0.6."""
    rng = np.random.default_rng(3)
    drawn = np.sqrt(0.6) * rng.normal(size=(4_000, 1)) + np.sqrt(0.4) * rng.normal(size=(4_000, 5))
    found = adjusted(drawn)
    reach = stats.norm.ppf((1 + found.single_level) / 2)
    together = stats.multivariate_normal(np.zeros(5), 0.6 + 0.4 * np.eye(5))
    inside = together.cdf(np.full(5, reach), lower_limit=np.full(5, -reach))
    assert inside == pytest.approx(0.95, abs=0.01)


def test_the_level_lies_between_that_of_one_and_bonferronis():
    apart = np.random.default_rng(3).normal(size=(50, 4))
    assert adjusted(apart).single_level <= 1 - 0.05 / 4
    assert adjusted(np.where(np.arange(60)[:, None] % 2 == 0, 1.0, -1.0)).single_level >= 0.95
    assert MaxT(10).adjust() is None


def test_parts_of_a_family_may_come_one_after_another():
    drawn = np.random.default_rng(6).normal(size=(300, 6))
    family = MaxT(300)
    for part in np.hsplit(drawn, 3):
        family.add(part)
    assert family.adjust() == adjusted(drawn)


def test_what_does_not_vary_counts_and_strays_nowhere():
    rng = np.random.default_rng(4)
    drawn = np.hstack([rng.normal(size=(500, 1)), np.full((500, 1), 0.3)])
    drawn[:100, 0] = np.nan
    found = adjusted(drawn)
    assert found.comparisons == 2
    assert 1 - found.as_json()["single_level"] == pytest.approx(0.05, rel=0.15)


def test_t_intervals_and_their_p_values_say_the_same():
    rng = np.random.default_rng(5)
    drawn = rng.normal(0.02, 0.01, (4_000, 3))
    values, freedom = np.array([0.02, 0.0, np.nan]), np.array([9.0, 40.0, 40.0])
    ends, p = t_intervals(drawn, values, freedom, 0.95), t_chances(drawn, values, freedom)
    half = stats.t.ppf(0.975, 9) * np.std(drawn[:, 0])
    assert ends[0] == pytest.approx([0.02 - half, 0.02 + half])
    assert p[0] == pytest.approx(2 * stats.t.sf(0.02 / np.std(drawn[:, 0]), 9))
    at_p = t_intervals(drawn, values, freedom, 1 - p[0])[0]
    assert at_p[0] == pytest.approx(0, abs=1e-12)
    assert p[1] == 1
    assert np.isnan(ends[2]).all()
    assert np.isnan(p[2])
    assert np.isnan(t_intervals(drawn, values, np.zeros(3), 0.95)).all()
    assert np.isnan(t_intervals(np.ones((9, 3)), values, freedom, 0.95)).all()


def test_a_difference_inherits_its_figures_intervals():
    """Newcombe (1998, Stat. Med. 17:873-890): his method 10 on his example of two shares."""
    high, low = np.array([56 / 70]), np.array([48 / 80])
    ends = [
        stats.binomtest(hits, rows).proportion_ci(method="wilson")
        for hits, rows in ((56, 70), (48, 80))
    ]
    of_high, of_low = (np.array([[one.low, one.high]]) for one in ends)
    found = square_and_add((high, of_high), (low, of_low), np.zeros(1))[0]
    assert found == pytest.approx([0.0524, 0.3339], abs=1e-4)
    narrower = square_and_add((high, of_high), (low, of_low), np.array([0.9]))[0]
    assert np.diff(narrower) < np.diff(found) / 2


def test_correlations_of_what_does_not_vary_are_0():
    one = np.array([[1.0, 1.0, np.nan], [2.0, 1.0, 1.0], [3.0, 1.0, 2.0], [4.0, 1.0, 3.0]])
    assert correlations(one, -2 * one) == pytest.approx([-1, 0, -1])
