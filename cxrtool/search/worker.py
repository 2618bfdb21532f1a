"""One process that works on a study: its trials, one after the other, and what is shown of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from optuna.trial import Trial, TrialState

from cxrtool.core.config import TrainConfig, TuneConfig
from cxrtool.core.console import Reporter, SearchDisplay
from cxrtool.core.errors import RunError
from cxrtool.core.runs import RunFolder
from cxrtool.search.setup import Search
from cxrtool.search.space import Value, applied
from cxrtool.search.study import EPOCH, REASON, RUN, SECONDS, Study
from cxrtool.search.trial_process import Outcome, TrialConfig, run_trial
from cxrtool.search.trials import TrialsTable, write_study

FAILURES = 3
"""So many trials that failed, and none that did not: the next one will fail too."""


class Worker:
    """One process that works on a study: runs its trials and shows them."""

    def __init__(
        self,
        study: Study,
        search: Search,
        config: TuneConfig,
        table: TrialsTable,
        display: SearchDisplay,
        reporter: Reporter,
        stop_asked: Callable[[], bool],
        started: float,
    ) -> None:
        self.study, self.search, self.config = study, search, config
        self.table, self.display, self.reporter = table, display, reporter
        self.stop_asked, self.started = stop_asked, started
        self.stopped = False

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        limit = self.config.timeout
        return limit is not None and time.monotonic() - self.started > 60 * limit

    def training_of(
        self, values: Mapping[str, Value], trial: int, before: str | None
    ) -> TrialConfig:
        """The training of a trial; it resumes the run of one that died, if that is here."""
        runs, study = self.search.workspace.runs, self.search.folder.name
        if before is not None and RunFolder(runs / before).checkpoint.is_file():
            finished = RunFolder(runs / before).finished
            if not finished:
                common = {**asdict(self.search.training), "resume": before}
                return TrialConfig(**common, study=study)
        name = f"{study}-{trial + 1:02d}"
        names = (f"{name}{'' if count == 1 else f'-{count}'}" for count in range(1, 10_000))
        # Killed before its first checkpoint, a run is begun again under its own name.
        free = (one for one in names if not (runs / one).exists())
        never = before is not None and RunFolder(runs / before).never_began
        own = str(before) if never else next(free)
        settings = {**asdict(applied(self.search.training, values)), "name": own}
        return TrialConfig(**settings, study=study)

    def run(
        self,
        training: TrainConfig,
        on_score: Callable[[float], None],
        shall_stop: Callable[[], bool],
    ) -> Outcome:
        """Train as a process of its own, and show how it goes."""

        def on_message(kind: str, value: Any) -> None:
            if kind == "score" and value == value:
                on_score(float(value))
            elif kind == "warning":
                self.reporter.warn(str(value))
            elif kind == "note":
                self.reporter.detail(str(value))
            self.table.heard(kind, value)
            self.show()

        outcome = run_trial(
            training,
            self.search.workspace,
            self.search.seed,
            on_message=on_message,
            shall_stop=shall_stop,
        )
        self.table.heard("ended", None)
        return outcome

    def show(self) -> None:
        """Bring what is seen up to date."""
        if self.display.live:
            self.display.show(
                self.table.headings(), self.table.texts(), self.table.status(self.config.trials)
            )

    def tell(self, trial: int) -> None:
        """A line about a trial that ended, where nothing is shown live, and the files."""
        write_study(self.study, self.search, self.table)
        if not self.display.live:
            self.reporter.note(self.table.line(trial, self.config.trials))
        self.show()

    def check_failures(self) -> None:
        """Raise RunError where the first trials all failed."""
        ended = self.study.finished()
        if len(ended) >= FAILURES and all(one.state == TrialState.FAIL for one in ended):
            reason = ended[0].user_attrs[REASON]
            raise RunError(f"the first {len(ended)} trials all failed; the first one: {reason}")


def run_proposed(
    worker: Worker,
    trial: Trial,
    values: dict[str, Value],
    also: Callable[[float], None] = lambda score: None,
) -> bool:
    """Run a trial and tell the study what became of it; `also` is told each score.

    Returns:
        Whether it was trained to its end.

    Raises:
        UsageError, DataError, WeightsError: no trial can work so.
    """
    study, began = worker.study, time.monotonic()
    study.beat(trial)
    training = worker.training_of(values, trial.number, trial.user_attrs.get(RUN))
    trial.set_user_attr(RUN, training.resume or training.name)
    scores = study.scores_before(trial) if training.resume else []
    for step, score in enumerate(scores):
        trial.report(score, step)
    worker.table.begin(trial.number)
    if not worker.display.live:
        worker.reporter.note(worker.table.begun(trial.number, values, training))
    pruned = False
    beaten = began

    def on_score(score: float) -> None:
        nonlocal pruned
        trial.report(score, len(scores))
        scores.append(score)
        also(score)
        pruned = worker.config.prune and trial.should_prune()

    def shall_stop() -> bool:
        nonlocal beaten
        if time.monotonic() - beaten > 1:
            beaten = time.monotonic()
            study.beat(trial)
        return pruned or worker.late or worker.stop_asked()

    try:
        outcome = worker.run(training, on_score, shall_stop)
    except BaseException:
        study.do_again(trial)
        raise
    trial.set_user_attr(SECONDS, round(time.monotonic() - began, 1))
    _settle(worker, trial, outcome, pruned=pruned)
    worker.tell(trial.number)
    if outcome.kind == "refused" and outcome.error is not None:
        raise outcome.error
    return outcome.kind == "done"


def _settle(worker: Worker, trial: Trial, outcome: Outcome, *, pruned: bool) -> None:
    """Tell the study what became of a trial."""
    study = worker.study
    if outcome.kind == "done":
        trial.set_user_attr(EPOCH, outcome.result["best_epoch"])
        study.optuna.tell(trial, float(outcome.result["valid_mean_auroc"]))
    elif outcome.kind == "stopped" and pruned:
        study.optuna.tell(trial, state=TrialState.PRUNED)
    elif outcome.kind in ("stopped", "refused") or (
        # Something killed it: memory may have run out. Once more, and not for ever.
        outcome.kind == "killed" and study.first_time(trial)
    ):
        study.do_again(trial)
    else:
        trial.set_user_attr(REASON, outcome.reason)
        study.optuna.tell(trial, state=TrialState.FAIL)
        worker.reporter.warn(f"trial {trial.number + 1} failed: {outcome.reason}")
