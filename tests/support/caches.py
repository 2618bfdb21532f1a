"""Small images and a cache of them."""

import numpy as np

from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import decode_images
from cxrtool.data.problems import Problems
from cxrtool.images.cache import ImageCache
from cxrtool.images.cache_builder import NewCache
from cxrtool.images.resizing import load_pixels

SIDE = 24
PATHS = [f"{i}.png" for i in range(30)]


def build(data, folder, paths=PATHS, side=SIDE, workers=0, fingerprint="f"):
    cache = NewCache(folder, data, paths, side)
    measured = decode_images(data, paths, cache, workers, Problems(), SILENT)
    cache.seal(measured, fingerprint)
    return ImageCache(folder)


def assert_same_pixels(cache, data, paths=PATHS):
    expected = np.stack([load_pixels(data / path, cache.image_size) for path in paths])
    np.testing.assert_array_equal(cache.read(cache.rows_of(paths)), expected)
