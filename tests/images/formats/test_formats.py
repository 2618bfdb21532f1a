"""What files say of themselves is looked at before they are decoded, and what decoders say told."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image

from cxrtool.images.formats import limits as limits
from cxrtool.images.formats.jpeg import has_one_header
from cxrtool.images.reading import ImageError, read_file, read_for_scoring, read_header
from tests.support import damage

RNG = np.random.default_rng(3)
FILM = np.asarray(
    Image.fromarray(RNG.integers(40, 216, (9, 8), dtype=np.uint8)).resize((112, 128), 3)
)
NEW_PILLOW = int(PIL.__version__.partition(".")[0]) >= 13


def encoded(kind, mode="L", **options):
    file = io.BytesIO()
    Image.fromarray(FILM).convert(mode).save(file, kind, **options)
    return file.getvalue()


def stored(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    return tmp_path / "a"


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(*more, size=(128, 112), pixels=FILM):
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", size[1], size[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


def refused(path, read=read_for_scoring):
    with pytest.raises(ImageError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# Metadata


LONG_EXIF = b"Exif\0\0" * 30_000
"""Pillow 12 removes one after the other, and copies the rest each time."""


@pytest.mark.parametrize(
    "more",
    [
        [chunk(b"eXIf", LONG_EXIF)],
        [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 2**21)],
        [chunk(b"tEXt", b"k\0" + b"x" * 3000)] * 400,
    ],
)
def test_long_metadata_of_a_png_are_left_out_and_it_is_told(tmp_path, more):
    path = stored(tmp_path, png(*more))
    size = sum(len(one) - 12 for one in more) / 2**20
    started = time.process_time()
    grey, warning = read_for_scoring(path)
    assert time.process_time() - started < 30  # 0.1: minutes, of which nothing bounded
    assert (np.asarray(grey) == FILM).all()
    assert (
        warning == f"{size:.1f} MiB of metadata are not read: a rotation noted there is not applied"
    )


def test_long_metadata_of_a_jpeg_are_left_out_and_it_is_told(tmp_path):
    exif = b"\xff\xe1" + struct.pack(">H", 65_000) + LONG_EXIF[:64_998]
    content = encoded("JPEG")
    grey, warning = read_for_scoring(stored(tmp_path, content[:2] + exif * 6 + content[2:]))
    plain, _ = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == np.asarray(plain)).all()
    assert "MiB of metadata are not read" in warning


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_of_a_usual_length_turns_the_image(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 20_000
    grey, warning = read_for_scoring(stored(tmp_path, encoded(kind, exif=exif)))
    assert grey.size == FILM.shape
    assert warning == ""


@pytest.mark.parametrize("read", [read_for_scoring, read_header])
def test_too_many_parts_are_refused(tmp_path, read):
    assert "chunks" in refused(stored(tmp_path, png(*[chunk(b"tEXt", b"")] * 2000)), read)
    content = encoded("JPEG")
    many = content[:2] + b"\xff\xfe\0\2" * 2000 + content[2:]
    assert "segments" in refused(stored(tmp_path, many), read)
    tags = struct.pack("<HHII", 40_000, 1, 1, 0) * 2000
    many = struct.pack("<2sHIH", b"II", 42, 8, 2000) + tags + bytes(4)
    assert "tags" in refused(stored(tmp_path, many), read)
    content = encoded("JPEG", progressive=True)
    scans = content[:-2] + content[content.rindex(b"\xff\xda") : -2] * 600 + content[-2:]
    if read is read_for_scoring:
        assert "scans" in refused(stored(tmp_path, scans), read)


def test_tags_that_share_one_long_value_are_refused(tmp_path):
    tags = b"".join(struct.pack("<HHII", 40_000 + n, 1, 2**20, 8) for n in range(100))
    content = struct.pack("<2sHIH", b"II", 42, 8, 100) + tags + bytes(2**20)
    assert "MiB of tags" in refused(stored(tmp_path, content))


# Shapes


@pytest.mark.parametrize("size", [(89_000_000, 1), (1, 89_000_000), (1, 66_000)])
@pytest.mark.parametrize("read", [read_for_scoring, read_header])
def test_a_side_that_no_x_ray_has_is_refused_before_memory_is_taken(tmp_path, size, read):
    path = stored(tmp_path, png(size=size))
    tracemalloc.start()
    assert "no side may exceed 65,535" in refused(path, read)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("mode", "side"), [("F", 9400), ("I;16", 9400), ("RGB", 9400), ("LA", 6000)]
)
def test_what_takes_more_memory_than_one_image_may_is_refused(tmp_path, mode, side, monkeypatch):
    """Whatever the mode, by its own need: here of small images, with a limit made as small."""
    small = side // 100
    need = {"F": 9, "I;16": 5, "RGB": 5, "LA": 17}[mode]
    pixels = np.zeros((small, small), {"F": np.float32, "I;16": np.uint16}.get(mode, np.uint8))
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image if pixels.dtype != np.uint8 else image.convert(mode)).save(
        file, "TIFF" if mode == "F" else "PNG"
    )
    path = stored(tmp_path, file.getvalue())
    monkeypatch.setattr(limits, "MOST_MEMORY", small * small * need)
    read_for_scoring(path)
    monkeypatch.setattr(limits, "MOST_MEMORY", small * small * need - 1)
    assert "more than the" in refused(path)


# Damage


def test_a_png_whose_checksum_does_not_match_is_told(tmp_path):
    content = bytearray(png())
    content[content.index(b"IEND") - 8] ^= 1  # of the checksum of the pixels
    grey, warning = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == FILM).all()
    assert warning == "damaged: a checksum of its pixels does not match"


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


@pytest.mark.skipif(not NEW_PILLOW, reason="refused with Pillow 12")
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


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 50}])
def test_jpegs_pixels_are_those_of_pillow(tmp_path, mode, options):
    content = encoded("JPEG", mode, **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("L"))
    grey, _ = read_for_scoring(stored(tmp_path, content))
    assert (np.asarray(grey) == expected).all()


@pytest.mark.parametrize(
    ("kind", "silent"),
    [("JPEG", 10), ("progressive JPEG", 2), ("PNG", 0), ("TIFF, deflate", 0)],
)
def test_damaged_files_fail_or_warn_or_show_nearly_the_same(kind, silent):
    """JPEG has no checksum: some damage gives valid codes, or other tables (Pillow alone: 30)."""
    found = damage.outcomes(kind, 50)
    assert sum(found.values()) == 50
    assert found["another"] <= silent


# Memory that no decoder wrote


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
    refusals = []
    for _ in range(4):
        try:
            read = read_file(path, look=False)
        except ImageError as error:
            refusals.append(str(error))
            continue
        below = np.asarray(read.grey)[16:]
        seen.add(below.tobytes())
        assert (below == below[0, 0]).all() or kind == "group4"
        assert "damaged" in read.warning or kind == "group4"
    assert len(seen) <= int(NEW_PILLOW)
    if kind in ("jpeg", "group4") and not NEW_PILLOW:
        assert all("strips, which Pillow" in one for one in refusals)
        assert all("pip install 'pillow>=13'" in one for one in refusals)


# Headers


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
    assert read_header(path) == (112, 128, "L")


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
