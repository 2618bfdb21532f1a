"""PNG, chunk by chunk (ISO/IEC 15948): Pillow compares few of their checksums."""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from cxrtool.core.errors import DataError
from cxrtool.images.formats.limits import (
    MOST_EXIF,
    MOST_METADATA,
    MOST_PARTS,
    ORDINARY_BYTES,
    ORDINARY_PIXELS,
    Examined,
    check_size,
    in_memory,
    left_out,
    read_parts,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""Chunks on which the pixels depend."""
MOST_PIXEL_CHUNKS = 100_000
BYTES = {0: 3, 2: 5, 3: 17, 4: 17, 6: 17}
"""Bytes per pixel for decoding to grey, by colour type; 17 where it may be transparent."""
DEEP_BYTES = {0: 5, 2: 18, 4: 28, 6: 28}
"""The same of 16 bits per sample."""


class Chunk(NamedTuple):
    """A chunk's position in the file."""

    kind: bytes
    start: int
    """Position of its length; its content begins eight bytes later."""
    end: int
    """Position after its checksum."""

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.end - self.start - 12


def examine_png(file: BinaryIO, *, pixels: bool = True) -> Examined:
    """Examine a PNG's chunks; without `pixels` only those before them.

    Raises:
        DataError: it is too large, has too many chunks, or no header.
    """
    content, chunks = read_parts(
        file,
        pixels=pixels,
        parts_of=lambda read: list(_chunks(read, pixels=pixels)),
        are_enough=lambda found: any(one.kind == b"IDAT" for one in found),
    )
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].size != 13:
        raise DataError("a PNG without a header")
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    check_size(width, height, (DEEP_BYTES if depth == 16 else BYTES).get(colour, 17))
    metadata = [one for one in chunks if one.kind not in PICTURE]
    dropped = _too_long(metadata)
    warnings = [left_out(sum(one.size for one in dropped))] if dropped else []
    warnings += _damage(content, chunks) if pixels else []
    if dropped:
        kept = [content[one.start : one.end] for one in chunks if one not in dropped]
        content = SIGNATURE + b"".join(kept) + content[chunks[-1].end :]
    small = width * height <= ORDINARY_PIXELS and len(content) <= ORDINARY_BYTES
    return Examined(file=in_memory(content), ordinary=small, warnings=warnings)


def _chunks(content: bytes, *, pixels: bool) -> Iterator[Chunk]:
    """The chunks up to the end or where the file breaks off, or to the first one of pixels."""
    place, others, idat = len(SIGNATURE), 0, 0
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if kind == b"IDAT" and not pixels:
            yield Chunk(kind, place, len(content))
            return
        if end > len(content):
            return
        idat += kind == b"IDAT"
        others += kind != b"IDAT"
        if others > MOST_PARTS or idat > MOST_PIXEL_CHUNKS:
            raise DataError(f"more than {MOST_PARTS:,} chunks other than those of pixels")
        yield Chunk(kind, place, end)
        if kind == b"IEND":
            return
        place = end


def _too_long(metadata: list[Chunk]) -> set[Chunk]:
    """The chunks to skip: single long ones, or all metadata if there is too much."""
    if sum(one.size for one in metadata) > MOST_METADATA:
        return set(metadata)
    return {one for one in metadata if one.size > MOST_EXIF and one.kind != b"iCCP"}


def _damage(content: bytes, chunks: list[Chunk]) -> list[str]:
    """Damage by checksums that Pillow does not compare."""
    view = memoryview(content)
    for one in chunks:
        stored = int.from_bytes(view[one.end - 4 : one.end], "big")
        if one.kind in PICTURE and zlib.crc32(view[one.start + 4 : one.end - 4]) != stored:
            return ["damaged: a checksum of its pixels does not match"]
    return [] if chunks[-1].kind == b"IEND" else ["damaged: it breaks off before its end"]
