"""JPEG, PNG and TIFF to one 8-bit grey form: the same for training, prediction and statistics."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrtool.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "TIFF")
"""What Pillow may take a file for: some of its other formats start programs (EPS: Ghostscript)."""
LEAST_SIDE = 32
GREATEST_ASPECT = 3.0


class ImageError(DataError):
    """An image file that cannot be read, named with the reason."""


def read_grey(path: Path) -> Image.Image:
    """Decode an image file to 8-bit grey at its own size.

    Deeper pixels (16-bit, 32-bit, float) are scaled so that the image's greatest value becomes
    255: a 12-bit picture in a 16-bit file is common, and dividing by 65535 would blacken it.
    Transparent parts become black, and the rotation that a camera noted (EXIF) is applied.

    Raises:
        ImageError: the file is missing, truncated, not an image, or larger than Pillow's limit
            against decompression bombs.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                image.load()
                return _to_grey(image)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{path}: more pixels than {Image.MAX_IMAGE_PIXELS:,}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not a JPEG, PNG or TIFF image") from None
    # Pillow raises nearly anything on a damaged file: ValueError, SyntaxError, struct.error ...
    except Exception as error:
        raise ImageError(f"{path}: cannot be decoded ({error or type(error).__name__})") from None


def _to_grey(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
        scaled = np.clip(values / (float(values.max()) or 1.0), 0, 1) * 255 + 0.5
        return Image.fromarray(scaled.astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, layer)
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return image if image.mode == "L" else image.convert("L")


def load_pixels(path: Path, size: int) -> NDArray[np.uint8]:
    """An image file as the network's input before scaling: grey (size, size) in 0..255.

    The whole image is squished to the square, with antialiasing: nothing is cropped, since
    findings lie at the borders too (costophrenic angles, apices).

    Raises:
        ImageError: see `read_grey`.
    """
    return squish(read_grey(path), size)


def squish(grey: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize a grey image to (size, size), whatever its shape."""
    return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR))


def pixel_sums(grey: Image.Image) -> tuple[int, int]:
    """The sum and the sum of squares of an 8-bit grey image's pixels, exact."""
    counts = np.asarray(grey.histogram(), dtype=np.int64)
    levels = np.arange(256, dtype=np.int64)
    return int(counts @ levels), int(counts @ levels**2)


def shape_warning(width: int, height: int) -> str:
    """Why an image of this shape is no plausible chest X-ray; empty if it may be one."""
    if min(width, height) < LEAST_SIDE:
        return f"{width}x{height} pixels is too small for an X-ray"
    if max(width, height) > GREATEST_ASPECT * min(width, height):
        return f"{width}x{height} pixels is not an X-ray's shape"
    return ""
