"""Encoded images for the tests of the formats, also written out by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring

RNG = np.random.default_rng(3)

FILM = np.asarray(
    Image.fromarray(RNG.integers(40, 216, (9, 8), dtype=np.uint8)).resize((112, 128), 3)
)


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


LONG_EXIF = b"Exif\0\0" * 30_000
"""Pillow 12 removes one after the other, and copies the rest each time."""
