"""Why an image's look is no chest X-ray's: only what is cheap to see, and true."""

from typing import Any

import numpy as np
from PIL import Image

from cxrtool.images.blanks import BLANK, NEARLY_BLANK

LEAST_SIDE = 32
GREATEST_ASPECT = 3.0
LOOK = 64
"""Side of the small copy that an image's colours and greys are judged by."""
COLOUR = 16
"""Levels between channels up to which a pixel counts as grey: film has a tint, JPEG adds noise."""
COLOURED = 0.01
"""Share of coloured pixels from which on an image is in colour."""
FLAT = 8
"""Levels between the darkest and the brightest below which an image shows nothing."""


def shape_warning(width: int, height: int) -> str:
    """Why an image of this shape is no plausible chest X-ray; empty if it may be one."""
    if min(width, height) < LEAST_SIDE:
        return f"{width}x{height} pixels is too small for an X-ray"
    if max(width, height) > GREATEST_ASPECT * min(width, height):
        return f"{width}x{height} pixels is not an X-ray's shape"
    return ""


def implausible_looks(image: Image.Image, grey: Any) -> list[str]:
    """What is implausible about the look of an image, of which `grey` is the grey form.

    `grey` is an Image, too; Pillow's types do not know that one of mode L has numbers for pixels.
    """
    reasons = [shape_warning(*grey.size)]
    if image.mode != "L" and _is_coloured(image):
        reasons.append("in colour")
    # A chest's middle row goes through both lungs: where some of its pixels differ, it is no blank.
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
