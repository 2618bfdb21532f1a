"""JPEG, segment by segment (ITU-T T.81), and its pixels by libjpeg-turbo through simplejpeg.

Pillow uses the same library, but hides its warnings of damage, and before Pillow 13 writes past a
row's end where the stream names another width than the header (CVE-2026-112403). Here Pillow only
reads the header.
"""

from typing import BinaryIO, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.errors import DataError
from cxrtool.images.dicom.codestreams import LOSSLESS
from cxrtool.images.dicom.jpeg_lossless import decode_lossless
from cxrtool.images.formats.deep import DeepPicture
from cxrtool.images.formats.limits import (
    HEAD,
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

START, END, SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a segment: TEM and RST0 to RST7."""
SEQUENTIAL = {0xC0, 0xC1}
APPLICATION = {*range(0xE0, 0xF0), 0xFE}
"""Application segments and comments."""
COLOUR = {0xE0, 0xEE}
"""JFIF's and Adobe's, from which decoders know the colour space."""
MOST_SCANS = 500
"""libjpeg-turbo's own limit: each scan may pass over all pixels again, for a hundred bytes."""
ORDINARY_SCANS = 20
UNUSUAL = "Could not determine subsampling"
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


class Segment(NamedTuple):
    """A segment's position in the file."""

    marker: int
    start: int
    """Position of its 0xFF."""
    end: int

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.end - self.start - 4


def examine_jpeg(file: BinaryIO, *, pixels: bool = True) -> Examined:
    """Examine a JPEG's segments; without `pixels` only those before them.

    Raises:
        DataError: it is too large, has too many segments or scans, or is truncated.
    """
    content, segments = read_parts(
        file,
        pixels=pixels,
        parts_of=_segments,
        # Pillow reads up to the first scan and its segment.
        are_enough=lambda found: any(one.marker == SCAN[1] and one.end <= HEAD for one in found),
    )
    frame = next((one for one in segments if one.marker in FRAMES), None)
    if frame is None or frame.size < 6 or frame.start + 10 > len(content):
        cut = not segments or segments[-1].end > len(content)
        raise DataError("cut short before its size" if cut else "a JPEG without a size")
    height = int.from_bytes(content[frame.start + 5 : frame.start + 7], "big")
    width = int.from_bytes(content[frame.start + 7 : frame.start + 9], "big")
    bits, samples = content[frame.start + 4], content[frame.start + 9]
    whole = frame.marker not in SEQUENTIAL
    check_size(width, height, (2 + 2 * whole) * samples + 1 + 4 * (samples > 1))
    scans = content.count(SCAN, frame.end) if whole or samples > 1 else 1
    if scans > MOST_SCANS:
        raise DataError(f"{scans:,} scans: at most {MOST_SCANS} are read")
    if pixels and content.rfind(END) < segments[-1].end:
        raise DataError("the image file is truncated: it has no end")
    dropped = _too_long([one for one in segments if one.marker in APPLICATION - COLOUR])
    warnings = [left_out(sum(one.size for one in dropped))] if dropped else []
    if dropped:
        kept = [content[one.start : one.end] for one in segments if one not in dropped]
        content = START + b"".join(kept) + content[segments[-1].end :]
    deep = _deep(content, frame.marker, bits, (width, height, samples)) if bits != 8 else None
    ordinary = (
        width * height <= ORDINARY_PIXELS
        and deep is None
        and scans <= ORDINARY_SCANS
        and len(content) <= ORDINARY_BYTES
    )
    return Examined(
        file=in_memory(content), ordinary=ordinary, warnings=warnings, jpeg=content, deep=deep
    )


def _deep(content: bytes, marker: int, bits: int, shape: tuple[int, int, int]) -> DeepPicture:
    """A lossless grey picture of another depth than 8 bits, which Pillow does not read.

    Raises:
        DataError: it is coded in another way.
    """
    width, height, samples = shape
    if marker != LOSSLESS or samples != 1:
        raise DataError(
            f"a JPEG of {bits} bits a sample, which is not read: save it as 16-bit PNG or TIFF"
        )
    return DeepPicture(
        width=width, height=height, mode="I;16", decode=lambda: decode_lossless(content)
    )


def _segments(content: bytes) -> list[Segment]:
    """The segments up to the first scan; bytes between two are skipped, as libjpeg does."""
    found: list[Segment] = []
    place = len(START)
    while (start := content.find(b"\xff", place)) >= 0:
        place = start + 1
        while content[place : place + 1] == b"\xff":  # filling (T.81, B.1.1.2)
            start, place = place, place + 1
        if place + 3 > len(content):
            break
        marker = content[place]
        if marker == 0 or marker in ALONE:
            place += 1
            continue
        place += 1 + max(int.from_bytes(content[place + 1 : place + 3], "big"), 2)
        found.append(Segment(marker, start, place))
        if len(found) > MOST_PARTS:
            raise DataError(f"more than {MOST_PARTS:,} segments before its pixels")
        if marker == SCAN[1]:
            break
    return found


def _too_long(metadata: list[Segment]) -> set[Segment]:
    exif = [one for one in metadata if one.marker == 0xE1]
    if sum(one.size for one in metadata) > MOST_METADATA:
        return set(metadata)
    return set(exif) if sum(one.size for one in exif) > 4 * MOST_EXIF else set()


def decode_jpeg(content: bytes, image: Image.Image) -> tuple[Image.Image, list[str]]:
    """A JPEG's pixels, in the mode and size that Pillow read from its header, and warnings.

    Raises:
        DataError: it is truncated, damaged beyond reading, or names two sizes.
    """
    if image.mode not in SPACES:
        raise DataError(f"JPEG of mode {image.mode}, which is not read")
    # Zeros where nothing is decoded: new memory may hold another picture.
    pixels = np.zeros((image.height, image.width, len(image.getbands())), np.uint8)
    warnings = []
    try:
        if not _fill(pixels, content, image.mode, strict=True):
            return _by_pillow(content, image), []
    except ValueError as error:
        warnings = [f"damaged: {_said(error)} (libjpeg)"]
        pixels[:] = 0
        try:
            _fill(pixels, content, image.mode, strict=False)
        except ValueError as fatal:
            raise DataError(f"cannot be decoded ({fatal})") from None
    if image.mode == "CMYK":  # stored inverted, as Adobe does
        np.subtract(255, pixels, out=pixels)
    size = image.width, image.height
    return Image.frombuffer(image.mode, size, pixels, "raw", image.mode, 0, 1), warnings


def _fill(pixels: NDArray[np.uint8], content: bytes, mode: str, *, strict: bool) -> bool:
    """Decode into `pixels`; False where TurboJPEG does not know the colour sampling."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(content, strict=strict)
    except ValueError as error:
        if UNUSUAL in str(error):
            return False
        raise
    if (height, width) != pixels.shape[:2]:
        raise DataError("damaged: it names two sizes")
    simplejpeg.decode_jpeg(content, SPACES[mode], buffer=pixels, strict=strict)
    return True


def _by_pillow(content: bytes, image: Image.Image) -> Image.Image:
    """Decode with Pillow, which is safe where the stream has exactly one header."""
    if not has_one_header(content):
        raise DataError("damaged: it has other bytes between its segments")
    image.load()
    return image


def has_one_header(content: bytes) -> bool:
    """Whether a stream names one size and has nothing between its segments.

    Pillow's decoder gets no other: see the top of this module.
    """
    segments = _segments(content)
    starts = [len(START), *(one.end for one in segments)]
    between = [content[at : one.start] for at, one in zip(starts, segments, strict=False)]
    whole = not any(gap.strip(b"\xff") for gap in between)  # filling (B.1.1.2)
    one = sum(one.marker in FRAMES for one in segments) == 1
    return whole and one and segments[-1].marker == SCAN[1]


def jpeg_damage(content: bytes, rows: int) -> str:
    """Damage that libjpeg reports of a stream decoded elsewhere, or empty.

    Args:
        content: the stream.
        rows: the rows that it must have.
    """
    try:
        height, _, space, _ = simplejpeg.decode_jpeg_header(content)
        simplejpeg.decode_jpeg(content, {"Gray": "GRAY", "CMYK": "CMYK"}.get(space, "RGB"))
    except ValueError as error:
        return "" if UNUSUAL in str(error) else f"{_said(error)} (libjpeg)"
    return f"it has {height:,} of {rows:,} rows" if height < rows else ""


def _said(error: ValueError) -> str:
    return str(error).removeprefix("Corrupt JPEG data: ")
