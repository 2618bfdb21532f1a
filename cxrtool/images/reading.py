"""Read JPEG, PNG, TIFF and DICOM as 8-bit grey, in the same way for training and prediction.

Files are examined before a decoder sees them (`formats`); what may take long, and every upload, is
decoded in a separate process (`apart`).
"""

import errno
import io
import os
import stat
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxrtool.core.errors import DataError
from cxrtool.images.apart import APART
from cxrtool.images.depth import is_deep, shallow
from cxrtool.images.formats.dicom import is_plain_dicom
from cxrtool.images.formats.jpeg import START as JPEG_START
from cxrtool.images.formats.jpeg import decode_jpeg, examine_jpeg
from cxrtool.images.formats.limits import MOST_EXIF, Examined
from cxrtool.images.formats.png import SIGNATURE, examine_png
from cxrtool.images.formats.tiff import STARTS as TIFF_STARTS
from cxrtool.images.formats.tiff import damage_of_tiff, examine_tiff
from cxrtool.images.plausibility import implausible_looks

DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *DICOM_SUFFIXES)
FORMATS = ("JPEG", "PNG", "TIFF")
"""Formats that Pillow may try: some others start programs (EPS: Ghostscript)."""
POWERS = np.stack([np.arange(256), np.arange(256) ** 2], axis=1)
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
DICOM_MARK = b"DICM"
MARK_PLACE = 128
BARE_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First group of a DICOM without preamble."""


class ImageError(DataError):
    """An image file that cannot be read, with the reason."""


class MissingImageError(ImageError):
    """An image file that does not exist."""


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


def read_sent(name: str, content: bytes) -> tuple[Image.Image, str]:
    """Like `read_for_scoring`, for an upload: always in a separate process.

    Raises:
        ImageError: see `decode`.
    """
    dicom = _is_dicom(io.BytesIO(content), name)
    read = _apart(name, content, look=True, dicom=dicom)
    return read.grey, read.warning


def read_header(path: Path | str) -> tuple[int, int, str]:
    """An image file's width, height and mode, without decoding its pixels.

    Raises:
        ImageError: the file is missing, has no image header, or too many pixels.
    """
    try:
        with _opened(path) as file, QUIET:
            if _is_dicom(file, path):
                from cxrtool.images.dicom.reading import read_dicom_header

                return read_dicom_header(file)
            with _open_picture(_examined(file, pixels=False).file) as image:
                return image.width, image.height, image.mode
    except Exception as error:
        raise _named(error, path) from None


def is_image(path: Path) -> bool:
    """Whether a file in a folder counts as an image: by its suffix, or as a DICOM without one.

    Scanners name files IM0001, archives by numbers with dots. Hidden files and DICOMDIR, which
    lists the others, do not count.
    """
    suffix = path.suffix.lower()
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return False
    if suffix in SUFFIXES:
        return path.is_file()
    if suffix and not suffix[1:].isdecimal():
        return False
    try:
        with _opened(path) as file:
            return _is_dicom(file, path)
    except OSError:
        return False


def file_state(path: Path | str) -> tuple[int, int]:
    """A file's length and modification time, in nanoseconds since 1970.

    Raises:
        ImageError: it is missing or not accessible.
    """
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise _named(error, path) from None
    return state.st_size, state.st_mtime_ns


class _Quiet:
    """Inside, Pillow's warning of too many pixels is an error, and its other warnings are hidden.

    So are pydicom's, which may quote patient data. Python's warning filters belong to the process:
    of several threads inside, the first sets them and the last restores them.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\b")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


QUIET = _Quiet()


def _read(path: Path | str, *, look: bool = False) -> Read:
    """Decode an image file, here or in another process; with `look`, check its plausibility."""
    try:
        with _opened(path) as file, QUIET:
            dicom = _is_dicom(file, path)
            if dicom and is_plain_dicom(file):
                return _read_dicom(file, look=look)
            if not dicom and (found := _examined(file)).ordinary:
                return _read_picture(found, look=look)
        return _apart(path, None, look=look, dicom=dicom)
    # Pillow raises nearly anything on a damaged file: ValueError, SyntaxError, struct.error ...
    except Exception as error:
        raise _named(error, path) from None


def _apart(path: Path | str, content: bytes | None, *, look: bool, dicom: bool) -> Read:
    try:
        fresh = content is not None
        found, pixels = APART.decode(str(path), content, look=look, dicom=dicom, fresh=fresh)
    except DataError as error:
        raise _named(error, path) from None
    if "error" in found:
        raise ImageError(found["error"])
    width, height = found["size"]
    return Read(Image.frombytes("L", (width, height), pixels), found["mode"], found["warning"])


def read_file(path: Path | str, *, look: bool) -> Read:
    """Decode a file in this process without limits: for `apart_process`.

    Raises:
        ImageError: see `decode`.
    """
    try:
        with _opened(path) as file, QUIET:
            return _read_here(file, path, look=look)
    except Exception as error:
        raise _named(error, path) from None


def read_content(name: str, content: bytes, *, look: bool) -> Read:
    """Like `read_file`, for bytes.

    Raises:
        ImageError: see `decode`.
    """
    try:
        with QUIET:
            return _read_here(io.BytesIO(content), name, look=look)
    except Exception as error:
        raise _named(error, name) from None


def _read_here(file: BinaryIO, path: Path | str, *, look: bool) -> Read:
    if _is_dicom(file, path):
        return _read_dicom(file, look=look)
    return _read_picture(_examined(file), look=look)


def _read_dicom(file: BinaryIO, *, look: bool) -> Read:
    from cxrtool.images.dicom.reading import read_dicom

    image, mode, warning = read_dicom(file)
    return _finished(image, mode, [warning], look=look)


def _examined(file: BinaryIO, *, pixels: bool = True) -> Examined:
    """Examine a picture file before a decoder does.

    Args:
        file: the picture's file.
        pixels: whether its pixels will be decoded; else only what precedes them is examined.
    """
    start = file.read(len(SIGNATURE))
    file.seek(0)
    if start == SIGNATURE:
        return examine_png(file, pixels=pixels)
    if start.startswith(JPEG_START):
        return examine_jpeg(file, pixels=pixels)
    if start.startswith(TIFF_STARTS):
        return examine_tiff(file)
    raise UnidentifiedImageError


def _read_picture(found: Examined, *, look: bool) -> Read:
    image = _open_picture(found.file)
    mode, warnings = image.mode, list(found.warnings)
    if _has_pages(image):
        warnings.append("the first of several pages")
    if image.format == "TIFF":
        warnings += damage_of_tiff(found.file)
    if found.jpeg is not None:
        pixels, damage = decode_jpeg(found.jpeg, image)
        warnings += damage
    else:
        image.load()
        pixels = image
    turned = TURNED.get(_orientation(image))  # only now: Pillow rotates TIFFs itself
    plain, lost = _plain(pixels, white_is_zero=_white_is_zero(image))
    upright = plain if turned is None else plain.transpose(turned)
    return _finished(upright, mode, [*warnings, lost], look=look)


def _finished(upright: Image.Image, mode: str, warnings: list[str], *, look: bool) -> Read:
    grey = upright if upright.mode == "L" else upright.convert("L")
    looks = implausible_looks(upright, grey) if look else []
    return Read(grey, mode, "; ".join(filter(None, (*warnings, *looks))))


def _opened(path: Path | str) -> BinaryIO:
    """Open a regular file: opening a pipe would block.

    Raises:
        OSError: it is missing, not accessible, or not a regular file.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise OSError(errno.EINVAL, f"it is {kind}")
    return open(path, "rb")  # noqa: PTH123


def _is_dicom(file: BinaryIO, path: Path | str) -> bool:
    start = file.read(MARK_PLACE + len(DICOM_MARK))
    file.seek(0)
    if start[MARK_PLACE:] == DICOM_MARK:
        return True
    return start.startswith(BARE_STARTS) and str(path).lower().endswith(DICOM_SUFFIXES)


def _open_picture(file: BinaryIO) -> Image.Image:
    """Read a picture's header. Its size is checked here too: threads may restore the filters."""
    image = Image.open(file, formats=FORMATS)
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return image


def _has_pages(image: Image.Image) -> bool:
    return bool(getattr(image, "is_animated", False))


def _named(error: Exception, path: Path | str) -> ImageError:
    """Whatever reading raised, as an error that names the file."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, FileNotFoundError):
        return MissingImageError(f"{path}: no such file")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError(f"{path}: more pixels than {Image.MAX_IMAGE_PIXELS:,}")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{path}: not a JPEG, PNG, TIFF or DICOM image")
    if isinstance(error, DataError):
        return ImageError(f"{path}: {error}")
    if isinstance(error, MemoryError):
        return ImageError(f"{path}: too large for this machine's memory")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{path}: cannot be read ({error.strerror})")
    return ImageError(f"{path}: cannot be decoded ({error or type(error).__name__})")


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


def _plain(image: Image.Image, *, white_is_zero: bool) -> tuple[Image.Image, str]:
    """The image in 8 bits and without transparency, and what was lost."""
    if is_deep(image.mode):
        return shallow(image, white_is_zero=white_is_zero)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer), ""
    return image, ""


def load_pixels(path: Path, *image_sizes: int) -> NDArray[np.uint8]:
    """An image file as the network's input before scaling: grey (image_size, image_size) in 0..255.

    Raises:
        ImageError: see `decode`.
    """
    return squish(read_grey(path), *image_sizes)


def squish(grey: Image.Image, *image_sizes: int) -> NDArray[np.uint8]:
    """Resize a grey image to (image_size, image_size), whatever its shape, with antialiasing.

    Nothing is cropped, since findings lie at the borders too (costophrenic angles, apices). With
    several sizes it is resized to each in turn: what a network sees of an image whose cache is
    larger than its input, so that prediction sees the same.
    """
    for image_size in image_sizes:
        if grey.size != (image_size, image_size):
            grey = grey.resize((image_size, image_size), Image.Resampling.BILINEAR)
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
