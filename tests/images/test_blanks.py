"""Blank pictures are known by their warning."""

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.blanks import shows_nothing
from cxrtool.images.reading import read_for_scoring


@pytest.mark.parametrize(
    ("level", "dot", "size", "blank"),
    [
        (200, 200, (64, 64), True),
        (200, 201, (64, 64), True),
        (200, 200, (640, 64), True),  # beside the warning of its shape
        (None, 0, (64, 64), False),
        (None, 0, (640, 64), False),
    ],
)
def test_the_warning_of_a_picture_that_is_read_says_it(tmp_path, level, dot, size, blank):
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    if level is not None:
        pixels[:] = level
    pixels[3, 3] = dot
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert shows_nothing(read_for_scoring(tmp_path / "a.png")[1]) == blank


def test_the_word_alone_in_another_warning_is_not_enough():
    assert not shows_nothing("in colour; blank pages: 2")
    assert not shows_nothing("")
