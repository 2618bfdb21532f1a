"""One study in a spool: its images as they came, what became of them, and to whom that was sent.

A study is one folder, and where the folder lies says what it waits for (`spool`).
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cxrtool.core.files import fsync, fsync_folder
from cxrtool.pacs.identity import DIGITS

SUFFIX = ".dcm"
RESULTS = "results-"
"""Begins the name of the folder with the results of a round; then which images these are of."""
CLEANED = "cleaned.txt"
"""Names of images that were answered long ago and removed, a line each."""
WHY = "refused.json"
DEATHS = "deaths.json"
MOST_DEATHS = 2
"""So often scoring a study may fail before it is given up."""
SENT = "sent.json"
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How far the results of a round are with one destination."""

    attempts: int = 0
    state: str = "waiting"
    """Or `delivered`, or `refused`."""
    why: str = ""
    """What the last attempt failed of; nothing of the patient."""
    since: float = 0
    """When the first attempt was made, in seconds since 1970."""


DELIVERED, REFUSED = "delivered", "refused"


@dataclass(frozen=True)
class SpooledStudy:
    """A study's folder in a spool."""

    folder: Path

    @property
    def name(self) -> str:
        """The digest of its UID."""
        return self.folder.name

    def files(self) -> list[Path]:
        """Its images that are there, sorted."""
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if path.is_file())

    def cleaned(self) -> set[str]:
        """The names of images that were there."""
        path = self.folder / CLEANED
        return set(path.read_text().split()) if path.is_file() else set()

    def names(self) -> set[str]:
        """The names of all images that came."""
        return {path.stem for path in self.files()} | self.cleaned()

    def has(self, name: str) -> bool:
        """Whether an image came already."""
        return (self.folder / f"{name}{SUFFIX}").is_file() or name in self.cleaned()

    @property
    def results(self) -> Path:
        """Where the results of just these images are, or will be: one folder a round."""
        return self.folder / f"{RESULTS}{_round(self.names())}"

    @property
    def answered(self) -> bool:
        """Whether all its images have been scored together."""
        return self.results.is_dir()

    def result_files(self) -> list[Path]:
        """What is to be sent, sorted."""
        return sorted(self.results.glob(f"*{SUFFIX}"))

    def remove_older_results(self) -> None:
        """Remove the results of earlier rounds, which had fewer images."""
        for folder in self.folder.glob(f"{RESULTS}*"):
            if folder != self.results:
                shutil.rmtree(folder, ignore_errors=True)

    def sendings(self) -> dict[str, Sending]:
        """How far this round is, by destination."""
        values = read_values(self.results / SENT)
        return {name: Sending(**one) for name, one in values.items()}

    def note_sending(self, destination: str, state: str, why: str = "") -> Sending:
        """Count an attempt, and what came of it, so that it is known after a restart."""
        known = self.sendings()
        before = known.get(destination, Sending(since=time.time()))
        now = replace(before, attempts=before.attempts + 1, state=state, why=why)
        values = {name: asdict(one) for name, one in (known | {destination: now}).items()}
        write_values(self.results / SENT, values)
        return now

    def note_death(self, why: str) -> int:
        """Count that scoring it failed, and of what; how often it has."""
        deaths = int(read_values(self.folder / DEATHS).get("deaths", 0)) + 1
        write_values(self.folder / DEATHS, {"deaths": deaths, "why": why})
        return deaths

    @property
    def given_up(self) -> str:
        """Why it is not to be scored any more; empty while it is."""
        values = read_values(self.folder / DEATHS)
        return str(values["why"]) if values.get("deaths", 0) >= MOST_DEATHS else ""

    def note_refusal(self, why: str) -> None:
        """Say why it was put aside."""
        write_values(self.folder / WHY, {"why": why, "when": time.time()})

    def forget_refusal(self) -> None:
        """Take it as a study that just came."""
        for name in (WHY, DEATHS):
            (self.folder / name).unlink(missing_ok=True)
        for folder in self.folder.glob(f"{RESULTS}*"):
            shutil.rmtree(folder)

    @property
    def finished(self) -> float:
        """When its results were last sent, in seconds since 1970."""
        for path in (self.results / SENT, self.results, self.folder):
            if path.exists():
                return path.stat().st_mtime
        return 0

    def clean(self) -> int:
        """Remove images and results, and keep what tells that an image came; how many went."""
        files = self.files()
        write_whole(self.folder / CLEANED, "\n".join(sorted(self.names())).encode())
        for path in files:
            path.unlink(missing_ok=True)
        for folder in self.folder.glob(f"{RESULTS}*"):
            shutil.rmtree(folder, ignore_errors=True)
        return len(files)


def _round(names: Collection[str]) -> str:
    """Which images a round is of, whatever order they came in."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:DIGITS]


def read_values(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where there is none, or none that can be read."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_values(path: Path, values: Mapping[str, object]) -> None:
    """A small JSON object, whole or not at all, and on the disk."""
    write_whole(path, json.dumps(values, indent=1).encode())


def write_whole(path: Path, content: bytes) -> None:
    """A file of this user's alone, whole or not at all, and on the disk.

    Raises:
        OSError: it could not be written; nothing of it is left.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        write_to_disk(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_to_disk(path: Path, content: bytes) -> None:
    """A new file of this user's alone, of which all is on the disk.

    Raises:
        OSError: it could not be written; nothing of it is left.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(number, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def put_on_disk(folder: Path) -> None:
    """Wait until all that is in a folder is on the disk."""
    for path in folder.iterdir():
        path.chmod(PRIVATE_FILE)
        fsync(path)
    fsync_folder(folder)
