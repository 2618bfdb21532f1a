"""Sums over images' pixels."""

import numpy as np
from PIL import Image

from cxrtool.images.pixel_sums import pixel_sums


def test_pixel_sums_are_exact():
    images = np.random.default_rng(0).integers(0, 256, (3, 300, 200)).astype(np.uint8)
    sums = pixel_sums([Image.fromarray(image).histogram() for image in images])
    assert sums[:, 0].tolist() == images.astype(np.int64).sum((1, 2)).tolist()
    assert sums[:, 1].tolist() == (images.astype(np.int64) ** 2).sum((1, 2)).tolist()


def test_no_images_have_no_sums():
    assert pixel_sums([]).shape == (0, 2)
