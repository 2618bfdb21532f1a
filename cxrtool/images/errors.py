"""Why an image file cannot be read, whatever the decoder raised: an error that names the file."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cxrtool.core.errors import DataError

NOT_READ = "not a JPEG, PNG, TIFF or DICOM image"


class ImageError(DataError):
    """An image file that cannot be read, with the reason."""


class MissingImageError(ImageError):
    """An image file that does not exist."""


def named_error(error: Exception, path: Path | str) -> ImageError:
    """Whatever reading raised, as an error that names the file."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, FileNotFoundError):
        return MissingImageError(f"{path}: no such file")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError(f"{path}: more pixels than {Image.MAX_IMAGE_PIXELS:,}")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(f"{path}: {NOT_READ}")
    if isinstance(error, DataError):
        return ImageError(f"{path}: {error}")
    if isinstance(error, MemoryError):
        return ImageError(f"{path}: too large for this machine's memory")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{path}: cannot be read ({error.strerror})")
    return ImageError(f"{path}: cannot be decoded ({error or type(error).__name__})")
