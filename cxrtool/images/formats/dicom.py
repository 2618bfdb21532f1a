"""Whether a DICOM is plain enough to be read in place: its elements are only counted in bytes."""

from typing import BinaryIO

from cxrtool.images.formats.limits import MOST_METADATA, ORDINARY_PIXELS

PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""The tag of Pixel Data (7FE0,0010), in both orders of bytes."""
COMPRESSED = (b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.1.99")
"""Transfer syntaxes (PS3.6, table A-1) of JPEG and its relatives, of RLE, and the deflated one."""
META = 4096
"""Bytes in which a file says its transfer syntax."""


def is_plain_dicom(file: BinaryIO) -> bool:
    """Whether its pixels are neither compressed nor many, and few elements stand before them."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    start = file.read(MOST_METADATA)
    file.seek(0)
    if size > 2 * ORDINARY_PIXELS + MOST_METADATA or any(one in start[:META] for one in COMPRESSED):
        return False
    return size <= MOST_METADATA or any(tag in start for tag in PIXEL_DATA)
