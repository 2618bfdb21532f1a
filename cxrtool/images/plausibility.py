"""Cheap checks of whether an image can be a chest X-ray."""

from typing import Any

import numpy as np
from PIL import Image

from cxrtool.images.blanks import BLANK, NEARLY_BLANK

LEAST_SIDE = 32
GREATEST_ASPECT = 3.0
LOOK = 64
"""Size of the small copy on which colours and greys are judged."""
COLOUR = 16
"""Difference between channels up to which a pixel counts as grey: film is tinted, JPEG noisy."""
COLOURED = 0.01
"""Share of coloured pixels above which an image is in colour."""
FLAT = 8
"""Range of levels below which an image is blank."""


def shape_warning(width: int, height: int) -> str:
    """Why a chest X-ray cannot have this shape; empty if it can."""
    if min(width, height) < LEAST_SIDE:
        return f"{width}x{height} pixels is too small for an X-ray"
    if max(width, height) > GREATEST_ASPECT * min(width, height):
        return f"{width}x{height} pixels is not an X-ray's shape"
    return ""


def implausible_looks(image: Image.Image, grey: Any) -> list[str]:
    """What is implausible about an image; `grey` is its grey form.

    `grey` is an Image too, but Pillow's types do not know that mode L has numbers as pixels.
    """
    reasons = [shape_warning(*grey.size)]
    if image.mode != "L" and _is_coloured(image):
        reasons.append("in colour")
    # The middle row crosses both lungs: where its pixels differ, the image is not blank.
    (width, height), pixels = grey.size, grey.load()
    row = [pixels[width * part // 8, height // 2] for part in range(1, 8)]
    if max(row) - min(row) < FLAT:
        low, high = grey.getextrema()
        if low == high:
            reasons.append(f"{BLANK}: every pixel is {low}")
        else:
            low, high = grey.resize((LOOK, LOOK), Image.Resampling.NEAREST).getextrema()
            reasons += [NEARLY_BLANK] * (high - low < FLAT)
    return reasons


def _is_coloured(image: Image.Image) -> bool:
    small = image.resize((LOOK, LOOK), Image.Resampling.NEAREST).convert("RGB")
    channels = np.asarray(small).astype(np.int16)
    spread = channels.max(axis=2) - channels.min(axis=2)
    return float((spread > COLOUR).mean()) > COLOURED
