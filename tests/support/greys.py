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


def plain_tiff(levels, photometric, order="<", **tags):
    """A TIFF of one strip, written out by hand (TIFF 6.0, section 4); `tags` as `t339=3`."""
    rows, columns = levels.shape
    strip = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    all_tags = {256: columns, 257: rows, 258: 8 * levels.itemsize, 259: 1, 262: photometric}
    all_tags |= {273: 8, 277: 1, 278: rows}
    all_tags |= {int(name[1:]): value for name, value in tags.items()}
    strip = zlib.compress(strip) if all_tags[259] in (8, 32946) else strip
    all_tags[279] = len(strip)
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(all_tags.items())
    )
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}2sHI", mark, 42, 8 + len(strip))
    return start + strip + struct.pack(f"{order}H", len(all_tags)) + entries + bytes(4)


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
