"""Read JPEG, PNG, TIFF and DICOM as 8-bit grey, in the same way for training and prediction.

Files are examined before a decoder sees them (`formats`); what may take long, and every upload, is
decoded in a separate process (`apart`).
"""

import io
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from cxrtool.core.errors import DataError
from cxrtool.images.apart import APART
from cxrtool.images.decoder_warnings import QUIET
from cxrtool.images.errors import ImageError, named_error
from cxrtool.images.files import is_dicom, open_file
from cxrtool.images.formats.dicom import is_plain_dicom
from cxrtool.images.pictures import (
    Picture,
    PictureHeader,
    examine_picture,
    read_picture,
    read_picture_header,
)
from cxrtool.images.plausibility import implausible_looks


class Read(NamedTuple):
    """An image file's content."""

    grey: Image.Image
    mode: str
    """As stored: Pillow's mode, or DICOM's Photometric Interpretation."""
    warning: str
    """What reading lost, and with `look` why it is no plausible X-ray; empty for nothing."""


def read_grey(path: Path) -> Image.Image:
    """Decode an image file to 8-bit grey at its own size; see `decode`."""
    return _read(path).grey


def decode(path: Path | str) -> Read:
    """Decode an image file to 8-bit grey at its own size.

    The format is recognised by content, not by name. Deeper pixels (16-bit, 32-bit, float) are
    scaled by the depth that nearly all of them fit into (`depth.shallow`): dividing a 12-bit
    picture in a 16-bit file by 65535 would blacken it. Transparency becomes black, EXIF rotation is
    applied, and the first of several pages is read. A DICOM is shown by its own window or look-up
    table.

    Raises:
        ImageError: the file is missing, truncated, not an image, too large (`formats.limits`), or
            takes too much time or memory (`apart`).
    """
    return _read(path)


def read_for_scoring(path: Path | str) -> tuple[Image.Image, str]:
    """Decode an image file, with a warning if it is no plausible frontal chest X-ray.

    Only cheap checks: shape, colour, blankness, damage that the decoder reports, a DICOM's header.

    Raises:
        ImageError: see `decode`.
    """
    read = _read(path, look=True)
    return read.grey, read.warning


def read_header(path: Path | str) -> PictureHeader:
    """What an image file is by its header, without decoding its pixels.

    Raises:
        ImageError: the file is missing, has no image header, or too many pixels.
    """
    try:
        with open_file(path) as file, QUIET:
            if is_dicom(file, path):
                from cxrtool.images.dicom.reading import read_dicom_header

                return read_dicom_header(file)
            return read_picture_header(file)
    except Exception as error:
        raise named_error(error, path) from None


def _read(path: Path | str, *, look: bool = False) -> Read:
    """Decode an image file, here or in another process; with `look`, check its plausibility."""
    try:
        with open_file(path) as file, QUIET:
            dicom = is_dicom(file, path)
            if dicom and is_plain_dicom(file):
                return _read_dicom(file, look=look)
            if not dicom and (found := examine_picture(file)).ordinary:
                return finished(read_picture(found), look=look)
        return _apart(path, look=look, dicom=dicom)
    # Pillow raises nearly anything on a damaged file: ValueError, SyntaxError, struct.error ...
    except Exception as error:
        raise named_error(error, path) from None


def _apart(path: Path | str, *, look: bool, dicom: bool) -> Read:
    found, pixels = decode_apart(path, None, look=look, dicom=dicom)
    width, height = found["size"]
    return Read(Image.frombytes("L", (width, height), pixels), found["mode"], found["warning"])


def decode_apart(
    path: Path | str, content: bytes | None, *, look: bool, dicom: bool
) -> tuple[dict[str, Any], bytes]:
    """Have a file decoded in another process, or an upload in a new one; see `Apart.decode`.

    Raises:
        ImageError: see `decode`.
    """
    try:
        sent = content is not None
        found, pixels = APART.decode(
            str(path), content, look=look, dicom=dicom, fresh=sent, film=sent
        )
    except DataError as error:
        raise named_error(error, path) from None
    if "error" in found:
        raise ImageError(found["error"])
    return found, pixels


def read_file(path: Path | str, *, look: bool) -> Read:
    """Decode a file in this process without limits: for `apart_process`.

    Raises:
        ImageError: see `decode`.
    """
    try:
        with open_file(path) as file, QUIET:
            return _read_here(file, path, look=look)
    except Exception as error:
        raise named_error(error, path) from None


def read_content(name: str, content: bytes, *, look: bool) -> Read:
    """Like `read_file`, for bytes.

    Raises:
        ImageError: see `decode`.
    """
    try:
        with QUIET:
            return _read_here(io.BytesIO(content), name, look=look)
    except Exception as error:
        raise named_error(error, name) from None


def _read_here(file: BinaryIO, path: Path | str, *, look: bool) -> Read:
    if is_dicom(file, path):
        return _read_dicom(file, look=look)
    return finished(read_picture(examine_picture(file)), look=look)


def _read_dicom(file: BinaryIO, *, look: bool) -> Read:
    from cxrtool.images.dicom.reading import read_dicom

    return finished(read_dicom(file), look=look)


def finished(picture: Picture, *, look: bool) -> Read:
    """A decoded picture in grey; with `look`, its plausibility is checked."""
    image = picture.image
    grey = image if image.mode == "L" else image.convert("L")
    looks = implausible_looks(image, grey) if look else []
    return Read(grey, picture.mode, "; ".join(filter(None, (picture.warning, *looks))))
