"""Whether a DICOM is simple enough to be read in this process, judged by its bytes alone."""

import re
from typing import BinaryIO

from cxrtool.images.formats.limits import MOST_METADATA, ORDINARY_PIXELS

PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""The tag of Pixel Data (7FE0,0010), in both byte orders."""
COMPRESSED = (b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.1.99")
"""Transfer syntaxes (PS3.6, table A-1): the JPEG family, RLE, deflated."""
IN_FRAGMENTS = re.compile(rb"\xe0\x7f\x10\x00.{4,8}\xfe\xff\x00\xe0", re.DOTALL)
"""Pixels that are compressed whatever the transfer syntax says (PS3.5, A.4)."""
META = 4096
"""Bytes within which a file names its transfer syntax."""


def is_plain_dicom(file: BinaryIO) -> bool:
    """Whether its pixels are uncompressed and not too many, with few elements before them."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    start = file.read(MOST_METADATA)
    file.seek(0)
    if size > 2 * ORDINARY_PIXELS + MOST_METADATA or any(one in start[:META] for one in COMPRESSED):
        return False
    if IN_FRAGMENTS.search(start):
        return False
    return size <= MOST_METADATA or any(tag in start for tag in PIXEL_DATA)
