"""Grey images of any size and shape to the square that a network sees."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrtool.images.reading import read_grey


def load_pixels(path: Path, *image_sizes: int) -> NDArray[np.uint8]:
    """An image file as the network's input before scaling: grey (image_size, image_size) in 0..255.

    Raises:
        ImageError: see `decode`.
    """
    return squish(read_grey(path), *image_sizes)


def squish(grey: Image.Image, *image_sizes: int) -> NDArray[np.uint8]:
    """Resize a grey image to (image_size, image_size), whatever its shape, with antialiasing.

    Nothing is cropped, since findings lie at the borders too (costophrenic angles, apices). With
    several sizes it is resized to each in turn: what a network sees of an image whose cache is
    larger than its input, so that prediction sees the same.
    """
    for image_size in image_sizes:
        if grey.size != (image_size, image_size):
            grey = grey.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(grey)
