"""A folder as a source of studies: its images are copied into a spool when they stop growing.

The folder's own files are never changed, moved or removed: which were taken is remembered in the
spool, by digests of their names, sizes and times.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, counted
from cxrtool.core.files import read_bytes
from cxrtool.images.dicom import DicomError
from cxrtool.pacs.identity import SHORT, digest, identify
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.spool import OutOfRoomError, Spool, Stored
from cxrtool.pacs.spooled_study import write_whole

TAKEN = "taken.txt"
"""In the spool: digests of files that were taken, a line each."""
PAUSE = 1.0
"""Seconds between looks, at least; a large folder is looked at for at most a fifth of the time."""
SHARE = 4
STALE = 60.0
"""Seconds after which a file that is no whole image is left, until it changes."""
State = tuple[int, int]
"""A file's size, and when it was changed, in nanoseconds since 1970."""


@dataclass
class _Seen:
    """A file that is not taken yet."""

    state: State
    since: float
    """When it was first seen so, on the monotonic clock."""
    left: str = ""
    """Why it is not looked at any more, until it changes."""


class WatchFolder:
    """Takes what appears in a folder, and in folders in it; links are not followed."""

    def __init__(
        self,
        folder: Path,
        spool: Spool,
        counts: ListenCounts,
        reporter: Reporter = SILENT,
        *,
        settle: float = 5,
        most_bytes: int = 2**28,
    ) -> None:
        """See the class.

        Args:
            folder: that is watched.
            spool: that images go to.
            counts: told what came.
            reporter: told what is left; never a name, which may be a patient's.
            settle: seconds that a file must have stopped to grow for.
            most_bytes: of a file that is read.
        """
        self.folder, self.spool, self.counts, self.reporter = folder, spool, counts, reporter
        self.settle, self.most_bytes, self.stale = settle, most_bytes, max(STALE, settle)
        self._seen: dict[str, _Seen] = {}
        self._taken = self._read_taken()
        self._stopping = threading.Event()

    @contextmanager
    def open(self) -> Iterator["WatchFolder"]:
        """Watch while the block runs.

        Raises:
            DataError: it is not a folder that can be read.
        """
        if not self.folder.is_dir() or not os.access(self.folder, os.R_OK | os.X_OK):
            raise DataError(f"--folder {self.folder} is not a folder that can be read")
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self.look()
            except OutOfRoomError as error:
                self.reporter.warn(f"{error}: files wait until there is room")
            except OSError as error:
                self.reporter.warn(f"--folder {self.folder}: {error.strerror or error}")
            self._stopping.wait(max(PAUSE, SHARE * (time.monotonic() - began)))

    def look(self) -> None:
        """Take what is ready; what is not is looked at again.

        Raises:
            OutOfRoomError: the spool takes nothing.
        """
        now, there, left = time.monotonic(), set[str](), Counter[str]()
        for name, state in self._files():
            if self._stopping.is_set():
                return
            there.add(name)
            if _remembered(name, state) in self._taken:
                continue
            seen = self._seen.get(name)
            if seen is None or seen.state != state:
                seen = self._seen[name] = _Seen(state, now)
            if seen.left or now - seen.since < self.settle:
                continue
            why = self._take(name, state)
            if why and now - seen.since >= self.stale:
                seen.left = why
                left[why] += 1
            elif not why:
                del self._seen[name]
        for name in set(self._seen) - there:
            del self._seen[name]
        for why, number in left.items():
            for _ in range(number):
                self.counts.instance("left in the folder")
            self.reporter.warn(
                f"{counted(number, 'file')} in {self.folder} left there, not scored: {why}"
            )

    def _files(self) -> Iterator[tuple[str, State]]:
        """Files by their names in the folder; hidden ones are somebody's temporary ones."""
        for place, folders, files in os.walk(self.folder):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            for name in sorted(files):
                path = Path(place, name)
                try:
                    facts = path.lstat()
                except OSError:  # removed meanwhile
                    continue
                if not name.startswith("."):
                    yield str(path.relative_to(self.folder)), (facts.st_size, facts.st_mtime_ns)

    def _take(self, name: str, state: State) -> str:
        """Put a file into the spool; why it cannot be, empty where it was."""
        try:
            content = read_bytes(self.folder / name, self.most_bytes)
            identity = identify(content)
        except OSError as error:
            return "larger than --max-mb" if state[0] > self.most_bytes else str(error.strerror)
        except DicomError as error:
            return str(error) if state[0] else "it is empty"
        what = "own result" if identity.is_own else "no image"
        if identity.is_image and not identity.is_own:
            stored = self.spool.store(identity, content)
            what = stored.value
            if stored is Stored.OTHER:
                self.reporter.warn(
                    f"study {identity.study[:SHORT]}: an instance came again with other content; "
                    "the first one is kept"
                )
        self.counts.instance(what)
        self._remember(_remembered(name, state))
        return ""

    def _remember(self, one: str) -> None:
        """Know a file again after a restart; if that is lost, it is taken again, and known."""
        self._taken.add(one)
        with (self.spool.folder / TAKEN).open("a") as file:
            file.write(f"{one}\n")

    def _read_taken(self) -> set[str]:
        """What was taken, without what has left the folder since."""
        path = self.spool.folder / TAKEN
        if not path.is_file():
            return set()
        known = set(path.read_text().split())
        kept = known & {_remembered(name, state) for name, state in self._files()}
        write_whole(path, "".join(f"{one}\n" for one in sorted(kept)).encode())
        return kept


def _remembered(name: str, state: State) -> str:
    return digest(f"{name}\0{state[0]}\0{state[1]}")
