"""JPEG, PNG and TIFF to one 8-bit grey form: the same for training, prediction and statistics."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxrtool.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "TIFF")
"""What Pillow may take a file for: some of its other formats start programs (EPS: Ghostscript)."""
POWERS = np.stack([np.arange(256), np.arange(256) ** 2], axis=1)
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held, from 1 (upright) to 8 (EXIF 2.3, table 4)."""
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LEAST_SIDE = 32
GREATEST_ASPECT = 3.0


class ImageError(DataError):
    """An image file that cannot be read, named with the reason."""


class MissingImageError(ImageError):
    """An image file that is not there."""


def read_grey(path: Path) -> Image.Image:
    """Decode an image file to 8-bit grey at its own size; see `decode`."""
    return decode(path)[0]


def decode(path: Path | str) -> tuple[Image.Image, str]:
    """Decode an image file to 8-bit grey at its own size; also the mode it was stored in.

    Deeper pixels (16-bit, 32-bit, float) are scaled so that the image's greatest value becomes
    255: a 12-bit picture in a 16-bit file is common, and dividing by 65535 would blacken it.
    Transparent parts become black, and the rotation that a camera noted (EXIF) is applied.

    Raises:
        ImageError: the file is missing, truncated, not an image, or larger than Pillow's limit
            against decompression bombs.
    """
    try:
        with _NoBombs(), Image.open(path, formats=FORMATS) as image:
            mode = image.mode
            image.load()
            return _to_grey(image), mode
    # Pillow raises nearly anything on a damaged file: ValueError, SyntaxError, struct.error ...
    except Exception as error:
        raise _named(error, path) from None


def read_header(path: Path | str) -> tuple[int, int, str]:
    """An image file's width, height and mode; its pixels are not looked at.

    Raises:
        ImageError: the file is missing, has no image's header, or names too many pixels.
    """
    try:
        with _NoBombs(), Image.open(path, formats=FORMATS) as image:
            return image.width, image.height, image.mode
    except Exception as error:
        raise _named(error, path) from None


def file_state(path: Path | str) -> tuple[int, int]:
    """A file's length, and when it was last written, in nanoseconds since 1970.

    Raises:
        ImageError: it is missing, or out of reach.
    """
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise _named(error, path) from None
    return state.st_size, state.st_mtime_ns


class _NoBombs(warnings.catch_warnings):
    """Within, Pillow's warning of too many pixels is an error."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("error", Image.DecompressionBombWarning)


def _named(error: Exception, path: Path | str) -> ImageError:
    """Whatever Pillow raised, as an error that names the file."""
    if isinstance(error, FileNotFoundError):
        return MissingImageError(f"{path}: no such file")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError(f"{path}: more pixels than {Image.MAX_IMAGE_PIXELS:,}")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{path}: not a JPEG, PNG or TIFF image")
    return ImageError(f"{path}: cannot be decoded ({error or type(error).__name__})")


def _to_grey(image: Image.Image) -> Image.Image:
    turned = TURNED.get(image.getexif().get(ORIENTATION, 1))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
        scaled = np.clip(values / (float(values.max()) or 1.0), 0, 1) * 255 + 0.5
        image = Image.fromarray(scaled.astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, layer)
    if turned is not None:
        image = image.transpose(turned)
    return image if image.mode == "L" else image.convert("L")


def load_pixels(path: Path, *sides: int) -> NDArray[np.uint8]:
    """An image file as the network's input before scaling: grey (side, side) in 0..255.

    Raises:
        ImageError: see `decode`.
    """
    return squish(read_grey(path), *sides)


def squish(grey: Image.Image, *sides: int) -> NDArray[np.uint8]:
    """Resize a grey image to (side, side), whatever its shape, with antialiasing.

    Nothing is cropped, since findings lie at the borders too (costophrenic angles, apices). With
    several sides it is resized to each in turn: what a network sees of an image whose cache is
    larger than its input, so that prediction sees the same.
    """
    for side in sides:
        if grey.size != (side, side):
            grey = grey.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def pixel_sums(histograms: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The sum and the sum of squares of 8-bit grey images' pixels, exact.

    Args:
        histograms: of each image, how many pixels it has of each of the 256 levels.

    Returns:
        (images, 2).
    """
    # Of many images at once: converting one list takes NumPy as long as adding it up.
    sums: NDArray[np.int64] = np.array(histograms, dtype=np.int64).reshape(-1, 256) @ POWERS
    return sums


def shape_warning(width: int, height: int) -> str:
    """Why an image of this shape is no plausible chest X-ray; empty if it may be one."""
    if min(width, height) < LEAST_SIDE:
        return f"{width}x{height} pixels is too small for an X-ray"
    if max(width, height) > GREATEST_ASPECT * min(width, height):
        return f"{width}x{height} pixels is not an X-ray's shape"
    return ""
