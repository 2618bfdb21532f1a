"""Mild changes of an image: what each does, and that it does it every time."""

import numpy as np
import pytest

from cxrtool.images.perturbations import PERTURBATIONS


@pytest.fixture
def square():
    """A smooth picture with an edge in it."""
    down, across = np.mgrid[0:96, 0:96]
    grey = 90 + 50 * np.sin(across / 9) + 40 * (down > 48)
    return grey.astype(np.uint8)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_change_is_mild_and_the_same_every_time(name, square):
    before = square.copy()
    changed = PERTURBATIONS[name](square)
    assert (changed.shape, changed.dtype) == (square.shape, square.dtype)
    assert (square == before).all()
    assert (changed == PERTURBATIONS[name](square)).all()
    apart = np.abs(changed.astype(float) - square)
    assert 0 < apart.mean() < 30
    # The picture is still the same one.
    assert np.corrcoef(changed.ravel(), square.ravel())[0, 1] > 0.8


def changed(start, square):
    [change] = [change for name, change in PERTURBATIONS.items() if name.startswith(start)]
    return change(square)


def test_light_goes_up_and_down_by_a_fifth_and_is_cut_at_white():
    square = np.array([[0, 100], [200, 250]], np.uint8)
    assert changed("darker", square).tolist() == [[0, 80], [160, 200]]
    assert changed("brighter", square).tolist() == [[0, 120], [240, 255]]


def test_a_blur_spreads_what_is_sharp_and_keeps_its_sum():
    square = np.zeros((200, 200), np.uint8)
    square[100, 100:103] = 255
    blurred = changed("blurred", square)
    assert blurred[101, 101] > 0
    assert blurred.sum() == pytest.approx(square.sum(), rel=0.1)


def test_a_crop_loses_the_edge_and_enlarges_the_middle():
    square = np.zeros((100, 100), np.uint8)
    square[:4], square[:, :4] = 255, 255
    square[40:60, 40:60] = 200
    cropped = changed("cropped", square)
    assert cropped.max() == 200
    assert (cropped > 100).sum() == pytest.approx(400 / 0.9**2, rel=0.05)


def test_lower_quality_is_farther_from_the_picture():
    square = np.random.default_rng(0).integers(0, 255, (96, 96), np.uint8)
    apart = [
        np.abs(changed(f"JPEG quality {quality}", square).astype(float) - square).mean()
        for quality in (50, 20)
    ]
    assert apart[0] < apart[1]
