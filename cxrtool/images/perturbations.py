"""Mild changes of an image that no finding should hang on: light, sharpness, crop, compression.

Of the network's input, not of the file: what is measured is the same for pictures of any size, and
each image is decoded once. All are the same every time: nothing is drawn at random.
"""

import io
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Square = NDArray[np.uint8]
"""(image_size, image_size) grey."""

LIGHT = 0.2
BLUR = 0.005
"""The standard deviation of the blur, in shares of the image's side."""
KEPT = 0.9
"""The share of each side that a crop keeps, from the middle."""


def _lighter(factor: float) -> Callable[[Square], Square]:
    def change(square: Square) -> Square:
        return np.asarray(np.clip(np.rint(square * factor), 0, 255), np.uint8)

    return change


def _blurred(square: Square) -> Square:
    radius = BLUR * len(square)
    return np.asarray(Image.fromarray(square).filter(ImageFilter.GaussianBlur(radius)))


def _cropped(square: Square) -> Square:
    side = len(square)
    edge = (1 - KEPT) / 2 * side
    box = edge, edge, side - edge, side - edge
    image = Image.fromarray(square)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def _compressed(quality: int) -> Callable[[Square], Square]:
    def change(square: Square) -> Square:
        file = io.BytesIO()
        Image.fromarray(square).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            return np.asarray(image)

    return change


PERTURBATIONS: MappingProxyType[str, Callable[[Square], Square]] = MappingProxyType(
    {
        f"darker by {100 * LIGHT:g} %": _lighter(1 - LIGHT),
        f"brighter by {100 * LIGHT:g} %": _lighter(1 + LIGHT),
        f"blurred by {100 * BLUR:g} % of the side": _blurred,
        f"cropped to the middle {100 * KEPT:g} %": _cropped,
        "JPEG quality 50": _compressed(50),
        "JPEG quality 20": _compressed(20),
    }
)
"""Each change by what it is called: (image_size, image_size) grey to the same."""
