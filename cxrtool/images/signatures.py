"""What a file is by its first bytes."""

import re
from collections.abc import Iterator
from itertools import islice, pairwise

DICOM_MARK, MARK_PLACE = b"DICM", 128
START = 512
"""Bytes that tell it."""
PICTURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    *(b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b"),
)
"""How a PNG, JPEG, TIFF and BigTIFF begin."""
OTHERS = {
    rb"GIF8": "a GIF",
    rb"BM.{4}\0{4}": "a BMP",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000",
    rb"RIFF.{4}WEBP": "a WebP",
    rb"P[2-6]\s": "a PGM or PPM",
    rb"%!PS": "PostScript",
    rb"%PDF": "a PDF",
    rb"\x1f\x8b": "compressed by gzip: unpack it",
    rb"PK\x03\x04": "a ZIP archive: unpack it",
}
"""How what cannot be read begins, and what it is called."""
GROUPS = (0x0002, 0x0008)
"""Groups with which a DICOM without preamble begins (PS3.10, 7.1, and older files)."""
REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM".split()
) | frozenset(b"UC UI UL UN UR US UT UV".split())
"""PS3.5, 6.2."""
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Of these the length has four bytes, after two that are empty (PS3.5, table 7.1-1)."""
ENOUGH = 3
"""Elements one after the other that no other file begins with."""


def is_picture(start: bytes) -> bool:
    """Whether a file is a JPEG, PNG or TIFF."""
    return start.startswith(PICTURES)


def has_dicom_mark(start: bytes) -> bool:
    """Whether a file has the mark of a DICOM after its preamble (PS3.10, 7.1)."""
    return start[MARK_PLACE : MARK_PLACE + len(DICOM_MARK)] == DICOM_MARK


def is_bare_dicom(start: bytes) -> bool:
    """Whether a file begins with elements of a DICOM, without preamble and mark."""
    tags = list(islice(_tags(start), ENOUGH))
    ascending = all(before < after for before, after in pairwise(tags))
    return len(tags) == ENOUGH and ascending and all(tag >> 16 in GROUPS for tag in tags)


def _tags(start: bytes) -> Iterator[int]:
    """The tags of little-endian elements, as far as they lie in the bytes."""
    place = 0
    while place + 8 <= len(start):
        head = start[place : place + 12]
        representation = head[4:6]
        if representation in LONG:
            length, size = int.from_bytes(head[8:12], "little"), 12
        elif representation in REPRESENTATIONS:
            length, size = int.from_bytes(head[6:8], "little"), 8
        else:
            length, size = int.from_bytes(head[4:8], "little"), 8
        if length % 2 or place + size + length > START:
            return
        yield int.from_bytes(head[:2], "little") << 16 | int.from_bytes(head[2:4], "little")
        place += size + length


def other_kind(start: bytes) -> str:
    """What a file is that cannot be read, or empty."""
    return next((name for begins, name in OTHERS.items() if re.match(begins, start, re.DOTALL)), "")
