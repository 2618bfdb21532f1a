"""Pictures of any depth, written as files."""

import struct

import numpy as np
from PIL import Image

from cxrtool.images.reading import read_grey

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
