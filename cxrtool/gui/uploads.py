"""Files that were sent to the page: each in a private folder until it is taken, once."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cxrtool.errors import DataError
from cxrtool.images import SUFFIXES

KEPT_SECONDS = 900.0
"""So long a file waits at most: whoever sent it has closed the page since."""


@dataclass(frozen=True)
class Upload:
    """A file that was sent: where it is, and how its sender called it."""

    path: Path
    name: str


class Uploads:
    """The files that wait to be looked at; safe to be used from several threads.

    A file is named by chance, not as its sender named it (but for a known ending), and two of the
    same content are two files: one person's taking must not end another's.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Keep at most so many bytes waiting in a folder that is nobody else's."""
        self.folder = folder
        self.most_bytes = most_bytes
        self._waiting: dict[str, tuple[Upload, int, float]] = {}
        self._lock = threading.Lock()

    def __contains__(self, path: object) -> bool:
        """Whether a file waits under this path, exactly as `add` gave it."""
        return path in self._waiting

    def add(self, name: str, content: BinaryIO) -> str:
        """Keep a file until it is taken.

        Returns:
            Its path, by which it is taken.

        Raises:
            DataError: too much is waiting already.
        """
        suffix = Path(name).suffix.lower()
        # By some DICOMs' content alone it cannot be told what they are.
        kept = suffix if suffix in SUFFIXES else ""
        path = self.folder / f"{secrets.token_hex(16)}{kept}"
        try:
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)
            size = path.stat().st_size
            with self._lock:
                waiting = sum(size for _, size, _ in self._waiting.values())
                if waiting + size > self.most_bytes:
                    raise DataError("too many images are waiting: try again in a minute")
                self._waiting[str(path)] = (Upload(path, name), size, time.monotonic())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return str(path)

    def name_of(self, path: str) -> str:
        """How the sender of a file called it; nothing, where it does not wait any more."""
        found = self._waiting.get(path)
        return found[0].name if found else ""

    @contextmanager
    def take(self, path: str) -> Iterator[Upload]:
        """A file that waits, while the block runs; it is removed at its end.

        Raises:
            DataError: no such file waits: it was taken, or waited too long.
        """
        with self._lock:
            found = self._waiting.pop(path, None)
        if found is None:
            raise DataError("this image is not here any more: drop it again")
        try:
            yield found[0]
        finally:
            found[0].path.unlink(missing_ok=True)

    def drop(self, path: str) -> None:
        """Remove a file, if it still waits."""
        with self._lock:
            found = self._waiting.pop(path, None)
        if found is not None:
            found[0].path.unlink(missing_ok=True)

    def sweep(self, older_than: float = KEPT_SECONDS) -> None:
        """Remove the files that have waited for so many seconds."""
        before = time.monotonic() - older_than
        with self._lock:
            old = [path for path, (_, _, added) in self._waiting.items() if added <= before]
        for path in old:
            self.drop(path)
