"""How much of an image file is read, and what decoding it may take."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

from PIL import Image

from cxrtool.core.errors import DataError

MOST_BYTES = 512 * 2**20
"""Of a file that is read whole."""
HEAD = 2**16
"""Bytes of it that are read first where the pixels do not matter."""
MOST_MEMORY = 512 * 2**20
"""Bytes that the pixels of one image may need while they are decoded."""
MOST_SIDE = 65_535
"""Pixels, as of JPEG. Pillow keeps a pointer for each row: 89 million rows took 2 GB."""
MOST_METADATA = 2**20
"""Bytes of all that is not pixels; what is above is not read."""
MOST_EXIF = 2**16
"""Bytes of EXIF, as in JPEG; longer ones are not read: Pillow 12 takes minutes for some."""
MOST_PARTS = 1_000
"""Chunks, segments or tags beside those of pixels."""
ORDINARY_PIXELS = 25_000_000
"""Twice the largest radiographs: what is larger is decoded apart."""
ORDINARY_BYTES = 64 * 2**20
Parts = TypeVar("Parts")


@dataclass(kw_only=True)
class Examined:
    """A picture file that may be decoded."""

    file: BinaryIO
    """For the decoder: what is too long to be read is not in it."""
    ordinary: bool
    """Whether decoding is known to take little time and memory."""
    warnings: list[str] = field(default_factory=list)
    jpeg: bytes | None = None
    """The stream, where it is a JPEG."""


def check_size(width: int, height: int, bytes_a_pixel: float) -> None:
    """Refuse an image by its shape, before anything is reserved for it.

    Args:
        width: in pixels.
        height: in pixels.
        bytes_a_pixel: that are needed at once on the way to greys.

    Raises:
        DataError: a side or the whole is larger than is decoded.
        Image.DecompressionBombError: more pixels than Pillow's limit.
    """
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    if max(width, height) > MOST_SIDE:
        raise DataError(f"{width:,} x {height:,} pixels: no side may exceed {MOST_SIDE:,}")
    needed = width * height * bytes_a_pixel
    if needed > MOST_MEMORY:
        raise DataError(
            f"{width:,} x {height:,} pixels take {needed / 2**20:,.0f} MiB to decode, more than "
            f"the {MOST_MEMORY / 2**20:.0f} MiB that one image may take"
        )


def left_out(size: int) -> str:
    """What is told of metadata that are not read."""
    return f"{size / 2**20:.1f} MiB of metadata are not read: it may be turned as they say"


def read_whole(file: BinaryIO) -> bytes:
    """A file's content.

    Raises:
        DataError: it is larger than is read.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise DataError(f"the file is larger than the {MOST_BYTES / 2**20:.0f} MiB that are read")
    file.seek(0)
    return file.read(size)  # a number that is too large would be reserved


def read_parts(
    file: BinaryIO,
    *,
    pixels: bool,
    parts_of: Callable[[bytes], Parts],
    are_enough: Callable[[Parts], bool],
) -> tuple[bytes, Parts]:
    """A file's content and the parts that it is made of.

    Args:
        file: at its beginning.
        pixels: whether all of it is wanted; else so much that `are_enough`, if there is so much.
        parts_of: the parts of a content.
        are_enough: whether they go on to the pixels.

    Raises:
        DataError: see `read_whole` and `parts_of`.
    """
    if not pixels:
        content = file.read(HEAD)
        parts = parts_of(content)
        if len(content) < HEAD or are_enough(parts):
            return content, parts
    content = read_whole(file)
    return content, parts_of(content)


def in_memory(content: bytes) -> BinaryIO:
    """A file of these bytes."""
    return io.BytesIO(content)
