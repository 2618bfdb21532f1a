"""Windows follow the standard, and presentations survive the way to another process or a page."""

import json

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.presentations import (
    FUNCTIONS,
    Table,
    Window,
    as_stored,
    presentation_from,
)
from tests.support.windows import displayed, windowed

VALUES = np.arange(-300, 4500, 0.5)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (40.5, 400), (-7, 1), (1000, 2.5)])
def test_a_window_is_the_standards(function, centre, width):
    window = Window(name="a", centre=centre, width=width, function=function)
    shown = np.clip(window.of(VALUES), 0, 1) * 255
    near = VALUES[np.abs(VALUES - centre) < 100 * width]  # beyond, the reference overflows
    shown = shown[np.isin(VALUES, near)]
    assert np.abs(shown - windowed(near, centre, width, function)).max() < 1e-9


@pytest.mark.parametrize(
    ("function", "width", "enough"),
    [("LINEAR", 1, True), ("LINEAR", 0.99, False), ("SIGMOID", 0.5, True), ("SIGMOID", 0, False)],
)
def test_a_window_may_be_as_narrow_as_the_standard_allows(function, width, enough):
    window = Window(name="a", centre=0, width=width, function=function)
    assert window.is_wide_enough == enough


@pytest.mark.parametrize(("least", "greatest"), [(0, 255), (-1024, 3071), (0.25, 0.75)])
def test_a_window_between_two_values_shows_them_as_black_and_white(least, greatest):
    window = Window.between(least, greatest, "a")
    assert window.of(np.array([least, greatest])).tolist() == [0, 1]


def test_a_window_of_one_value_shows_it_as_black():
    assert Window.between(7, 7, "a").of(np.array([7.0])).tolist() == [0]


@pytest.mark.parametrize(
    "one",
    [
        Window(name="LUNG", centre=-600.5, width=1200, function="SIGMOID"),
        Table(name="soft", greys=bytes(range(256))),
    ],
)
def test_a_presentation_is_the_same_after_json(one):
    assert presentation_from(json.loads(json.dumps(one.as_json()))) == one


def test_eight_bits_are_shown_as_they_are_stored():
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert np.abs(displayed(as_stored(grey)) - np.asarray(grey)).max() < 1e-9
