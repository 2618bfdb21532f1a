"""Images of any shape as the network's square."""

import numpy as np

from cxrtool.images.resizing import load_pixels
from tests.support.greys import saved


def test_pixels_are_squished_to_a_square(tmp_path):
    left_white = np.zeros((40, 80), np.uint8)
    left_white[:, :40] = 255
    pixels = load_pixels(saved(tmp_path / "a.png", left_white), 20)
    assert pixels.shape == (20, 20)
    assert pixels.dtype == np.uint8
    assert (pixels[:, :9] == 255).all()
    assert (pixels[:, 11:] == 0).all()


def test_scaling_down_averages_and_does_not_skip(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = load_pixels(saved(tmp_path / "a.png", stripes), 8)
    assert np.abs(pixels.astype(int) - 127).max() < 15
