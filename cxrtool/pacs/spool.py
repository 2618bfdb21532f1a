"""A queue of studies on disk, which a kill, a power cut or a full disk can neither lose nor double.

A study is one folder (`spooled_study`), and where it lies says what it waits for: `incoming`, to be
scored; `outbox`, to be sent; `done`; `refused`, put aside for a person. It moves by a rename. What
arrives is written under another name, is on the disk before it gets its own, and is answered only
then. Names are digests: nothing of the patient is in them. One process at a time has a spool.
"""

import errno
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from cxrtool.core.errors import CxrToolError
from cxrtool.core.files import fsync_folder
from cxrtool.core.locks import locked
from cxrtool.pacs.identity import Identity
from cxrtool.pacs.spooled_study import (
    PRIVATE_FOLDER,
    SUFFIX,
    SpooledStudy,
    put_on_disk,
    write_to_disk,
)

INCOMING, OUTBOX, DONE, REFUSED = STATES = ("incoming", "outbox", "done", "refused")
MAKING = "making"
"""Holds what is being written; emptied at each start."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutOfRoomError(CxrToolError):
    """The disk is full, or almost."""


class Stored(Enum):
    """What came of an instance that arrived."""

    NEW = "new"
    AGAIN = "again"
    """It was there, with the same content."""
    OTHER = "other"
    """One of this UID was there with other content, which stays."""


class Spool:
    """A spool that this process has for itself; safe to be used from several threads."""

    def __init__(self, folder: Path, reserve: int = 0) -> None:
        """See `open_spool`."""
        self.folder, self.reserve = folder, reserve
        self._lock = threading.RLock()
        self._claimed: set[str] = set()
        self._arrived: dict[str, float] = {}
        """When the last image of each waiting study came, on the monotonic clock."""
        for name in (*STATES, MAKING):
            (folder / name).mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._recover()

    def store(self, identity: Identity, content: bytes) -> Stored:
        """Keep an instance; it is on the disk when this returns.

        Raises:
            OutOfRoomError: there is no room for it; nothing of it is left.
            OSError: it cannot be written for another reason; nothing of it is left.
        """
        if (known := self._known(identity)) is not None:
            return _compared(known, content)
        self._check_room(len(content))
        temporary = self.folder / MAKING / uuid.uuid4().hex
        try:
            write_to_disk(temporary, content)
            with self._lock:
                # Another association may have brought it at the same time.
                if (known := self._known(identity)) is not None:
                    return _compared(known, content)
                study = self._open_for_arrival(identity.study)
                temporary.rename(study.folder / f"{identity.name}{SUFFIX}")
                if study.folder.parent.name == INCOMING:
                    self._arrived[study.name] = time.monotonic()
                folder = os.open(study.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno in FULL:
                raise OutOfRoomError("the spool's disk is full") from None
            raise
        finally:
            temporary.unlink(missing_ok=True)
        return Stored.NEW

    def _known(self, identity: Identity) -> Path | None:
        """Where an instance is that came before, or was before it was cleaned up."""
        with self._lock:
            study = self.find(identity.study)
            there = study is not None and study.has(identity.name)
            return study.folder / f"{identity.name}{SUFFIX}" if study and there else None

    def _check_room(self, size: int) -> None:
        if shutil.disk_usage(self.folder).free < self.reserve + size:
            raise OutOfRoomError("the spool's disk is as good as full (--spool-reserve-mb)")

    def _open_for_arrival(self, name: str) -> SpooledStudy:
        """The folder that an image goes to; what was answered is to be scored again."""
        study = self.find(name)
        if study is None:
            folder = self.folder / INCOMING / name
            folder.mkdir(mode=PRIVATE_FOLDER)
            fsync_folder(folder.parent)
            return SpooledStudy(folder)
        # What is being sent is looked at when that has ended (`release`).
        answered = study.folder.parent.name in (OUTBOX, DONE)
        return self._move(study, INCOMING) if answered and name not in self._claimed else study

    def find(self, name: str) -> SpooledStudy | None:
        """A study, wherever it lies."""
        for state in STATES:
            folder = self.folder / state / name
            if folder.is_dir():
                return SpooledStudy(folder)
        return None

    def _move(self, study: SpooledStudy, state: str) -> SpooledStudy:
        target = self.folder / state / study.name
        study.folder.rename(target)
        fsync_folder(target.parent)
        fsync_folder(study.folder.parent)
        if state == INCOMING:
            self._arrived[study.name] = time.monotonic()
        else:
            self._arrived.pop(study.name, None)
        return SpooledStudy(target)

    def studies(self, state: str) -> list[SpooledStudy]:
        """The studies in one of the states."""
        return [SpooledStudy(folder) for folder in sorted((self.folder / state).iterdir())]

    def claim_quiet(self, seconds: float) -> SpooledStudy | None:
        """The study that has waited longest, if no image of it came for so long; None: no such one.

        Until `release`, it stays where it is.
        """
        with self._lock:
            free = [(when, name) for name, when in self._arrived.items() if not self._busy(name)]
            when, name = min(free, default=(0.0, ""))
            if not name or time.monotonic() - when < seconds:
                return None
            self._claimed.add(name)
            return SpooledStudy(self.folder / INCOMING / name)

    def claim_answered(self, study: SpooledStudy) -> bool:
        """Keep a study in the outbox until `release`; whether it could be had."""
        with self._lock:
            there = study.folder.is_dir() and not self._busy(study.name)
            if there:
                self._claimed.add(study.name)
            return there

    def _busy(self, name: str) -> bool:
        return name in self._claimed

    def new_folder(self) -> Path:
        """A folder for the results of a study, which `commit` takes."""
        folder = self.folder / MAKING / uuid.uuid4().hex
        folder.mkdir(mode=PRIVATE_FOLDER)
        return folder

    def commit(self, study: SpooledStudy, names: set[str], made: Path) -> bool:
        """Make the results of a claimed study appear at once; False: more images came meanwhile.

        Args:
            study: of which the results are.
            names: of all its images, as they were when they were read.
            made: the folder with the results; gone afterwards.
        """
        try:
            put_on_disk(made)
            with self._lock:
                if study.names() != names:
                    return False
                shutil.rmtree(study.results, ignore_errors=True)
                made.rename(study.results)
                fsync_folder(study.folder)
                self._move(study, OUTBOX).remove_older_results()
                return True
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def refuse(self, study: SpooledStudy, why: str) -> None:
        """Put a claimed study aside, and say why; nothing of it is lost."""
        with self._lock:
            study.note_refusal(why)
            self._move(study, REFUSED)

    def release(self, name: str, *, finished: bool = False) -> None:
        """Give a claimed study free; it is done if it is `finished` and no image came meanwhile."""
        with self._lock:
            self._claimed.discard(name)
            study = self.find(name)
            if study is None or study.folder.parent.name != OUTBOX:
                return
            if not study.answered:
                self._move(study, INCOMING)
            elif finished:
                self._move(study, DONE)

    def delay(self, study: SpooledStudy) -> None:
        """Let others come first, and this one be tried again when it has been quiet once more."""
        with self._lock:
            if study.name in self._arrived:
                self._arrived[study.name] = time.monotonic()

    def retry_refused(self) -> int:
        """Let all that was put aside be scored again; how many studies these are."""
        with self._lock:
            for study in (found := self.studies(REFUSED)):
                study.forget_refusal()
                self._move(study, INCOMING)
            return len(found)

    def clean(self, seconds: float) -> int:
        """Remove the images of studies that were done so long ago; how many studies these are."""
        count = 0
        for study in self.studies(DONE):
            with self._lock:
                there = study.folder.is_dir() and study.answered
                if there and time.time() - study.finished >= seconds:
                    study.clean()
                    count += 1
        return count

    def counts(self) -> dict[str, int]:
        """How many studies are in each state."""
        return {state: len(self.studies(state)) for state in STATES}

    def _recover(self) -> None:
        """Finish what a kill interrupted: half-written files go, half-made moves are made."""
        for left in (self.folder / MAKING).iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        now = time.time()
        for study in self.studies(INCOMING):
            if not study.names():  # killed before its first image was in there
                shutil.rmtree(study.folder)
                continue
            if study.answered:  # as it was being moved
                self._move(study, OUTBOX)
                continue
            files = study.files()
            age = now - max((path.stat().st_mtime for path in files), default=now)
            self._arrived[study.name] = time.monotonic() - max(age, 0)
        for study in self.studies(OUTBOX):
            if not study.answered:  # an image came while it was being sent
                self._move(study, INCOMING)


def _compared(known: Path, content: bytes) -> Stored:
    """What an instance is that came before."""
    try:
        same = known.stat().st_size == len(content) and known.read_bytes() == content
    except FileNotFoundError:  # moved to another state, or cleaned up
        return Stored.AGAIN
    return Stored.AGAIN if same else Stored.OTHER


@contextmanager
def open_spool(folder: Path, reserve: int = 0) -> Iterator[Spool]:
    """A spool while the block runs, made if it is not there.

    Args:
        folder: that nothing else is in.
        reserve: bytes of the disk that are kept free of what arrives, for results.

    Raises:
        DataError: another process has it.
    """
    with locked(folder, "listen", "name another spool (--spool)"):
        yield Spool(folder, reserve)
