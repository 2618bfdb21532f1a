"""Pictures of any depth have one grey form."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.depth import AT_ONCE, shallow
from cxrtool.images.film import film_content
from cxrtool.images.reading import read_for_scoring
from tests.support.greys import RAMP, grey, plain_tiff, saved


def deep(array, white=1):
    return np.floor(array.astype(np.float64) * white / 255 + 0.5)


FILM = np.clip(RAMP.astype(int) + np.arange(50) % 7 * 5, 0, 250).astype(np.uint8)
"""A picture that does not reach the end of its scale, as most do not."""


def marked(array, value):
    """With a marker burnt in, on 1 % of the pixels."""
    array = array.copy()
    array[2:6, 3:8] = value
    return array


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("bits", "error"), [(8, 0), (10, 1), (12, 1), (14, 1), (16, 0)])
def test_one_picture_has_one_grey_form_at_any_depth(tmp_path, kind, bits, error):
    """Also where its greatest value is not its depth's, and 8 bits in 16 (times 257) exactly."""
    plain = grey(saved(tmp_path / "plain.png", FILM))
    stored = saved(tmp_path / f"deep.{kind}", deep(FILM, 2**bits - 1).astype(np.uint16))
    assert read_for_scoring(stored)[1] == ""
    assert np.abs(grey(stored) - plain).max() <= error


@pytest.mark.parametrize("white", [4095, 16383])
def test_a_burnt_in_marker_does_not_blacken_the_picture_and_is_told(tmp_path, white):
    pixels = marked(deep(FILM, white), 65535)
    stored = saved(tmp_path / "a.png", pixels.astype(np.uint16))
    assert np.abs(grey(stored) - marked(FILM, 255)).max() <= 1
    (said,) = read_for_scoring(stored)[1].split("; ")
    assert said == (
        f"1.0% of its pixels are above {white:,} (up to 65,535): taken for a marker and clipped"
    )


def test_a_dark_picture_of_eight_bits_in_sixteen_stays_dark(tmp_path):
    dark = (FILM // 8).astype(np.uint16) * 257
    assert (grey(saved(tmp_path / "a.png", dark)) == FILM // 8).all()


@pytest.mark.parametrize("white", [1, 255, 4095, 65535, 1e-3])
def test_float_pixels_are_of_the_scale_that_they_fit_into(tmp_path, white):
    stored = saved(tmp_path / "a.tif", (RAMP / 255 * white).astype(np.float32))
    assert np.abs(grey(stored) - RAMP).max() <= (1 if white >= 1 else 6)


def test_negative_pixels_are_told(tmp_path):
    stored = saved(tmp_path / "a.tif", (RAMP / 255 - 0.5).astype(np.float32))
    assert "50.2% of its pixels are negative: read as 0" in read_for_scoring(stored)[1]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_of_deep_pictures_little_more_than_themselves_is_in_memory(dtype):
    pixels = np.zeros((3000, 3000), dtype)
    pixels[::2] = 40_000
    image = Image.fromarray(pixels)
    tracemalloc.start()
    shallow(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes + pixels.size + 30 * AT_ONCE


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_a_tiff_says_which_end_is_white(tmp_path, bits, white_is_zero):
    levels = (RAMP / 255 * (2**bits - 1)).astype(f"<u{bits // 8}")
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels, 0 if white_is_zero else 1))
    assert np.abs(grey(tmp_path / "a.tif") - (255 - RAMP if white_is_zero else RAMP)).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "error"), [(8, 0), (10, 1), (12, 1), (14, 1), (16, 1)])
@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_a_signed_tiff_has_the_greys_of_the_unsigned_one_that_was_shifted(
    tmp_path, order, bits, error, kind
):
    levels = deep(FILM, 2**bits - 1) - 2 ** (bits - 1)
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels.astype(kind), 1, order, t339=2))
    assert np.abs(grey(tmp_path / "a.tif") - FILM).max() <= error
    least, greatest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    said = f"its pixels are signed: shown from {least:,} to {greatest:,}"
    assert read_for_scoring(tmp_path / "a.tif")[1] == said


def test_signed_bytes_are_not_read_as_unsigned_ones(tmp_path):
    levels = FILM.astype(int) - 128
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels.astype(np.int8), 1, t339=2))
    assert (grey(tmp_path / "a.tif") == FILM).all()


def test_values_of_a_scanner_are_shown_from_the_power_of_two_below_them(tmp_path):
    levels = deep(FILM, 4095) - 1024
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels.astype(np.int16), 1, t339=2))
    assert np.abs(grey(tmp_path / "a.tif") - FILM).max() <= 1


def test_a_few_negative_pixels_are_black(tmp_path):
    levels = marked(deep(FILM, 4095), -7)
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels.astype(np.int16), 1, t339=2))
    assert np.abs(grey(tmp_path / "a.tif") - marked(FILM, 0)).max() <= 1
    assert read_for_scoring(tmp_path / "a.tif")[1] == ""


def test_words_of_32_bits_are_not_read_as_signed_ones(tmp_path):
    levels = deep(FILM, 2**32 - 1)
    (tmp_path / "a.tif").write_bytes(plain_tiff(levels.astype(np.uint32), 1, t339=1))
    assert np.abs(grey(tmp_path / "a.tif") - FILM).max() <= 1


def test_a_signed_film_is_shown_as_it_is_scored(tmp_path):
    levels = deep(FILM, 4095) - 2048
    film = film_content("a.tif", plain_tiff(levels.astype(np.int16), 1, t339=2))
    first = film.presentations[0]
    values = film.values.astype(float) * film.slope + film.intercept
    shown = np.clip(first.of(values), 0, 1) * 255
    assert np.abs(shown - np.asarray(film.grey)).max() <= 1
    assert (values == levels).all()
