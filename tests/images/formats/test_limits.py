"""What files say of themselves is looked at before they are decoded."""

import io
import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.formats import limits as limits
from cxrtool.images.reading import read_for_scoring, read_header
from tests.support import damage
from tests.support.formats import FILM, LONG_EXIF, chunk, encoded, png, refused, stored


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


@pytest.mark.parametrize(
    ("kind", "silent"),
    [("JPEG", 10), ("progressive JPEG", 2), ("PNG", 0), ("TIFF, deflate", 0)],
)
def test_damaged_files_fail_or_warn_or_show_nearly_the_same(kind, silent):
    """JPEG has no checksum: some damage gives valid codes, or other tables (Pillow alone: 30)."""
    found = damage.outcomes(kind, 50)
    assert sum(found.values()) == 50
    assert found["another"] <= silent
