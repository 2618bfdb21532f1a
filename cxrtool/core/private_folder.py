"""A folder for patients' images on their way: this user's alone, and gone when the work is."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrtool.core.files import lock_folder

YOUNG = 60
"""Seconds in which a folder may have been made and not been locked yet."""


@contextmanager
def private_folder(name: str) -> Iterator[Path]:
    """A new folder among the temporary ones, removed at the end; so are those that a kill left.

    Args:
        name: of the work: folders of that name alone are looked at.
    """
    prefix = f"cxrtool-{name}-"
    _remove_left_behind(Path(tempfile.gettempdir()), prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    lock = lock_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_left_behind(folder: Path, prefix: str) -> None:
    """Remove folders whose process was killed: an image may be in there."""
    if not hasattr(os, "geteuid"):  # Windows lets nobody lock a folder; what a kill left stays
        return
    for one in folder.glob(f"{prefix}*"):
        try:
            facts = one.lstat()
            mine = facts.st_uid == os.geteuid()  # and no link: none of those can be locked below
            if mine and time.time() - facts.st_mtime > YOUNG:
                lock = lock_folder(one)
                if lock is not None:
                    shutil.rmtree(one, ignore_errors=True)
                    os.close(lock)
        except OSError:  # another start removed it
            continue
