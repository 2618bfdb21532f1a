"""Numbers as they are shown: one form for tables, page, pictures and terminal."""

import doctest
import json

import numpy as np
import pytest

from cxrtool.core import numbers
from cxrtool.core.numbers import (
    Estimate,
    change,
    interval,
    number,
    or_none,
    percent,
    published,
    with_interval,
)


def test_undefined_figures_read_n_a_and_null():
    assert (number(float("nan")), number(None), number(0.12345)) == ("n/a", "n/a", "0.123")
    assert (change(None), percent(None), interval(None)) == ("n/a", "n/a", "")
    assert (or_none(float("nan")), or_none(0.5)) == (None, 0.5)


def test_a_zero_has_no_sign_but_as_a_difference():
    assert (number(-0.0001), number(-0.0, 1)) == ("0.000", "0.0")
    assert (change(-0.0001), change(0.0123), change(-0.5)) == ("+0.000", "+0.012", "-0.500")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.83, "0.83"), (0.815, "0.815"), (0.9, "0.90"), (0.93, "0.93")]
)
def test_a_published_score_has_the_decimals_that_it_was_given_with(value, shown):
    assert published(value) == shown


@pytest.mark.parametrize("ends", [None, (np.nan, 0.5), (0.5, np.nan), np.full(2, np.nan)])
def test_an_interval_with_an_end_that_is_not_defined_is_none(ends):
    one = Estimate.of(0.25, ends)
    assert one == Estimate(0.25)
    assert with_interval(one) == "0.250"


def test_an_estimate_of_numpys_numbers_is_plain():
    one = Estimate.of(np.float64(0.5), np.array([0.25, 0.75]))
    assert json.dumps([one.value, one.interval]) == "[0.5, [0.25, 0.75]]"
    assert with_interval(one) == "0.500 (0.250–0.750)"
    assert Estimate.of(np.float64("nan"), [np.nan] * 2) == Estimate() == Estimate.of(None)


def test_docstrings_say_what_happens():
    assert doctest.testmod(numbers).failed == 0
