"""Files with a few bytes changed, and what became of them: for a test, and by far more to count."""

import io
from collections import Counter

import numpy as np
from PIL import Image

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_content

AWAY = 2.0
"""Mean levels from the whole picture, from which on it is another one."""
KINDS = {
    "JPEG": ("L", "JPEG", {"quality": 90}),
    "progressive JPEG": ("L", "JPEG", {"quality": 90, "progressive": True}),
    "colour JPEG": ("RGB", "JPEG", {"quality": 90}),
    "PNG": ("L", "PNG", {}),
    "TIFF, deflate": ("L", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, LZW": ("L", "TIFF", {"compression": "tiff_lzw"}),
    "TIFF, G4": ("1", "TIFF", {"compression": "group4"}),
}


def film(side=96):
    """A picture that looks a little like one: smooth, with a fine grain."""
    random = np.random.default_rng(3)
    small = Image.fromarray(random.integers(30, 226, (7, 6), dtype=np.uint8))
    smooth = np.asarray(small.resize((side, side + 16), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)


def whole_file(kind):
    """A file that nothing is wrong with."""
    mode, format_, options = KINDS[kind]
    file = io.BytesIO()
    Image.fromarray(film()).convert(mode).save(file, format_, **options)
    return file.getvalue()


def variants(content, count, seed):
    """The file with one to eight bytes changed, or cut short in one of four."""
    random = np.random.default_rng(seed)
    for number in range(count):
        damaged = bytearray(content)
        for place in random.integers(8, len(content), random.integers(1, 9)):
            damaged[place] = random.integers(256)
        if number % 4 == 3:
            del damaged[random.integers(8, len(content)) :]
        yield bytes(damaged)


def outcomes(kind, count, seed=0, read=None):
    """How many variants of a kind of file fail, warn, show nearly the same, or another picture."""
    read = read or (lambda content: read_content("a", content, look=True))
    content = whole_file(kind)
    found = Counter()
    try:
        expected = np.asarray(read(content).grey).astype(int)
    except ImageError:  # of a kind that this Pillow does not read safely
        return Counter(failed=count)
    for damaged in variants(content, count, seed):
        try:
            one = read(damaged)
        except ImageError:
            found["failed"] += 1
            continue
        pixels = np.asarray(one.grey).astype(int)
        same = pixels.shape == expected.shape and np.abs(pixels - expected).mean() <= AWAY
        found["warned" if one.warning else "same" if same else "another"] += 1
    return found
