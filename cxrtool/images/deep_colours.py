"""16-bit colours to 8 bits, scaled by their depth as 16-bit greys are.

Pillow keeps the upper byte of each 16-bit colour, which leaves 16 greys of a 12-bit picture. It
decodes the same file once more in the other order of bytes, and so gives the lower ones.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from cxrtool.images.depth import Greys, shallow_colours

OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}
"""Of the last letter of Pillow's raw modes: little-endian, big-endian, the machine's own."""
WITH_GREY = "LA;16B"
"""Grey with transparency, four bytes a pixel, which Pillow makes colours."""
RAW = ("RGB;16", "RGBA;16", "RGBX;16")
"""Raw modes that Pillow reads in both orders."""
DEEP = ";16"


def deep_mode(image: ImageFile) -> str:
    """An unread image's mode, with its depth if it has deep colours: RGB;16."""
    return image.mode + DEEP * (_raw_mode(image) is not None)


def shallow_deep_colours(image: ImageFile, again: Callable[[], ImageFile]) -> Greys | None:
    """Read an image's 16-bit colours as 8-bit ones (RGB or RGBA); None if it has none.

    Args:
        image: not read yet.
        again: opens it once more.
    """
    raw = _raw_mode(image)
    if raw is None:
        return None
    words = _grey_words(image) if raw == WITH_GREY else _words(image, again, raw)
    shallow, warning = shallow_colours(words[..., :3])
    if words.shape[2] == 3:
        return Greys(Image.fromarray(shallow), warning)
    opaque, _ = shallow_colours(words[..., 3:])
    return Greys(Image.fromarray(np.concatenate([shallow, opaque], axis=2)), warning)


def _raw_mode(image: ImageFile) -> str | None:
    """How an unread image's deep colours lie in its file, if it has them."""
    raws = {
        one.args if isinstance(one.args, str) else one.args[0] for one in image.tile if one.args
    }
    raw = str(next(iter(raws), ""))
    known = len(raws) == 1 and (raw == WITH_GREY or raw[:-1] in RAW)
    return raw if known and image.mode in ("RGB", "RGBA") else None


def _words(image: ImageFile, again: Callable[[], ImageFile], raw: str) -> NDArray[np.uint16]:
    """(rows, columns, channels)."""
    image.load()
    words = np.asarray(image).astype(np.uint16)
    lower = again()
    _read_as(lower, raw[:-1] + OTHER_ORDER[raw[-1]])
    words <<= 8
    words |= np.asarray(lower)
    return words


def _grey_words(image: ImageFile) -> NDArray[np.uint16]:
    """Grey three times, and opacity: its four bytes are read as four channels."""
    _read_as(image, "RGBA")
    pairs = np.asarray(image).astype(np.uint16)
    grey, opaque = pairs[..., 0] << 8 | pairs[..., 1], pairs[..., 2] << 8 | pairs[..., 3]
    return np.stack([grey, grey, grey, opaque], axis=2)


def _read_as(image: ImageFile, raw: str) -> None:
    args = [one.args for one in image.tile]
    image.tile = [
        tile._replace(args=(raw, *had[1:]) if isinstance(had, tuple) else raw)
        for tile, had in zip(image.tile, args, strict=True)
    ]
    image.load()
