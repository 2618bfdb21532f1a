"""Limits on what is read of an image file and on what decoding it may take."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

from PIL import Image

from cxrtool.core.errors import DataError
from cxrtool.images.formats.deep import DeepPicture

MOST_BYTES = 512 * 2**20
"""Largest file that is read."""
HEAD = 2**16
"""Bytes read first where the pixels are not needed."""
MOST_MEMORY = 512 * 2**20
"""Bytes that decoding one image may need."""
MOST_SIDE = 65_535
"""Pixels, as in JPEG. Pillow keeps a pointer per row: 89 million rows took 2 GB."""
MOST_METADATA = 2**20
"""Bytes of metadata that are read."""
MOST_EXIF = 2**16
"""Bytes of EXIF that are read, as in JPEG: Pillow 12 takes minutes for some longer ones."""
MOST_PARTS = 1_000
"""Chunks, segments or tags other than those of pixels."""
ORDINARY_PIXELS = 25_000_000
"""Twice the largest radiographs: larger images are decoded in a separate process."""
ORDINARY_BYTES = 64 * 2**20
Parts = TypeVar("Parts")


@dataclass(kw_only=True)
class Examined:
    """A picture file that may be decoded."""

    file: BinaryIO
    """For the decoder, without skipped metadata."""
    ordinary: bool
    """Whether decoding is known to take little time and memory."""
    warnings: list[str] = field(default_factory=list)
    jpeg: bytes | None = None
    """The stream, if it is a JPEG that Pillow reads."""
    deep: DeepPicture | None = None
    """What it is, if Pillow does not read it."""


def check_size(width: int, height: int, bytes_a_pixel: float) -> None:
    """Refuse an image by its size, before memory is reserved.

    Args:
        width: in pixels.
        height: in pixels.
        bytes_a_pixel: bytes per pixel needed at once for decoding to grey.

    Raises:
        DataError: a side or the whole is too large.
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
            f"the {MOST_MEMORY / 2**20:.0f} MiB allowed for an image"
        )


def left_out(size: int) -> str:
    """The warning about metadata that are not read."""
    return f"{size / 2**20:.1f} MiB of metadata are not read: a rotation noted there is not applied"


def read_whole(file: BinaryIO) -> bytes:
    """A file's content.

    Raises:
        DataError: it is too large.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise DataError(
            f"the file is larger than {MOST_BYTES / 2**20:.0f} MiB, the most that is read"
        )
    file.seek(0)
    return file.read(size)  # read() reserves what it is asked for


def read_parts(
    file: BinaryIO,
    *,
    pixels: bool,
    parts_of: Callable[[bytes], Parts],
    are_enough: Callable[[Parts], bool],
) -> tuple[bytes, Parts]:
    """A file's content and its parts.

    Args:
        file: at its beginning.
        pixels: whether all of it is needed; else only until `are_enough`.
        parts_of: the parts of a content.
        are_enough: whether the parts reach the pixels.

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
