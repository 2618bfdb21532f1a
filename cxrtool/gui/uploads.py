"""Files that were sent to the page: each without a name on the disk until it is taken, once.

What is being sent, what waits and who waits for it is counted, and each has its end: a sender who
never finishes, a file that nobody asks about, an answer that nobody listens to.
"""

import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cxrtool.core.errors import DataError
from cxrtool.images.files import SUFFIXES

KEPT_SECONDS = 900.0
"""So long a file waits at most: whoever sent it has closed the page since."""
LISTEN_SECONDS = 5.0
"""So long after asking, a browser listens for the answer at the latest; before, nothing is done."""
MOST_WAITING = 800
"""Files that may wait."""
FULL = "too many images are waiting: try again in a minute"


@dataclass(frozen=True)
class Upload:
    """A file that was sent: its content, and how its sender called it."""

    content: BinaryIO
    """Nobody else can open it; closed, or with the page killed, it is gone."""
    path: str
    """By which it is taken; nothing is there."""
    name: str
    size: int
    added: float

    def read(self) -> bytes:
        """All of it."""
        self.content.seek(0)
        return self.content.read()


class Uploads:
    """The files that wait to be looked at; safe to be used from several threads.

    A file is known by chance, not as its sender named it (but for a known ending), and two of the
    same content are two files: one person's taking must not end another's.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Keep at most so many bytes, sent or being sent, on the disk of `folder`."""
        self.folder = folder
        self.most_bytes = most_bytes
        self._waiting: dict[str, Upload] = {}
        self._asked: dict[str, tuple[str, float]] = {}
        """By path: the session that asked about the file, and when."""
        self._listening: Counter[str] = Counter()
        self._coming = 0
        """Bytes that are being sent, or may be."""
        self._lock = threading.Condition()

    def __contains__(self, path: object) -> bool:
        """Whether a file waits under this path, exactly as `add` gave it."""
        return path in self._waiting

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Room for so many bytes that are about to be sent, while the block runs.

        Raises:
            DataError: too much is waiting, or is being sent.
        """
        with self._lock:
            if self._coming + self._held() + size > self.most_bytes:
                raise DataError(FULL)
            self._coming += size
        try:
            yield
        finally:
            with self._lock:
                self._coming -= size

    def _held(self) -> int:
        return sum(one.size for one in self._waiting.values())

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
        path = str(self.folder / f"{secrets.token_hex(16)}{kept}")
        # Without a name from the start: a page that is killed leaves nothing.
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
        try:
            shutil.copyfileobj(content, file)
            size = file.tell()
            with self._lock:
                full = self._held() + size > self.most_bytes
                if full or len(self._waiting) >= MOST_WAITING:
                    raise DataError(FULL)
                self._waiting[path] = Upload(file, path, name, size, time.monotonic())
        except BaseException:
            file.close()
            raise
        return path

    def name_of(self, path: str) -> str:
        """How the sender of a file called it; nothing, where it does not wait any more."""
        found = self._waiting.get(path)
        return found.name if found else ""

    @contextmanager
    def take(self, path: str) -> Iterator[Upload]:
        """A file that waits, while the block runs; it is removed at its end.

        Raises:
            DataError: no such file waits: it was taken, or waited too long.
        """
        with self._lock:
            found = self._waiting.pop(path, None)
            self._asked.pop(path, None)
        if found is None:
            raise DataError("this image is no longer here: drop it again")
        try:
            yield found
        finally:
            found.content.close()

    def drop(self, path: str) -> None:
        """Remove a file, if it still waits."""
        with self._lock:
            found = self._waiting.pop(path, None)
            self._asked.pop(path, None)
        if found is not None:
            found.content.close()

    def sweep(self, older_than: float = KEPT_SECONDS) -> None:
        """Remove the files that have waited for so many seconds."""
        before = time.monotonic() - older_than
        with self._lock:
            old = [path for path, one in self._waiting.items() if one.added <= before]
        for path in old:
            self.drop(path)

    def ask(self, paths: Iterable[str], session: str) -> None:
        """Note that a session asks about files.

        Raises:
            LookupError: one does not wait, or was asked about before.
        """
        asked = list(paths)
        with self._lock:
            if len(set(asked)) < len(asked) or any(
                path not in self._waiting or path in self._asked for path in asked
            ):
                raise LookupError("file")
            self._asked |= dict.fromkeys(asked, (session, time.monotonic()))

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """While the block runs, a session listens for its answers."""
        with self._lock:
            self._listening[session] += 1
            self._lock.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._listening[session] -= 1
                self._listening += Counter()  # those at zero go

    def somebody_listens(self, paths: Iterable[str]) -> bool:
        """Whether answers about files will be heard; waits a little for who just asked."""
        with self._lock:
            asked = [self._asked[path] for path in paths if path in self._asked]
            for session, when in asked:
                while not self._listening[session]:
                    left = when + LISTEN_SECONDS - time.monotonic()
                    if left <= 0 or not self._lock.wait(left):
                        return False
        return True
