"""TIFF files: their tags, and strips that are damaged or short."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import decode, read_file, read_for_scoring, read_header
from tests.support.formats import FILM, encoded, refused, stored
from tests.support.greys import RAMP, grey, plain_tiff


def test_tags_that_share_one_long_value_are_refused(tmp_path):
    tags = b"".join(struct.pack("<HHII", 40_000 + n, 1, 2**20, 8) for n in range(100))
    content = struct.pack("<2sHIH", b"II", 42, 8, 100) + tags + bytes(2**20)
    assert "MiB of tags" in refused(stored(tmp_path, content))


def tiff(strip, compression, rows, bits=8):
    """A TIFF of one strip, written out by hand (TIFF 6.0, section 4)."""
    tags = {256: 112, 257: rows, 258: bits, 259: compression, 262: 1, 273: 8, 277: 1, 278: rows}
    tags[279] = len(strip)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = struct.pack("<2sHI", b"II", 42, 8 + len(strip))
    return start + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_what_zlib_says_of_damaged_strips_is_told(tmp_path):
    """libtiff stops where the strip is full, and does not see the checksum."""
    strip = bytearray(zlib.compress(FILM.tobytes() + bytes(5000)))
    strip[-1] ^= 1
    grey, warning = read_for_scoring(stored(tmp_path, tiff(strip, 8, 128)))
    assert (np.asarray(grey) == FILM).all()
    assert "incorrect data check (zlib), in 1 of 1 strips" in warning


def test_what_libtiff_writes_of_damage_is_told_and_not_printed(tmp_path, capfd):
    content = bytearray(encoded("TIFF", "1", compression="group4"))
    with Image.open(io.BytesIO(content)) as image:
        start = image.tag_v2[273][0]
    told = 0
    for place in range(start + 40, start + 240, 20):
        damaged = content.copy()
        damaged[place] ^= 0xFF
        told += "damaged: Fax4Decode" in read_for_scoring(stored(tmp_path, damaged))[1]
    assert told >= 8
    assert capfd.readouterr().err == ""


def short_strip(kind):
    """A TIFF whose strip has 16 rows, of a picture of 512."""
    file, mode = io.BytesIO(), "1" if kind == "group4" else "L"
    Image.fromarray(FILM[:16]).convert(mode).save(file, "TIFF", compression=kind)
    with Image.open(file) as image:
        start, size = image.tag_v2[273][0], image.tag_v2[279][0]
        strip = file.getvalue()[start : start + size]
        if kind == "jpeg":  # with its tables in the strip
            whole = io.BytesIO()
            Image.fromarray(FILM[:16]).save(whole, "JPEG")
            strip = whole.getvalue()
        return tiff(strip, image.tag_v2[259], 512, bits=1 if mode == "1" else 8)


@pytest.mark.parametrize("kind", ["jpeg", "group4", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_strip_that_is_short_shows_nobody_elses_pixels(tmp_path, kind):
    """Refused, or read with what is missing in one grey, after many images were decoded."""
    marked = np.full((512, 112), 201, np.uint8)
    marked[::2] = 77
    for number in range(12):
        file = io.BytesIO()
        Image.fromarray(np.roll(marked, number)).save(file, "TIFF", compression="tiff_lzw")
        read_file(stored(tmp_path, file.getvalue()), look=False)
    path, seen = stored(tmp_path, short_strip(kind)), set()
    for _ in range(4):
        try:
            read = read_file(path, look=False)
        except ImageError:
            continue
        below = np.asarray(read.grey)[16:]
        seen.add(below.tobytes())
        assert (below == below[0, 0]).all() or kind == "group4"
        assert "damaged" in read.warning or kind == "group4"
    assert len(seen) <= 1


@pytest.mark.parametrize("kind", [np.float16, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8, 32946])
def test_floats_of_half_and_double_length_are_read(tmp_path, kind, order, compression):
    floats = (RAMP / 255).astype(kind)
    path = stored(tmp_path, plain_tiff(floats, 1, order, t339=3, t259=compression))
    assert np.abs(grey(path) - RAMP).max() <= 1
    read = decode(path)
    assert (read.mode, read.warning) == (f"F;{8 * np.dtype(kind).itemsize}", "")
    assert read_header(path) == (50, 40, read.mode, "")


def test_floats_are_turned_and_inverted_as_their_tags_say(tmp_path):
    path = stored(tmp_path, plain_tiff(RAMP / 255, 0, t339=3, t274=6))
    assert np.abs(grey(path) - np.rot90(255 - RAMP, -1)).max() <= 1


@pytest.mark.parametrize("tags", [{"t259": 5}, {"t317": 3}, {"t277": 3}, {"t324": 8}])
def test_floats_that_are_coded_in_another_way_are_refused_by_name(tmp_path, tags):
    path = stored(tmp_path, plain_tiff(RAMP / 255, 1, t339=3, **tags))
    assert refused(path).startswith("a TIFF of 64-bit floats in tiles, colours or another")


@pytest.mark.parametrize("compression", [1, 8])
def test_floats_that_are_cut_short_or_damaged_are_refused(tmp_path, compression):
    content = bytearray(plain_tiff(RAMP / 255, 1, t339=3, t259=compression, t257=80))
    assert "cut short: 16,000 of 32,000 bytes" in refused(stored(tmp_path, content))
    content[8:40] = bytes(32)
    assert refused(stored(tmp_path, content))


def test_a_tiff_of_an_unknown_kind_is_named(tmp_path):
    path = stored(tmp_path, tiff(FILM.tobytes(), 34712, 128))
    assert "a TIFF of 1 samples of 8 bits in compression 34712, which is" in refused(path)


def test_a_directory_within_the_header_is_none(tmp_path):
    path = stored(tmp_path, b"II*\0" + bytes(4) + FILM.tobytes())
    assert "its directory is not there" in refused(path)
