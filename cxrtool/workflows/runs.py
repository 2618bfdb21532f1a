"""`runs`: which runs there are, how far each came and how well it scored. Nothing is imported that
takes time, and nothing is written."""

import csv
import io
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cxrtool.core.config import PROBE_ONLY
from cxrtool.core.errors import CxrToolError
from cxrtool.core.files import read_text
from cxrtool.core.json_files import JsonResult, read_json
from cxrtool.core.locks import is_locked
from cxrtool.core.runs import RunFolder, finished_at, run_folders, trials_among
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.clear_runs import size_of, spare_parts

FINISHED, UNFINISHED, TRAINING, BROKEN = "finished", "unfinished", "training", "broken"
CANNOT_BE_READ = (
    *(CxrToolError, OSError, csv.Error, RecursionError),
    *(ArithmeticError, LookupError, TypeError, ValueError),
)
"""All that a damaged or edited file can raise."""

VALIDATIONS = "validations"
Reader = Callable[[Path, dict[str, Any]], dict[str, Any]]
"""Makes fields of a file, given those that are known already."""


@dataclass(frozen=True, kw_only=True)
class ListedRun(JsonResult):
    """What a run's small files say of it; None where they do not."""

    run: str
    study: str | None = None
    """The search that it is a trial of."""
    state: str
    """`finished`: with a model; `unfinished`: without, and `train --resume` resumes it; `training`:
    at work now; `broken`: a file that it needs is missing or cannot be read."""
    problems: tuple[str, ...] = ()
    """Why it is broken."""
    recipe: str | None = None
    """None also for settings of the user's own, until the run is finished."""
    arch: str | None = None
    uncertainty: str | None = None
    blank: str | None = None
    fold: int | None = None
    epochs: int | None = None
    """Whole ones, done."""
    epochs_asked: int | None = None
    fitted: bool = False
    """Whether its epochs are fits of the last layer to features, of which no number is asked."""
    best_epoch: int | None = None
    valid_mean_auroc: float | None = None
    """Of the best epoch."""
    test_mean_auroc: float | None = None
    written: datetime
    """When training last wrote to it."""
    bytes: int
    """Of the disk."""
    spare_bytes: int = 0
    """Of these, what `runs slim` removes."""

    @property
    def policy(self) -> str | None:
        """What becomes of uncertain labels, and of blank ones where they are not zeros."""
        if self.uncertainty is None or self.blank in (None, "zeros"):
            return self.uncertainty
        return f"{self.uncertainty}, blank {self.blank}"


def list_runs(workspace: Workspace) -> list[ListedRun]:
    """All runs of a workspace, the one that training wrote to last at the end.

    So the last finished one that is no trial is the run that other commands take where none is
    named. A run that cannot be read is `broken`: no file's content raises anything.
    """
    dated = [(_written(run), run.name, run) for run in run_folders(workspace.runs)]
    # One that has no time went since it was found: a training that failed leaves nothing.
    found = sorted((written, name, run) for written, name, run in dated if written is not None)
    trials = trials_among(run.path for _, _, run in found)
    return [_read_run(run, written, trials.get(name)) for written, name, run in found]


def _written(run: RunFolder) -> int | None:
    """When training last wrote to a run, in nanoseconds: as `find_run` and `--resume last` do."""
    with suppress(OSError):
        if run.finished:
            return int(finished_at(run) * 1e9)
    for path in (run.checkpoint, run.history, run.config, run.path):
        with suppress(OSError):
            return path.stat().st_mtime_ns
    return None


def _read_run(run: RunFolder, written: int, study: str | None) -> ListedRun:
    finished = _seen(run.model.is_file)
    readers: list[tuple[Path, Reader]] = [(run.config, _from_config)]
    if not (never_began := _seen(lambda: run.never_began)):
        readers.append((run.environment, _nothing))
    if finished:
        # After the settings: its name of the recipe wins, where it has one.
        readers += [(run.model, _from_model), (run.metrics("test"), _from_scores)]
        readers += [(run.labels, _nothing), (run.thresholds, _nothing)]
    else:
        readers += [(run.history, _from_history)]
    known: dict[str, Any] = {}
    problems = []
    for path, read in readers:
        try:
            known |= read(path, known)
        except CANNOT_BE_READ as error:
            problems.append(_problem(run, path, error))
    problems += _missing(run, finished, never_began)
    state = BROKEN if problems else FINISHED if finished else UNFINISHED
    if is_locked(run.checkpoints):
        state, problems = TRAINING, []  # it may be writing what is missing
    known.pop(VALIDATIONS, None)
    return ListedRun(
        run=run.name,
        study=study,
        state=state,
        problems=tuple(problems),
        written=datetime.fromtimestamp(written / 1e9).astimezone(),
        bytes=size_of(run.path),
        spare_bytes=sum(map(size_of, spare_parts(run))) if state == FINISHED else 0,
        **known,
    )


def _missing(run: RunFolder, finished: bool, never_began: bool) -> list[str]:
    """The large files that are not there; they are not read."""
    if finished:
        needed = (run.weights, run.cohort if _seen(run.cohort.is_file) else run.patients)
        return [f"{path.name} is missing" for path in needed if not _seen(path.is_file)]
    if _seen(run.checkpoint.is_file) or never_began:
        return []  # `train --resume` begins what never did
    checkpoint = run.checkpoint.relative_to(run.path).as_posix()
    return [f"neither {run.model.name} nor {checkpoint} is there: train again"]


def _seen(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError:  # a folder that is closed to this user
        return False


def _nothing(path: Path, _: dict[str, Any]) -> dict[str, Any]:
    read_json(path)
    return {}


def _from_config(path: Path, _: dict[str, Any]) -> dict[str, Any]:
    from cxrtool.core.yaml_files import read_yaml

    settings = read_yaml(path)
    recipe, fold = settings.get("recipe"), settings.get("fold")
    return {
        "recipe": None if recipe is None else str(recipe),
        "arch": str(settings["arch"]),
        "uncertainty": str(settings["uncertainty"]),
        "blank": str(settings.get("blank", "zeros")),
        "fold": None if fold is None else int(fold),
        "epochs_asked": int(settings["epochs"]),
        "fitted": settings.get("probe") == PROBE_ONLY,
        VALIDATIONS: int(settings.get(VALIDATIONS, 1)),
    }


def _from_model(path: Path, _: dict[str, Any]) -> dict[str, Any]:
    model = read_json(path)
    recipe = {"recipe": str(model["recipe"])} if model.get("recipe") else {}
    return {
        **recipe,
        "epochs": int(model["epochs"]),
        "best_epoch": int(model["best_epoch"]),
        "valid_mean_auroc": _score(model["valid_mean_auroc"]),
    }


def _from_history(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """How far a run came that is not finished: none, where a validation never came."""
    if not path.exists():
        return {"epochs": 0}
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    scores = [(_score(row["valid_mean_auroc"] or "nan"), int(row["epoch"])) for row in rows]
    defined = [(score, epoch) for score, epoch in scores if score is not None]
    best, best_epoch = max(defined, key=lambda one: one[0], default=(None, None))
    found: dict[str, Any] = {"best_epoch": best_epoch, "valid_mean_auroc": best}
    if VALIDATIONS in settings:
        found["epochs"] = len(rows) // settings[VALIDATIONS]
    return found


def _from_scores(path: Path, _: dict[str, Any]) -> dict[str, Any]:
    if not path.exists():
        return {}
    return {"test_mean_auroc": _score(read_json(path)["mean_auroc"])}


def _score(value: Any) -> float | None:
    """A score as JSON can hold it: None where it is not defined."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def _problem(run: RunFolder, path: Path, error: Exception) -> str:
    """An error in one line, without the path of the run's folder."""
    name = path.relative_to(run.path).as_posix()
    if isinstance(error, CxrToolError):
        text = str(error).replace(str(path), name, 1)
    elif isinstance(error, KeyError):
        text = f"{name} lacks {error}"
    else:
        reason = error.strerror if isinstance(error, OSError) else None
        text = f"{name} cannot be read: {reason or error}"
    return " ".join(text.split())
