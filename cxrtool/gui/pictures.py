"""Pictures as the page holds them: in its own text, never as files."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST = 1000
"""Pixels of an X-ray's longer side on the page."""
QUALITY = 88


def xray_uri(grey: Image.Image) -> tuple[str, int, int]:
    """An 8-bit grey image, made smaller where it is large: data URI, width and height."""
    shown = grey.copy()
    shown.thumbnail((LONGEST, LONGEST), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=QUALITY)
    return _uri("image/jpeg", file), shown.width, shown.height


def layer_uri(layer: NDArray[np.uint8]) -> str:
    """A picture (h, w, 4) to lay over another, as a data URI."""
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG", optimize=True)
    return _uri("image/png", file)


def _uri(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
