"""What a training began from, as its run may keep it: a file's folders can name a person."""

from pathlib import Path, PurePath, PureWindowsPath

from cxrtool.core.config import IMAGENET, NO_WEIGHTS
from cxrtool.core.errors import RunError, WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.runs import find_run, named_run
from cxrtool.core.start_cards import HUB, XRV, find_start

MARK = "@sha256:"


def file_of(weights: str, runs: Path) -> Path | None:
    """The file that `--weights` names; None where it is a run's name, or names no file.

    A run comes before a file of its name in the folder where the user is, as `find_run` has it;
    published weights come before both. Before a file of torchxrayvision's may stand `xrv:`.
    """
    if is_published(weights):
        return None
    path = Path(weights.removeprefix(XRV)).expanduser()
    return path if path.is_file() and named_run(runs, weights) is None else None


def is_published(weights: str) -> bool:
    """Whether `--weights` names published weights, which stand for themselves anywhere."""
    return (
        weights in (IMAGENET, NO_WEIGHTS)
        or weights.startswith(HUB)
        or find_start(weights) is not None
    )


def recorded_start(weights: str, runs: Path) -> str:
    """`--weights` for a run's config.yaml, from which the training can be repeated.

    Returns:
        `FILE@sha256:...` of a file, `RUN@sha256:...` of a run of another workspace, the name of
        one of these runs, or what stands for itself.

    Raises:
        RunError: neither a file nor a run.
    """
    if is_published(weights) or MARK in weights:
        return weights
    path = file_of(weights, runs)
    if path is not None:
        return f"{path.name}{MARK}{sha256(path)}"
    run = find_run(runs, weights)
    if run.path.parent.resolve() == runs.resolve():
        return run.name
    return f"{run.name}{MARK}{sha256(run.weights)}"


def is_recorded(recorded: str, weights: str, runs: Path) -> bool:
    """Whether `--weights` names what a run recorded."""
    try:
        return recorded_start(weights, runs) == recorded
    except (RunError, OSError):
        return False


def located_start(weights: str, runs: Path) -> str:
    """A path or a run's name for what was recorded, where it is here; anything else as it is.

    Raises:
        WeightsError: no file of that name in the current folder, and no run, has that SHA-256.
    """
    name, mark, digest = weights.rpartition(MARK)
    if not mark:
        return weights
    file, run = Path(name).absolute(), named_run(runs, name)
    if file.is_file() and sha256(file) == digest:
        return str(file)  # by its name alone it might be a run's
    if run is not None and run.weights.is_file() and sha256(run.weights) == digest:
        return run.name
    raise WeightsError(
        f"--weights {name}: neither this folder nor {runs} has it with the SHA-256 of the run "
        f"that began from it ({digest}).\n  Say where it is: --weights PATH/TO/{name}"
    )


def told_start(recorded: str) -> str:
    """What was recorded, in words for people."""
    name, mark, digest = recorded.rpartition(MARK)
    return f"{name} (SHA-256 {digest})" if mark else recorded


def without_folders(start: str) -> str:
    """A start as version 0.1 recorded it, a path or `run PATH`, without the folders."""
    if start.endswith(")") and (" (SHA-256 " in start or start.startswith("ImageNet weights of ")):
        return start  # of this version, which keeps no folder: what has a / is a published name
    kind = "run " if start.startswith("run ") else ""
    path = PureWindowsPath(start) if "\\" in start and "/" not in start else PurePath(start)
    return f"{kind}{path.name}" if "/" in start or "\\" in start else start
