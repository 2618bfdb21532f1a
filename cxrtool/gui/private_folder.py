"""A folder for what is dropped: this user's alone, and gone when the page is.

What is dropped has no name in it (`uploads`): of a page that is killed, an empty folder is left.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrtool.core.files import lock_folder

PREFIX = "cxrtool-gui-"
YOUNG = 60
"""Seconds in which a folder may have been made and not been locked yet."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder among the temporary ones, removed at the end; so is what a killed page left."""
    _remove_left_behind(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = lock_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_left_behind(folder: Path) -> None:
    """Remove folders whose page was killed: an image that was being sent may be in there."""
    if not hasattr(os, "geteuid"):  # Windows lets nobody lock a folder; what a kill left stays
        return
    for one in folder.glob(f"{PREFIX}*"):
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
