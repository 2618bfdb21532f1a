"""A pack: what of a run may leave the house, as a folder or a zip, and read back file by file.

`pack.json` names every file with its SHA-256. A pack stands among a workspace's runs once it was
named: all that takes a run takes it, and what is made of it is never in the pack itself.
"""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Protocol

from pydantic import AfterValidator, Field

from cxrtool.core.console import Reporter
from cxrtool.core.errors import RunError, first_few
from cxrtool.core.files import open_regular
from cxrtool.core.json_files import FORMAT, read_json, seal_of, write_json
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import Count, Record, Sha256, Word, Words, checked
from cxrtool.core.workspace import is_folder_name

MANIFEST = "pack.json"
ZIP = ".zip"
SPLITS = ("train", "valid", "test", "expert")
NAMES = (
    *("README.md", "config.yaml", "environment.json", "labels.json", "thresholds.json"),
    *("model.json", "model.safetensors", "cohort.json"),
    *(f"metrics/{split}.json" for split in SPLITS),
)
"""All files that a pack may hold beside its manifest; nothing else is written from one."""
MOST_SMALL, MOST_WEIGHTS = 64 * 2**20, 16 * 2**30
"""Bytes of a pack's files that are read, however small a zip says that they are."""
CHUNK = 2**20
AGAIN = "get the pack again from whoever made it"


def _folder_name(name: str) -> str:
    if not is_folder_name(name):
        raise ValueError("it is not a plain name")
    return name


def _known_names(files: dict[str, str]) -> dict[str, str]:
    if strange := [name for name in files if name not in NAMES]:
        raise ValueError(f"{first_few(strange)} is no file of a pack")
    return files


class PackFacts(Record):
    """pack.json: whose pack it is, and the SHA-256 of each of its files."""

    INSTEAD = AGAIN
    cxrtool: Word
    run: Annotated[Word, AfterValidator(_folder_name)]
    sha256: Annotated[dict[Word, Sha256], AfterValidator(_known_names), Field(max_length=100)]
    sealed: Sha256
    """`json_files.seal_of` all the rest."""

    @property
    def name(self) -> str:
        """The name of the run that stands for the pack in a workspace."""
        return f"pack-{self.run}-{self.sealed[:8]}"


class RunCohort(Record):
    """cohort.json, of a pack: of whom the run was trained and chosen on, how many there are."""

    train: Count
    valid: Count
    both: Count
    """Those who are in both."""
    collections: Words
    """The published data sets that they are of; none: its maker's own data, or drawings."""
    shifted: Words | None
    """The labels that weighted sampling drew clearly more or less often; None: not known."""


class _Opened(Protocol):
    """A pack's files, wherever they are."""

    def names(self) -> list[str]:
        """All of them by their paths in the pack."""

    def open(self, name: str) -> IO[bytes]:
        """One of them, to read from."""


def is_pack(given: str) -> bool:
    """Whether a path that a user gives for a run is that of a pack."""
    path = Path(given).expanduser()
    return (path / MANIFEST).is_file() or (given.lower().endswith(ZIP) and path.is_file())


def unpack(runs: Path, given: str, reporter: Reporter) -> RunFolder:
    """The run that stands for a pack among a workspace's runs; made where it is not there yet.

    Raises:
        RunError: the pack was altered or is none: the message names the file.
    """
    path = Path(given).expanduser()
    with _opened(path) as pack:
        facts = _facts(pack, path)
        _refuse_others(pack, facts, path)
        run = RunFolder(runs / facts.name)
        if run.path.exists():
            for name in facts.sha256:
                _copy(pack, name, facts, path, None)
            _refuse_another(run, facts, given)
            return run
        hidden = run.path.with_name(f".{run.name}-in-the-making")
        shutil.rmtree(hidden, ignore_errors=True)
        try:
            for name in facts.sha256:
                _copy(pack, name, facts, path, hidden / name)
            write_json(hidden / MANIFEST, facts.model_dump())
            hidden.rename(run.path)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    reporter.note(f"{given} is kept as run {run.name} in {runs}: that name stands for it from now")
    return run


def _refuse_another(run: RunFolder, facts: PackFacts, given: str) -> None:
    there = run.path / MANIFEST
    if not there.is_file() or read_json(there).get("sealed") != facts.sealed:
        raise RunError(f"{run.path} is not {given}, but a run of this name: rename it")


class _Folder:
    """A pack that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Its files, and links to whatever."""
        found = (one for one in self.path.rglob("*") if one.is_symlink() or not one.is_dir())
        return [one.relative_to(self.path).as_posix() for one in found]

    def open(self, name: str) -> IO[bytes]:
        """A file in it; none that a link leads to."""
        if (self.path / name).is_symlink():
            raise OSError(0, "it is a link")
        return open_regular(self.path / name)


class _Zip:
    """A pack that is a zip: at its top, or in one folder."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        every = [one for one in file.namelist() if not one.endswith("/")]
        tops = [one for one in every if PurePosixPath(one).name == MANIFEST]
        self.top = min(tops, key=len)[: -len(MANIFEST)] if tops else ""
        self._names = [self._inside(one) for one in every]

    def _inside(self, name: str) -> str:
        return name[len(self.top) :] if name.startswith(self.top) else f"../{name}"

    def names(self) -> list[str]:
        """What it holds; what is beside the pack in it begins with `../`."""
        return self._names

    def open(self, name: str) -> IO[bytes]:
        """A file in it."""
        return self.file.open(f"{self.top}{name}")


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        file = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({error}): {AGAIN}") from None
    with file:
        yield _Zip(file)


def _facts(pack: _Opened, path: Path) -> PackFacts:
    """What pack.json says, if it is as it was written."""
    where = f"{path}: {MANIFEST}"
    if MANIFEST not in pack.names():
        raise RunError(f"{path} is no pack ({MANIFEST} is missing): `cxrtool runs pack` makes one")
    try:
        values = json.loads(b"".join(_read(pack, MANIFEST, path, MOST_SMALL)))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} cannot be read ({error}): {AGAIN}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise RunError(f"{where} is of another version of cxrtool: use the one that wrote it")
    facts = checked(values, PackFacts, where)
    if facts.sealed != seal_of(values):
        raise RunError(f"{where} was edited since the pack was made (`sealed`): {AGAIN}")
    return facts


def _refuse_others(pack: _Opened, facts: PackFacts, path: Path) -> None:
    """Refuse files that pack.json does not name, but for those that a desktop leaves anywhere."""
    every = pack.names()
    known = {MANIFEST, *facts.sha256}
    others = [
        name
        for name in every
        if name not in known and not re.fullmatch(r"(.*/)?\.[^/\\]*|(\.\./)?__MACOSX/.*", name)
    ]
    twice = sorted({name for name in known if every.count(name) > 1})
    if others or twice:
        what = f"{first_few(others)}: not in {MANIFEST}" if others else f"{first_few(twice)} twice"
        raise RunError(f"{path} was altered: it holds {what}. {AGAIN[0].upper()}{AGAIN[1:]}")
    if missing := [name for name in facts.sha256 if name not in every]:
        raise RunError(f"{path} is incomplete ({first_few(missing)} missing): {AGAIN}")


def _read(pack: _Opened, name: str, path: Path, most: int) -> Iterator[bytes]:
    """A file's bytes in chunks.

    Raises:
        RunError: it cannot be read, or is larger than `most`.
    """
    size = 0
    try:
        with pack.open(name) as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise RunError(
                        f"{path}: {name} is larger than the {most:,} bytes that are read: {AGAIN}"
                    )
                yield chunk
    # What a zip may be made of: a bad CRC, a method that is not known, a password.
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, ValueError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(f"{path}: {name} cannot be read ({reason}): {AGAIN}") from None


def _copy(pack: _Opened, name: str, facts: PackFacts, path: Path, to: Path | None) -> None:
    """Check a file against its SHA-256 and, if it is to go somewhere, copy it there.

    Raises:
        RunError: it is not as it was packed.
    """
    digest = hashlib.sha256()
    most = MOST_WEIGHTS if name.endswith(".safetensors") else MOST_SMALL
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") if to is not None else nullcontext() as target:
        for chunk in _read(pack, name, path, most):
            digest.update(chunk)
            if target is not None:
                target.write(chunk)
    if digest.hexdigest() != facts.sha256[name]:
        raise RunError(
            f"{path}: {name} is not the file that was packed (its SHA-256 differs from the one in "
            f"{MANIFEST}): {AGAIN}"
        )
