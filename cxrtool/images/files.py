"""Image files in folders, before anything is decoded: which count, what state they are in."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from cxrtool.images.errors import named_error
from cxrtool.images.signatures import START, has_dicom_mark, is_bare_dicom, is_picture

DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *DICOM_SUFFIXES)
BARE_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First group of a DICOM without preamble."""
ARCHIVES = (".gz", ".bz2", ".xz", ".zip")


def is_image(path: Path) -> bool:
    """Whether a file in a folder counts as an image: by its suffix, or else by its content.

    Scanners name DICOMs IM0001, IM0001.IMA or a UID. Hidden files and DICOMDIR, which lists the
    others, do not count.
    """
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        with open_file(path) as file:
            return is_dicom(file, path) or is_picture(file.read(START))
    except OSError:
        return False


def kind_by_name(path: Path) -> str:
    """What a file that is no image is counted as: hidden, or its ending."""
    if path.name.startswith("."):
        return "hidden"
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR"
    suffixes = [one.lower() for one in path.suffixes]
    kept = suffixes[-2:] if suffixes and suffixes[-1] in ARCHIVES else suffixes[-1:]
    return "".join(kept) or "without an ending"


def file_state(path: Path | str) -> tuple[int, int]:
    """A file's length and modification time, in nanoseconds since 1970.

    Raises:
        ImageError: it is missing or not accessible.
    """
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise named_error(error, path) from None
    return state.st_size, state.st_mtime_ns


def open_file(path: Path | str) -> BinaryIO:
    """Open a regular file: opening a pipe would block.

    Raises:
        OSError: it is missing, not accessible, or not a regular file.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise OSError(errno.EINVAL, f"it is {kind}")
    return open(path, "rb")  # noqa: PTH123


def is_dicom(file: BinaryIO, path: Path | str) -> bool:
    """Whether an open file is a DICOM: by its mark, or by its first elements or its name."""
    start = file.read(START)
    file.seek(0)
    if has_dicom_mark(start) or is_bare_dicom(start):
        return True
    return start.startswith(BARE_STARTS) and str(path).lower().endswith(DICOM_SUFFIXES)


def is_dicom_file(path: Path | str) -> bool:
    """Whether a file is a DICOM; see `is_dicom`.

    Raises:
        OSError: it is missing, not accessible, or not a regular file.
    """
    with open_file(path) as file:
        return is_dicom(file, path)
