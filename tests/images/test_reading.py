"""Files to grey, damaged ones too."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring, read_grey, read_header
from tests.support.greys import RAMP, grey, plain_tiff, saved


def test_eight_bit_grey_is_read_as_it_is(tmp_path):
    assert (grey(saved(tmp_path / "a.png", RAMP)) == RAMP).all()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_what_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "bad.jpg"
    if content is None:
        whole = saved(tmp_path / "whole.jpg", RAMP).read_bytes()
        content = whole[: len(whole) * 2 // 3]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        read_grey(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="more pixels than 100"):
        read_grey(saved(tmp_path / "a.png", RAMP))


def bomb(kind):
    """The beginning of an image of 100,000 by 100,000 pixels."""
    if kind == "PNG":
        header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        crc = struct.pack(">I", zlib.crc32(header))
        start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + crc
        return start + struct.pack(">I", 1 << 20) + b"IDAT" + zlib.compress(bytes(1 << 20))
    levels = plain_tiff(RAMP, 1)
    old = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 50), (257, 40))]
    new = [struct.pack("<HHII", tag, 4, 1, 100_000) for tag in (256, 257)]
    return levels.replace(old[0], new[0]).replace(old[1], new[1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("read", [read_for_scoring, read_header])
def test_a_decompression_bomb_takes_no_memory(tmp_path, kind, read):
    (tmp_path / "a").write_bytes(bomb(kind))
    tracemalloc.start()
    with pytest.raises(ImageError, match="a: more pixels than 89,478,485"):
        read(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_damaged_files_are_refused_or_read_and_nothing_else_happens(tmp_path):
    random = np.random.default_rng(0)
    image, whole = Image.fromarray(RAMP), []
    for kind, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ):
        stream = io.BytesIO()
        image.convert("RGB" if options else "L").save(stream, kind, **options)
        whole.append(stream.getvalue())
    for turn in range(300):
        content = bytearray(whole[turn % len(whole)])
        for place in random.integers(0, len(content), random.integers(1, 9)):
            content[place] = random.integers(256)
        if turn % 4 == 0:
            del content[random.integers(len(content)) :]
        (tmp_path / "a").write_bytes(content)
        try:
            assert read_for_scoring(tmp_path / "a")[0].mode == "L"
        except ImageError:
            continue
