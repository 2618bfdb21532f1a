"""`tune`: a manifest and its split to a study of trials. Selected on valid; test is never read."""

import shlex
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cxrtool.core.config import TuneConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import CxrToolError, RunError, StoppedError, counted
from cxrtool.core.json_files import plain
from cxrtool.core.runs import RunFolder
from cxrtool.core.signals import stop_requests
from cxrtool.core.workspace import Workspace, workspace_option
from cxrtool.search.setup import (
    Search,
    begin_study,
    forget_replaced,
    plan_search,
    put_back,
    selection,
    start_study,
    trials_asked,
)
from cxrtool.search.study import REASON, RUN, Study
from cxrtool.search.study_storage import open_storage
from cxrtool.search.sweep import search_by_sweep
from cxrtool.search.trials import TrialsTable, draw_study, write_study
from cxrtool.search.worker import Worker, run_proposed

WAIT = 1.0
"""Seconds between two looks at a study whose last trials others run."""
_FOR_PEOPLE = ("columns", "texts", "best_is_here")


@dataclass(frozen=True)
class TuneResult:
    """What a search came to."""

    study: str
    folder: Path
    backend: str
    trials: list[dict[str, Any]]
    """Each trial: `trial, state, valid_mean_auroc, best_epoch, seconds, run, reason, values`."""
    best: dict[str, Any] | None
    selected_on: str
    seconds: float
    written: tuple[Path, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    texts: list[list[str]] = field(default_factory=list)
    """The same as `trials`, as people are shown it."""
    best_is_here: bool = False
    """Whether the best trial's run is in this workspace, and not on another machine."""

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {key: plain(value) for key, value in vars(self).items() if key not in _FOR_PEOPLE}


def tune_model(
    config: TuneConfig,
    workspace: Workspace,
    *,
    seed: int,
    given: Collection[str] = (),
    reporter: Reporter = SILENT,
) -> TuneResult:
    """Search for the options with the best mean AUROC on valid, each trial a run of its own.

    Args:
        config: what is searched and how, and what all trials have in common.
        workspace: with a manifest and a split.
        seed: of the search and of each training.
        given: with `resume`, the fields of `config` that must not contradict the study.
        reporter: told how it goes.

    Raises:
        UsageError: a space or options that cannot be.
        DataError: no manifest or split, or a study by this name.
        RunError: the database does not answer, or the trials fail one after the other.
        StoppedError: Ctrl-C or SIGTERM asked for it; the study can be resumed.
    """
    started = time.monotonic()
    search = plan_search(config, workspace, seed=seed)
    with ExitStack() as stack:
        begin = partial(start_study, search=search, config=config, reporter=reporter)
        storage = stack.enter_context(open_storage(search.folder, config.storage, begin))
        study, search = begin_study(storage, search, config, given, reporter)
        config = replace(config, trials=trials_asked(study, config, given))
        search = replace(search, selected_on=selection(search))
        stop_asked = stack.enter_context(stop_requests())
        table = TrialsTable(study, search)
        reporter.note(
            f"study {search.folder.name}: {search.description}; "
            f"{counted(config.trials, 'trial')} in all; selected on {search.selected_on}; "
            "test is not read"
        )
        with reporter.searching() as display:
            worker = Worker(study, search, config, table, display, reporter, stop_asked, started)
            _train_trials(worker)
        if study.finished():
            forget_replaced(search.folder)
        written = write_study(study, search, table)
        if worker.stopped:
            raise StoppedError(
                f"stopped after {len(study.finished())} of {config.trials} trials; resume with "
                f"`{resume_command(search, config)}`"
            )
        with reporter.busy("drawing"):
            written += draw_study(study, search, reporter)
        if study.best() is None:
            _refuse_failures(study, search)
        return _result(study, search, table, written, started)


def _train_trials(worker: Worker) -> None:
    """Train one trial after the other; after an error, keep the study or remove it."""
    search = worker.search
    try:
        if search.backend == "wandb":
            search_by_sweep(worker)
        else:
            search_by_tpe(worker)
    except CxrToolError:
        _keep_or_remove(worker.study, search, worker.config, worker.reporter)
        raise


def _result(
    study: Study, search: Search, table: TrialsTable, written: Sequence[Path], started: float
) -> TuneResult:
    best = study.best()
    run = None if best is None else best.user_attrs.get(RUN)
    return TuneResult(
        study=search.folder.name,
        folder=search.folder.path,
        backend=search.backend,
        trials=table.rows(),
        best=None if best is None else table.row(best),
        selected_on=search.selected_on,
        seconds=time.monotonic() - started,
        written=tuple(written),
        columns=table.headings(),
        texts=table.texts(),
        best_is_here=run is not None and RunFolder(search.workspace.runs / run).finished,
    )


def _keep_or_remove(study: Study, search: Search, config: TuneConfig, reporter: Reporter) -> None:
    """After an error: say how to resume a study, or remove one of which nothing is worth it."""
    if _has_begun(study, search, config):
        reporter.note(
            f"study {search.folder.name} is kept: once that is mended, resume it with "
            f"`{resume_command(search, config)}`"
        )
    elif config.storage is None:
        # The name is free, or the older study's again.
        shutil.rmtree(search.folder.path, ignore_errors=True)
        put_back(search.folder)


def _has_begun(study: Study, search: Search, config: TuneConfig) -> bool:
    """Whether a search left something to resume: a trial that ended, or the run of one."""
    runs = [one.user_attrs[RUN] for one in study.trials if RUN in one.user_attrs]
    return (
        config.resume is not None
        or bool(study.finished())
        or any((search.workspace.runs / run).exists() for run in runs)
    )


def _refuse_failures(study: Study, search: Search) -> None:
    """Raise RunError where trials ended, and none of them well."""
    ended = study.finished()
    reasons = [one.user_attrs[REASON] for one in ended if REASON in one.user_attrs]
    if reasons:
        raise RunError(
            f"{counted(len(ended), 'trial')} of study {search.folder.name} ended and none has a "
            f"score; the first: {reasons[0]}. {search.folder.trials} has the others"
        )


def resume_command(search: Search, config: TuneConfig) -> str:
    """The command that resumes a study."""
    words = ["cxrtool", "tune", "--resume", shlex.quote(search.folder.name)]
    words += ["--trials", str(config.trials)]
    words += [] if config.storage is None else ["--storage", "URL"]  # it may hold a password
    return " ".join(words) + workspace_option(search.workspace.folder)


def search_by_tpe(worker: Worker) -> None:
    """Run trials that TPE proposes, until as many as asked for have ended.

    Raises:
        UsageError, DataError, WeightsError: no trial can work so.
        RunError: the first trials all failed.
    """
    study, config = worker.study, worker.config
    while True:
        revived = study.revive()
        if revived:
            told = counted(revived, "trial")
            worker.reporter.note(f"{told} died before the end, and will be done again")
        if worker.stop_asked() or worker.late:
            worker.stopped = worker.stop_asked()
            break
        if worker.search.exhausted(len(study.points())) and not study.unfinished():
            worker.reporter.note("every combination of the space was tried")
            break
        proposed = study.next(min(config.trials, worker.search.most))
        if proposed is None:
            if not study.unfinished():
                break
            worker.show()
            time.sleep(WAIT)  # others run theirs; one of them may die, and leave us its trial
            continue
        run_proposed(worker, *proposed)
        worker.check_failures()
    if worker.late:
        worker.reporter.note(f"the {config.timeout:g} minutes are over")
