"""Which bits of a word are the picture."""

import numpy as np
import pytest
from pydicom import uid

from tests.support.dicom_greys import DEEP, differs, j2k, stretched, warning
from tests.support.dicoms import compressed, dicom
from tests.support.lossless import encode_lossless
from tests.support.windows import windowed

ROWS, COLUMNS = np.indices(DEEP.shape)
WIDE = (32767 * (0.5 + 0.5 * np.sin(ROWS / 20) * np.cos(COLUMNS / 25))).astype(np.uint16)
"""15 bits, more than the 12 that the files say; as smooth as a film, a hundred times as large."""
SMOOTH, J2K = WIDE >> 3, uid.JPEG2000Lossless
GARBAGE = np.random.default_rng(0).integers(0, 16, DEEP.shape).astype(np.uint16)


def overlay(bit):
    """A frame and a cross, as programs burnt them into unused bits."""
    drawn = np.zeros(DEEP.shape, np.uint16)
    drawn[5:-5, [6, -6]] = drawn[[6, -6], 5:-5] = drawn[20, :] = 1 << bit
    return drawn


@pytest.mark.parametrize("below", [0, GARBAGE, overlay(0)], ids=["empty", "garbage", "overlay"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1500, "WindowWidth": 900}])
def test_a_picture_in_the_highest_bits_is_shifted_down(tmp_path, below, window):
    path = dicom(tmp_path / "a.dcm", DEEP << 4 | below, 12, HighBit=15, **window)
    expected = windowed(DEEP, 1500, 900, "LINEAR") if window else stretched(DEEP)
    assert differs(path, expected) <= 0.51
    assert warning(path) == ""


def test_a_signed_picture_in_the_highest_bits_keeps_its_sign(tmp_path):
    pixels = (DEEP.astype(np.int16) - 2048) << 4
    path = dicom(tmp_path / "a.dcm", pixels, 12, HighBit=15, WindowCenter=0, WindowWidth=900)
    assert differs(path, windowed(DEEP.astype(int) - 2048, 0, 900, "LINEAR")) <= 0.51


def test_a_picture_between_other_bits_is_cut_out(tmp_path):
    words = GARBAGE >> 2 | DEEP << 2 | (GARBAGE & 3) << 14
    assert differs(dicom(tmp_path / "a.dcm", words, 12, HighBit=13), stretched(DEEP)) <= 0.51


def test_a_high_bit_above_the_picture_is_told(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, HighBit=15)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == "its High Bit is 15, and its pixels lie in the lowest 12 bits"


@pytest.mark.parametrize("high", [3, 16, 200])
def test_a_high_bit_that_no_picture_can_have_says_nothing(tmp_path, high):
    assert differs(dicom(tmp_path / "a.dcm", DEEP, 12, HighBit=high), stretched(DEEP)) <= 0.51


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 16384, "WindowWidth": 9000}])
def test_more_bits_than_the_file_says_are_read_and_told(tmp_path, window):
    path = dicom(tmp_path / "a.dcm", WIDE, 12, **window)
    expected = windowed(WIDE, 16384, 9000, "LINEAR") if window else stretched(WIDE)
    assert differs(path, expected) <= 0.51
    assert warning(path) == "its pixels have 15 bits, more than its Bits Stored (12)"


def test_more_bits_of_a_compressed_picture_are_read_too(tmp_path):
    stream = encode_lossless(WIDE, 16)
    path = compressed(tmp_path / "a.dcm", stream, WIDE, uid.JPEGLosslessSV1, 12)
    assert differs(path, stretched(WIDE)) <= 0.51
    assert "more than its Bits Stored (12)" in warning(path)


def test_a_picture_that_is_signed_by_its_header_alone_is_read_and_told(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP.astype(np.int16), 12)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == "its pixels have 13 bits, more than its Bits Stored (12)"


@pytest.mark.parametrize("above", [GARBAGE << 12, overlay(12), overlay(15), 1 << 14])
def test_what_lies_above_the_picture_is_not_seen(tmp_path, above):
    path = dicom(tmp_path / "a.dcm", DEEP | above, 12)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == ""


def test_the_sign_may_be_missing_in_the_bits_above(tmp_path):
    signed = (DEEP.astype(np.int16) - 2048) & 4095
    path = dicom(tmp_path / "a.dcm", signed, 12)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == ""


def test_eight_bits_in_a_word_may_have_anything_beside_them(tmp_path):
    eight = DEEP >> 4
    path = dicom(tmp_path / "a.dcm", eight | GARBAGE << 10, 8)
    assert differs(path, stretched(eight)) <= 0.51


def test_colours_of_more_bits_are_read_too(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.stack([WIDE] * 3, axis=-1), 12)
    assert differs(path, WIDE >> 7) <= 1
    assert "its pixels have 15 bits" in warning(path)


@pytest.mark.parametrize("bits", [12, 16])
def test_a_picture_that_is_coded_unsigned_and_said_signed_is_unsigned_and_told(tmp_path, bits):
    pixels = SMOOTH if bits == 12 else SMOOTH << 4
    path = compressed(tmp_path / "a.dcm", j2k(pixels), pixels.astype(np.int16), J2K, bits)
    assert differs(path, stretched(pixels)) <= 0.51
    assert warning(path) == "its pixels are unsigned, and it says signed"


def test_signed_pixels_that_are_coded_unsigned_stay_signed(tmp_path):
    """Some programs do so; seen as unsigned they would jump wherever they cross 0."""
    signed = SMOOTH.astype(np.int16) - 2048
    stream = j2k((signed & 0xFFF).astype(np.uint16))
    path = compressed(tmp_path / "a.dcm", stream, signed, J2K, 12)
    assert differs(path, stretched(SMOOTH)) <= 0.51
    assert warning(path) == ""
