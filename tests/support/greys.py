"""Pictures of any depth, written as files."""

import struct
import zlib

import numpy as np
from PIL import Image

from cxrtool.images.reading import read_grey
from tests.support.formats import chunk

RAMP = np.linspace(0, 255, 40 * 50).reshape(40, 50).astype(np.uint8)


def grey(path):
    return np.asarray(read_grey(path)).astype(int)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def plain_tiff(levels, photometric):
    """A TIFF written out by hand (TIFF 6.0, section 4)."""
    (rows, columns), content = levels.shape, levels.tobytes()
    tags = {256: columns, 257: rows, 258: 8 * levels.itemsize, 259: 1, 262: photometric}
    tags |= {273: 8, 277: 1, 278: rows, 279: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = struct.pack("<2sHI", b"II", 42, 8 + len(content))
    return start + content + struct.pack("<H", len(tags)) + entries + bytes(4)


TYPES = {2: 0, 3: 2, 4: 6}
"""PNG's colour types by channels (ISO/IEC 15948, table 11.1); grey with transparency is apart."""


def deep_png(words, colour=None, compressed_rows=None):
    """A PNG of 16-bit words (rows, columns, channels), unfiltered or of such rows."""
    rows, columns, channels = words.shape
    plain = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
    kind = TYPES[channels] if colour is None else colour
    head = struct.pack(">IIBBBBB", columns, rows, 16, kind, 0, 0, 0)
    data = zlib.compress(compressed_rows or plain)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    )
