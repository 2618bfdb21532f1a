"""Image files in folders, before anything is decoded: which count, what state they are in."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from cxrtool.images.errors import named_error

DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *DICOM_SUFFIXES)
DICOM_MARK = b"DICM"
MARK_PLACE = 128
BARE_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First group of a DICOM without preamble."""


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
        with open_file(path) as file:
            return is_dicom(file, path)
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
    """Whether an open file is a DICOM: by its mark, or by its first group and its name."""
    start = file.read(MARK_PLACE + len(DICOM_MARK))
    file.seek(0)
    if start[MARK_PLACE:] == DICOM_MARK:
        return True
    return start.startswith(BARE_STARTS) and str(path).lower().endswith(DICOM_SUFFIXES)


def is_dicom_file(path: Path | str) -> bool:
    """Whether a file is a DICOM; see `is_dicom`.

    Raises:
        OSError: it is missing, not accessible, or not a regular file.
    """
    with open_file(path) as file:
        return is_dicom(file, path)
