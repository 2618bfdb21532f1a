"""A run's folder in the making: who may have it, and what becomes of the run that it replaces.

A kill at any moment leaves one of three: a folder that never began (`RunFolder.never_began`), which
the next training of that name takes; a run with a checkpoint; or, with --force, the older run put
aside under a hidden name, which `put_back` gives its own name again unless the new one has begun.
"""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.locks import locked
from cxrtool.core.runs import RunFolder
from cxrtool.core.unicode_forms import normal, on_disk
from cxrtool.core.workspace import is_folder_name


def check_new_name(runs: Path, name: str | None, *, force: bool) -> None:
    """Refuse a name that no new run can have.

    Raises:
        UsageError: it is not a plain folder name.
        DataError: it is taken, and `force` is not given.
    """
    if name is None:
        return
    if name == "last" or not is_folder_name(name):
        raise UsageError(f"--name {name!r}: give a plain folder name")
    if _taken(RunFolder(on_disk(runs / name))) and not force:
        raise DataError(f"run {name} exists in {runs}: --force replaces it, or pass another --name")


def _taken(run: RunFolder) -> bool:
    """Whether a folder holds anything that a new run must not touch."""
    return run.path.exists() and not run.never_began


class OpenRun:
    """A run that is being trained: its folder, and an older run that it replaces.

    `again`: a training of this name was killed before its first checkpoint.
    """

    def __init__(self, run: RunFolder, older: Path | None = None, *, again: bool = False) -> None:
        self.run, self.older, self.again = run, older, again
        self.settled = False

    def settle(self) -> None:
        """The run stays, whatever happens from now on; what it replaces goes."""
        if self.settled:
            return
        self.settled = True
        for path in self.run.put_aside:
            shutil.rmtree(path, ignore_errors=True)

    def undo(self) -> None:
        """Leave everything as it was before the run began."""
        shutil.rmtree(self.run.path, ignore_errors=True)
        if self.older is not None:
            self.older.rename(self.run.path)


@dataclass(frozen=True)
class Recovered:
    """What was found of runs that a killed training was to replace."""

    back: list[str]
    """Runs that have their names again: what was to replace them never began."""
    aside: list[tuple[str, Path]]
    """Runs that are still hidden, by name and place: what was to replace them can be resumed."""


def put_back(runs: Path) -> Recovered:
    """Give runs their names again whose replacements were killed before they began."""
    found = Recovered([], [])
    for hidden in sorted(runs.glob(".*-replaced-*")):
        run = RunFolder(hidden.with_name(hidden.name[1:].rpartition("-replaced-")[0]))
        with suppress(DataError, OSError):
            if run.path.exists():
                with locked(run.checkpoints, "training"):
                    pass  # else it is at work, and settles this itself
            if _taken(run):
                found.aside.append((run.name, hidden))
                continue
            if run.path.exists():
                shutil.rmtree(run.path)
            hidden.rename(run.path)
            found.back.append(run.name)
    return found


@contextmanager
def new_run(runs: Path, name: str | None, default: str, *, force: bool) -> Iterator[OpenRun]:
    """A new run's folder: `name`, or the first of default, default-2, ... that is free.

    An older run that `force` replaces is put aside until the new one settles; if training fails
    before that, the older run is there again as it was, and nothing is left of the new one.

    Raises:
        UsageError: the name is not a plain folder name.
        DataError: it is taken, and `force` is not given.
    """
    runs.mkdir(parents=True, exist_ok=True)
    stack = ExitStack()
    made = _claim(runs, name, default, stack, force=force)
    try:
        with stack:
            yield made
    except BaseException:
        if not made.settled:
            made.undo()
        raise


def _claim(runs: Path, name: str | None, default: str, stack: ExitStack, *, force: bool) -> OpenRun:
    """A run's folder, locked until `stack` closes."""
    check_new_name(runs, name, force=force)
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        # An older one of this name may be written in the other Unicode form.
        run = RunFolder(on_disk(runs / normal(name or f"{default}{suffix}")))
        older = None
        if _taken(run):
            if name is None:
                continue
            older = _make_room(run)
        again = True
        with suppress(FileExistsError):
            run.path.mkdir()
            again = False
        try:
            stack.enter_context(locked(run.checkpoints, "training", "name another run"))
        except DataError:
            if name is not None:
                raise
            continue
        if not _taken(run):
            return OpenRun(run, older, again=again)
        # Another training has had the name since it was looked at, and is through.
        stack.close()
        check_new_name(runs, name, force=False)
    raise AssertionError("counting does not end")


def _make_room(run: RunFolder) -> Path:
    """Put a run aside that is to be replaced; where it is now."""
    with locked(run.checkpoints, "training", "name another run"):
        pass
    hidden = run.put_aside
    if hidden and not run.finished:
        # It was to replace that one itself, and was killed before its first step was saved.
        shutil.rmtree(run.path)
        return hidden[0]
    return run.hide()


@contextmanager
def resumed_run(run: RunFolder) -> Iterator[OpenRun]:
    """The folder of a run that is resumed; no second training may be at work in it.

    Raises:
        DataError: another training is.
    """
    with locked(run.checkpoints, "training", "name another run"):
        opened = OpenRun(run, again=run.never_began)
        opened.settle()
        yield opened
