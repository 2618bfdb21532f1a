"""Folders that a command fills: marked as its own, so that --force never empties another's."""

import shutil
from pathlib import Path

from cxrtool.core.errors import DataError


def make_room(
    folder: Path, mark: str, *, option: str, what: str, force: bool, resume: bool = False
) -> None:
    """A folder to write to: a new or empty one, or with `force` or `resume` one of the same mark.

    Args:
        folder: made where it is not there.
        mark: name of a hidden file that says whose it is.
        option: that named it.
        what: is in such a folder, for messages.
        force: empty it.
        resume: leave what is in it.

    Raises:
        DataError: it holds something and neither `force` nor `resume` is given, it is another
            folder, or a file.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file: {option} names a folder")
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        if not force:
            raise DataError(f"{folder} holds something: --force replaces it, or name another")
        if not (folder / mark).is_file():
            raise DataError(f"{folder} is no folder of {what}: it is left alone, name another")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / mark).touch()
