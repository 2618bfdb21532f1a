"""JPEG, PNG and TIFF pictures to 8 bits, upright and opaque; see `formats` for what is refused."""

from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from cxrtool.core.errors import DataError
from cxrtool.images.deep_colours import deep_mode, shallow_deep_colours
from cxrtool.images.depth import is_deep, shallow, shallow_and_full
from cxrtool.images.errors import NOT_READ
from cxrtool.images.formats.deep import DeepPicture
from cxrtool.images.formats.jpeg import START as JPEG_START
from cxrtool.images.formats.jpeg import decode_jpeg, examine_jpeg
from cxrtool.images.formats.limits import MOST_EXIF, Examined
from cxrtool.images.formats.png import SIGNATURE, examine_png
from cxrtool.images.formats.tiff import STARTS as TIFF_STARTS
from cxrtool.images.formats.tiff import (
    damage_of_tiff,
    examine_tiff,
    unknown_tiff,
    with_its_sign,
)
from cxrtool.images.presentations import FullDepth
from cxrtool.images.signatures import START, other_kind

FORMATS = ("JPEG", "PNG", "TIFF")
"""Formats that Pillow may try: some others start programs (EPS: Ghostscript)."""
ORIENTATION = 0x0112
"""The EXIF tag of the camera's rotation, from 1 (upright) to 8 (EXIF 2.3, table 4)."""
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PHOTOMETRIC, WHITE_IS_ZERO = 0x0106, 0
"""The TIFF tag of what the least value means, and its value for white."""


class Picture(NamedTuple):
    """A decoded picture: upright, in 8 bits a channel."""

    image: Image.Image
    """Mode L, or another if it may be in colour."""
    mode: str
    """As stored: Pillow's mode, or DICOM's Photometric Interpretation."""
    warning: str
    """What reading lost, or what else speaks against it; empty for nothing."""


class PictureHeader(NamedTuple):
    """What a picture is by its header alone."""

    width: int
    height: int
    mode: str
    """As of `Picture`."""
    warning: str
    """What the header says against it; empty for nothing."""


def examine_picture(file: BinaryIO, *, pixels: bool = True) -> Examined:
    """Examine a picture file before a decoder does.

    Args:
        file: the picture's file.
        pixels: whether its pixels will be decoded; else only what precedes them is examined.
    """
    start = file.read(START)
    file.seek(0)
    if start.startswith(SIGNATURE):
        return examine_png(file, pixels=pixels)
    if start.startswith(JPEG_START):
        return examine_jpeg(file, pixels=pixels)
    if start.startswith(TIFF_STARTS):
        return examine_tiff(file)
    kind = other_kind(start)
    if kind:
        raise DataError(f"{NOT_READ}, but {kind}")
    raise UnidentifiedImageError


def open_picture(file: BinaryIO) -> ImageFile:
    """Read a picture's header. Its size is checked here too: threads may restore the filters.

    Raises:
        DataError: a TIFF of a kind that is not read.
        UnidentifiedImageError: neither JPEG, PNG nor TIFF, or damaged.
    """
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(len(SIGNATURE)).startswith(TIFF_STARTS):
            raise DataError(unknown_tiff(file)) from None
        raise
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return image


def read_picture_header(file: BinaryIO) -> PictureHeader:
    """What a picture is by its header, without decoding its pixels.

    Raises: see `examine_picture` and `open_picture`.
    """
    found = examine_picture(file, pixels=False)
    if found.deep is not None:
        return PictureHeader(found.deep.width, found.deep.height, found.deep.mode, "")
    with open_picture(found.file) as image:
        return PictureHeader(image.width, image.height, deep_mode(image), "")


def read_picture(found: Examined) -> Picture:
    """Decode an examined picture."""
    return _read(found, film=False)[0]


def read_picture_film(found: Examined) -> tuple[Picture, FullDepth | None]:
    """Like `read_picture`, and the pixels at their full depth if they have more than 8 bits."""
    return _read(found, film=True)


class _Loaded(NamedTuple):
    """A picture's pixels as they are stored, and how they are to be shown."""

    pixels: Image.Image
    mode: str
    orientation: int
    """As of EXIF."""
    white_is_zero: bool
    warnings: list[str]


def _read(found: Examined, *, film: bool) -> tuple[Picture, FullDepth | None]:
    loaded = _load(found) if found.deep is None else _load_deep(found, found.deep)
    (plain, lost), depth = _plain(loaded.pixels, white_is_zero=loaded.white_is_zero, film=film)
    turned = TURNED.get(loaded.orientation)
    if turned is not None:
        plain, depth = plain.transpose(turned), depth and depth.turned(turned)
    warnings = filter(None, (*found.warnings, *loaded.warnings, lost))
    return Picture(plain, loaded.mode, "; ".join(warnings)), depth


def _load(found: Examined) -> _Loaded:
    image = open_picture(found.file)
    mode, warnings = deep_mode(image), []
    if _has_pages(image):
        warnings.append("the first of several pages")
    if image.format == "TIFF":
        warnings += damage_of_tiff(found.file)
    pixels: Image.Image = image
    if found.jpeg is not None:
        pixels, damage = decode_jpeg(found.jpeg, image)
        warnings += damage
    elif (colours := shallow_deep_colours(image, lambda: _again(found.file))) is not None:
        pixels, lost = colours
        warnings.append(lost)
    else:
        image.load()
        if image.format == "TIFF" and image.mode in ("L", "I"):
            pixels = Image.fromarray(with_its_sign(np.asarray(image), found.file))
    # The orientation only now: Pillow rotates TIFFs itself.
    return _Loaded(pixels, mode, _orientation(image), _white_is_zero(image), warnings)


def _load_deep(found: Examined, deep: DeepPicture) -> _Loaded:
    damage = [] if found.jpeg is not None else damage_of_tiff(found.file)
    pixels = Image.fromarray(deep.decode())
    return _Loaded(pixels, deep.mode, deep.orientation, deep.white_is_zero, damage)


def _again(file: BinaryIO) -> ImageFile:
    file.seek(0)
    return open_picture(file)


def _has_pages(image: Image.Image) -> bool:
    return bool(getattr(image, "is_animated", False))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; upright where the metadata are too long to be read."""
    known = (image.info.get(name, b"") for name in ("exif", "Raw profile type exif"))
    # A profile is text: two characters per byte, and line ends.
    if any(len(one) > (1 if isinstance(one, bytes) else 3) * MOST_EXIF for one in known):
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF's least value is white; up to 8 bits Pillow handles it itself."""
    return bool(getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _plain(
    image: Image.Image, *, white_is_zero: bool, film: bool
) -> tuple[tuple[Image.Image, str], FullDepth | None]:
    """The image in 8 bits and without transparency, what was lost, and deep pixels for a film."""
    if is_deep(image.mode):
        if film:
            return shallow_and_full(image, white_is_zero=white_is_zero)
        return shallow(image, white_is_zero=white_is_zero), None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return (Image.alpha_composite(black, layer), ""), None
    return (image, ""), None
