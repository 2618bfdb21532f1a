"""Pictures as a page holds them: inside it, since it loads nothing."""

import base64
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.errors import DataError, first_few
from cxrtool.images.reading import read_for_scoring

PNG = b"\x89PNG\r\n\x1a\n"
THUMBNAIL = 240
"""The longer side in pixels of an X-ray on the page: to see what is in it, not to read it."""
READ_WHOLE = 1000
"""Pixels from which on a picture gets the page's whole width: one of many panels."""


@dataclass(frozen=True)
class Picture:
    """A PNG as it is embedded; width and height in pixels."""

    caption: str
    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether half the page's width would make it too small to read."""
        return self.width >= READ_WHOLE or self.width > 1.35 * self.height


def embed_pictures(figures: Mapping[str, Path]) -> list[Picture]:
    """PNG files by their captions, as they are embedded.

    Raises:
        DataError: figures that are missing or are no PNG.
    """
    missing = [str(path) for path in figures.values() if not path.is_file()]
    if missing:
        raise DataError(f"figures of the page are missing: {first_few(missing)}: draw them first")
    bytes_of = {caption: path.read_bytes() for caption, path in figures.items()}
    wrong = [str(figures[caption]) for caption, data in bytes_of.items() if data[:8] != PNG]
    if wrong:
        raise DataError(f"figures of the page are no PNG files: {first_few(wrong)}: draw them anew")
    made = []
    for caption, data in bytes_of.items():
        # A PNG begins with its header, the size first (PNG specification, section 11.2.1).
        width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
        uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
        made.append(Picture(caption, uri, width, height))
    return made


def thumbnail(path: Path) -> str:
    """An X-ray, made small, as the `data:` address of a JPEG.

    Raises:
        ImageError: it cannot be read.
    """
    grey, _ = read_for_scoring(path)
    small = grey.convert("L")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
