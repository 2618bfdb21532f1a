"""The header of a compressed picture (JPEG family, JPEG 2000), read before a decoder sees it.

Where a DICOM and the picture inside disagree on its size, a decoder may reserve the memory of the
larger or write past the smaller.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from cxrtool.images.dicom import DicomError

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""JPEG's SOF0 to SOF15 (ITU-T T.81, table B.1) and JPEG-LS's SOF55 (T.87, table C.1)."""
LOSSLESS, HUFFMAN_TABLES, START_OF_SCAN, RESTART_INTERVAL = 0xC3, 0xC4, 0xDA, 0xDD
CODESTREAM_2000 = b"\xff\x4f\xff\x51"
"""JPEG 2000's SOC and SIZ (T.800, table A.2); some files have a few boxes before them."""
BOXES = 4096


class Coding(Enum):
    """How a stream codes its picture; the values are markers of JPEG frames."""

    BASELINE = 0xC0
    EXTENDED = 0xC1
    PROGRESSIVE = 0xC2
    LOSSLESS = 0xC3
    JPEG_LS = 0xF7
    JPEG_2000 = 0x51
    OTHER = 0


class FrameHeader(NamedTuple):
    """A picture's size, from its own stream."""

    width: int
    height: int
    precision: int
    """Bits per sample."""
    components: int


def read_frame_header(stream: bytes) -> FrameHeader:
    """Read the size from a stream of JPEG, JPEG Lossless, JPEG-LS or JPEG 2000.

    Raises:
        DicomError: it is none of these, or truncated.
    """
    if not stream.startswith(START_OF_IMAGE):
        return _read_size_2000(stream)
    for marker, content, _ in read_markers(stream):
        if marker in FRAME_MARKERS:
            if len(content) < 6:
                raise DicomError("the compressed picture's header is damaged")
            precision, height, width, components = struct.unpack_from(">BHHB", content)
            if END_OF_IMAGE not in stream:
                raise DicomError("the compressed picture is cut short")
            return FrameHeader(width, height, precision, components)
    raise DicomError("the compressed picture has no size")


def coding_of(stream: bytes) -> Coding:
    """How a stream codes its picture, by its own header.

    Raises:
        DicomError: it is JPEG, and truncated or damaged.
    """
    if stream.startswith(START_OF_IMAGE):
        frames = (marker for marker, _, _ in read_markers(stream) if marker in FRAME_MARKERS)
        marker = next(frames, 0)
        return Coding(marker) if marker in {one.value for one in Coding} else Coding.OTHER
    return Coding.JPEG_2000 if CODESTREAM_2000 in stream[:BOXES] else Coding.OTHER


def is_coded_signed(stream: bytes) -> bool:
    """Whether a stream of JPEG 2000 says that its first component is signed (T.800, A.5.1)."""
    start = stream.find(CODESTREAM_2000, 0, BOXES)
    return start >= 0 and bool(stream[start + 42 : start + 43] >= b"\x80")


def read_markers(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield a JPEG stream's segments up to its first scan: marker, content, end.

    Raises:
        DicomError: it is truncated, or has other bytes between two segments.
    """
    place = len(START_OF_IMAGE)
    while True:
        # Any number of bytes 0xFF may precede a marker (T.81, B.1.1.2).
        start = place
        while stream[place : place + 1] == b"\xff":
            place += 1
        if place == start or place + 3 > len(stream):
            raise DicomError("the compressed picture is cut short or damaged")
        marker = stream[place]
        end = place + 1 + int.from_bytes(stream[place + 1 : place + 3], "big")
        if end > len(stream):
            raise DicomError("the compressed picture is cut short")
        yield marker, stream[place + 3 : end], end
        if marker == START_OF_SCAN:
            return
        place = end


def _read_size_2000(stream: bytes) -> FrameHeader:
    start = stream.find(CODESTREAM_2000, 0, BOXES)
    if start < 0:
        raise DicomError("the compressed picture is of an unknown kind")
    # Lsiz and Rsiz, then the eight numbers of the grid, then the components (T.800, A.5.1).
    header = stream[start + 4 : start + 4 + 39]
    if len(header) < 39:
        raise DicomError("the compressed picture is cut short")
    right, bottom, left, top = struct.unpack_from(">4I", header, 4)
    components, depth = struct.unpack_from(">HB", header, 36)
    return FrameHeader(right - left, bottom - top, (depth & 0x7F) + 1, components)
