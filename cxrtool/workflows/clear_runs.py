"""`runs rm` and `runs slim`: what runs take of the disk, and how to free it."""

import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.errors import RunError, UsageError, did_you_mean, first_few, near_names
from cxrtool.core.files import left_behind
from cxrtool.core.json_files import JsonResult
from cxrtool.core.locks import locked
from cxrtool.core.runs import RunFolder, run_folders
from cxrtool.core.unicode_forms import on_disk
from cxrtool.core.workspace import Workspace

REMOVE, SLIM, PACK = "rm", "slim", "pack"
OLDER = re.compile(r"\.(?P<stem>.+)-[a-z0-9_]{8}(?P<suffix>\.\w+)?")
"""The temporary files of version 0.1: `.model-abcdefgh.safetensors` beside model.safetensors."""


@dataclass(frozen=True)
class ClearResult(JsonResult):
    """What was removed."""

    action: str
    freed: dict[str, int]
    """Bytes of each run of which something was removed."""
    left: tuple[str, ...] = ()
    """Runs that are not finished, and were left as they are."""


def remove_runs(workspace: Workspace, names: Sequence[str]) -> ClearResult:
    """Remove runs, whole; all are looked for before the first one goes.

    Raises:
        UsageError: none is named.
        RunError: no run by one of the names.
        DataError: one is being trained.
    """
    if not names:
        raise UsageError("runs rm: name the runs to remove, such as `cxrtool runs rm NAME`")
    runs = _named(workspace, names)
    freed = {run.name: size_of(run.path) for run in runs}
    for run in runs:
        _remove(run)
    return ClearResult(REMOVE, freed)


def slim_runs(workspace: Workspace, names: Sequence[str]) -> ClearResult:
    """Remove from finished runs what scoring does not need, or makes again: `spare_parts`.

    Args:
        workspace: whose runs they are.
        names: of the runs; none: all of them.

    Raises:
        RunError: no run by one of the names.
        DataError: one is being trained.
    """
    runs = _named(workspace, names) if names else run_folders(workspace.runs)
    freed: dict[str, int] = {}
    left = []
    for run in runs:
        if not run.finished:
            left.append(run.name)
            continue
        with locked(run.checkpoints, "training", "wait until it has ended"):
            parts = spare_parts(run)
            size = sum(size_of(part) for part in parts)
            for part in parts:
                _empty(part)
        for folder in parts:
            with suppress(OSError):
                folder.rmdir()
        if size:
            freed[run.name] = size
    return ClearResult(SLIM, freed, tuple(left))


def spare_parts(run: RunFolder) -> list[Path]:
    """What a finished run does without: its checkpoint, which only more epochs need, graphs, which
    are made again when needed, and what writers that were killed left behind."""
    parts = [run.checkpoints, run.graphs]
    folders = [run.path, run.predictions("test").parent, run.metrics("test").parent]
    older = [path for folder in folders for path in folder.glob(".*-*") if _is_older(path)]
    left = [path for folder in folders for path in left_behind(folder)]
    return [*(part for part in parts if part.is_dir()), *older, *left]


def _is_older(path: Path) -> bool:
    """Whether version 0.1 left a file; a hidden one of the user's has no result beside it."""
    found = OLDER.fullmatch(path.name)
    result = path.with_name(f"{found['stem']}{found['suffix'] or ''}") if found else None
    return result is not None and result.is_file() and path.is_file()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder and below; links count as themselves."""
    total = 0
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in files or [path]:
        with suppress(OSError):  # it went meanwhile
            total += 0 if file.is_dir() else file.lstat().st_size
    return total


def _named(workspace: Workspace, names: Sequence[str]) -> list[RunFolder]:
    """The runs by these names, or by paths into this workspace, each once."""
    there = [run.name for run in run_folders(workspace.runs)]
    found: dict[str, RunFolder] = {}
    missing = []
    for given in names:
        name = Path(given).name
        inside = given == name or Path(given).resolve().parent == workspace.runs.resolve()
        run = RunFolder(on_disk(workspace.runs / name))
        if inside and run.name in there:
            found[run.name] = run
        else:
            missing.append(f"{given!r}{did_you_mean(near_names(given, there))}")
    if missing:
        are = f"there are {first_few(there, 8)}" if there else "there is none"
        raise RunError(f"no run {', '.join(missing)} in {workspace.runs}: {are}")
    return list(found.values())


def _remove(run: RunFolder) -> None:
    if run.path.is_symlink():
        run.path.unlink()  # what it leads to is not ours
        return
    # One step for those who look: a kill leaves a hidden folder, and no half of a run.
    aside = run.path.with_name(f".{run.name}-removed-{time.time_ns()}")
    with locked(run.checkpoints, "training", "wait until it has ended"):
        run.path.rename(aside)
    for leftover in run.path.parent.glob(".*-removed-*"):
        shutil.rmtree(leftover)


def _empty(part: Path) -> None:
    """Remove a file, or what a folder holds but for a lock that is held."""
    if not part.is_dir():
        part.unlink(missing_ok=True)
        return
    for path in part.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink(missing_ok=True)
