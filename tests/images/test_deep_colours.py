"""16-bit colours have the greys that 16-bit grey has."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import decode, read_for_scoring, read_header
from tests.support.dicoms import dicom
from tests.support.formats import chunk
from tests.support.greys import RAMP, deep_png, grey


def filtered(words):
    """Rows by PNG's filter Sub, which adds the bytes of the pixel before."""
    rows = words.astype(">u2").tobytes()
    length = len(rows) // len(words)
    step = 2 * words.shape[2]
    made = b""
    for start in range(0, len(rows), length):
        row = rows[start : start + length]
        before = bytes(step) + row[:-step]
        made += b"\1" + bytes((a - b) % 256 for a, b in zip(row, before, strict=True))
    return made


def tiff(words, order="<", compression=1, planes=1):
    """A TIFF of one strip, written out by hand (TIFF 6.0, section 6)."""
    rows, columns, channels = words.shape
    content = words.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if compression == 8 else content
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    strip = 8 + len(bits)
    longs = {256: columns, 257: rows, 259: compression, 262: 2, 273: strip, 277: channels}
    longs |= {278: rows, 279: len(content), 284: planes}
    entries = {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in longs.items()}
    entries[258] = struct.pack(f"{order}HHII", 258, 3, channels, 8)
    if channels == 4:  # the fourth is opacity, not multiplied in
        entries[338] = struct.pack(f"{order}HHIHH", 338, 3, 1, 2, 0)
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}2sHI", mark, 42, strip + len(content))
    directory = b"".join(entries[tag] for tag in sorted(entries))
    return start + bits + content + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)


def coloured(white, channels=3, opacity=65535):
    """The ramp at a depth, in grey colours."""
    words = (RAMP.astype(float) / 255 * white + 0.5).astype(np.uint16)
    return np.dstack([words] * 3 + [np.full_like(words, opacity)] * (channels == 4))


WRITTEN = {
    "PNG": deep_png,
    "filtered PNG": lambda words: deep_png(words, compressed_rows=filtered(words)),
    "TIFF": tiff,
    "big-endian TIFF": lambda words: tiff(words, ">"),
    "deflated TIFF": lambda words: tiff(words, compression=8),
    "deflated big-endian TIFF": lambda words: tiff(words, ">", 8),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_are_scaled_by_their_depth(tmp_path, written, white, channels):
    path = tmp_path / "a"
    path.write_bytes(WRITTEN[written](coloured(white, channels)))
    assert np.abs(grey(path) - RAMP).max() <= 1
    read = decode(path)
    assert (read.mode, read.warning) == ("RGB;16" if channels == 3 else "RGBA;16", "")
    assert read_header(path).mode == read.mode
    assert read_for_scoring(path)[1] == ""


def test_colours_of_full_depth_are_as_pillow_reads_them(tmp_path):
    words = np.random.default_rng(0).integers(0, 65536, (40, 50, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(deep_png(words))
    plain = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert (grey(tmp_path / "a.png") == plain).all()
    assert (np.asarray(Image.open(tmp_path / "a.png")) == words >> 8).all()


def test_eight_bits_written_twice_stay_as_they_are(tmp_path):
    dark = np.dstack([RAMP // 8] * 3).astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(deep_png(dark))
    assert np.abs(grey(tmp_path / "a.png") - RAMP // 8).max() <= 1


def test_a_marker_does_not_blacken_colours_and_is_told(tmp_path):
    words = coloured(4095)
    words[2:6, 3:8] = 65535
    (tmp_path / "a.png").write_bytes(deep_png(words))
    assert np.abs(grey(tmp_path / "a.png") - np.where(words[..., 0] > 4095, 255, RAMP)).max() <= 1
    assert (
        "are above 4,095 (up to 65,535): taken for a marker"
        in read_for_scoring(tmp_path / "a.png")[1]
    )


def test_what_is_transparent_in_deep_colours_is_black(tmp_path):
    words = coloured(4095, channels=4)
    words[:, :25, 3] = 0
    (tmp_path / "a.png").write_bytes(deep_png(words))
    read = grey(tmp_path / "a.png")
    assert (read[:, :25] == 0).all()
    assert np.abs(read[:, 25:] - RAMP[:, 25:]).max() <= 1


@pytest.mark.parametrize("white", [4095, 65535])
def test_deep_grey_with_transparency_is_scaled_too(tmp_path, white):
    words = coloured(white, channels=4)[..., 2:]
    words[:, :25, 1] = 0
    (tmp_path / "a.png").write_bytes(deep_png(words, colour=4))
    read = grey(tmp_path / "a.png")
    assert (read[:, :25] == 0).all()
    assert np.abs(read[:, 25:] - RAMP[:, 25:]).max() <= 1


def test_deep_colours_are_turned_as_the_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = deep_png(coloured(4095))
    place = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(
        content[:place] + chunk(b"eXIf", exif.tobytes()[6:]) + content[place:]
    )
    assert np.abs(grey(tmp_path / "a.png") - np.rot90(RAMP, -1)).max() <= 1


@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_deep_colours_of_a_dicom_are_scaled_too(tmp_path, white):
    path = dicom(tmp_path / "a.dcm", coloured(white))
    assert np.abs(grey(path) - RAMP).max() <= 1
    assert read_for_scoring(path)[1] == ""


def test_planes_that_would_be_misread_are_refused_by_name(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(coloured(4095), planes=2))
    with pytest.raises(ImageError, match="3 samples of 16 bits in separate planes"):
        read_for_scoring(tmp_path / "a.tif")
