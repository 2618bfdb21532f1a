"""JPEG files: their headers, metadata and damage."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.formats import limits as limits
from cxrtool.images.formats.jpeg import has_one_header
from cxrtool.images.reading import decode, read_for_scoring, read_grey, read_header
from tests.support.formats import LONG_EXIF, encoded, refused, stored
from tests.support.lossless import encode_lossless, wavy


def test_long_metadata_of_a_jpeg_are_left_out_and_it_is_told(tmp_path):
    exif = b"\xff\xe1" + struct.pack(">H", 65_000) + LONG_EXIF[:64_998]
    content = encoded("JPEG")
    grey, warning = read_for_scoring(stored(tmp_path, content[:2] + exif * 6 + content[2:]))
    plain, _ = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == np.asarray(plain)).all()
    assert "MiB of metadata are not read" in warning


def test_what_libjpeg_says_of_damage_is_told(tmp_path):
    content = bytearray(encoded("JPEG", quality=90))
    start = content.index(b"\xff\xda") + 400
    content[start : start + 40] = bytes(40)
    _, warning = read_for_scoring(stored(tmp_path, content))
    assert "(libjpeg)" in warning


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_refused(tmp_path, progressive):
    content = encoded("JPEG", progressive=progressive)
    for end in (-2, -40, len(content) // 2):
        assert "truncated" in refused(stored(tmp_path, content[:end]))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 50}])
def test_jpegs_pixels_are_those_of_pillow(tmp_path, mode, options):
    content = encoded("JPEG", mode, **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("L"))
    grey, _ = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == expected).all()


@pytest.mark.parametrize("marker", [b"\xff\xc0", b"\xff\xda"])
@pytest.mark.parametrize("before", range(-2, 24, 2))
def test_a_header_is_read_wherever_the_first_look_at_a_file_ends(tmp_path, marker, before):
    """Also in the middle of the size, or of the first scan's segment, which Pillow reads too."""
    content = encoded("JPEG")
    rest = limits.HEAD - before - content.index(marker)
    more = b"".join(
        b"\xff\xec" + struct.pack(">H", size - 2) + bytes(size - 4)
        for size in (rest // 2, rest - rest // 2)
    )
    path = stored(tmp_path, content[:2] + more + content[2:])
    assert path.read_bytes().index(marker) == limits.HEAD - before
    assert read_header(path) == (112, 128, "L", "")


@pytest.mark.parametrize("left", [0, 3, 5])
@pytest.mark.parametrize("read", [read_for_scoring, read_header])
def test_a_jpeg_that_is_cut_in_its_size_says_so(tmp_path, left, read):
    content = encoded("JPEG")
    cut = content[: content.index(b"\xff\xc0") + 4 + left]
    assert refused(stored(tmp_path, cut), read) == "cut short before its size"


def test_filling_before_a_marker_is_no_second_header():
    content = encoded("JPEG")
    start = content.index(b"\xff\xc0")
    assert has_one_header(content[:start] + b"\xff" * 3 + content[start:])
    assert not has_one_header(content[:start] + b"\0\xff" + content[start:])
    assert not has_one_header(content[:start] + content[start : start + 13] + content[start:])


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_lossless_jpeg_of_any_depth_is_read(tmp_path, bits):
    pixels = wavy(40, 56, bits)
    path = stored(tmp_path, encode_lossless(pixels, bits))
    assert np.abs(np.asarray(read_grey(path)) - pixels / (2**bits - 1) * 255).max() <= 0.51
    assert decode(path).mode == "I;16"
    assert read_header(path) == (56, 40, "I;16", "")
    assert read_for_scoring(path)[1] == ""


def test_a_lossy_jpeg_of_twelve_bits_is_named(tmp_path):
    content = bytearray(encoded("JPEG"))
    content[content.index(b"\xff\xc0") + 4] = 12
    assert refused(stored(tmp_path, content)) == (
        "a JPEG of 12 bits a sample, which is not read: save it as 16-bit PNG or TIFF"
    )
    with pytest.raises(ImageError, match="a JPEG of 12 bits"):
        read_header(tmp_path / "a")
