"""A study's folder and its trials: kept by Optuna, in SQLite here or in a database for many.

A *point* is a combination of values that counts towards the trials asked for. A trial that died is
marked as failed and its point is done again, by another trial with the attribute `again`.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from cxrtool.core.workspace import Inside, NamedFolder
from cxrtool.search.sampler import AGAIN, SteeredSampler
from cxrtool.search.space import Space, Value, holds

FACTS, RUN, REASON, WITHDRAWN, SECONDS, EPOCH = (
    *("cxrtool", "run", "reason", "withdrawn", "seconds", "best_epoch"),
)
DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class StudyFolder(NamedFolder):
    """The paths in `studies/<name>/`."""

    database = Inside("study.db")
    """The trials, as Optuna keeps them."""
    space = Inside("space.yaml")
    """What is searched, as a file for `tune --space`."""
    trials = Inside("trials.csv")
    """A row a trial."""
    best = Inside("best.yaml")
    """The best trial's options, a file for `train --config`."""
    figures = Inside("figures")
    """Pictures of the search."""

    @property
    def never_began(self) -> bool:
        """Whether the search was killed before its database was there: its name is free."""
        return self.path.is_dir() and all(path.name.startswith(".") for path in self.path.iterdir())


class Study:
    """A study that is open: which trial comes next, and what became of each."""

    def __init__(self, study: optuna.Study, storage: RDBStorage, space: Space) -> None:
        self.optuna, self.storage, self.space = study, storage, space
        self.shared = storage.heartbeat_interval is not None
        self.repeats = True
        """Whether what died is done again."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; those that were withdrawn before they began left out."""
        found = self.optuna.get_trials(deepcopy=False)
        return [one for one in found if WITHDRAWN not in one.user_attrs]

    def trial(self, number: int) -> FrozenTrial:
        """The trial by that number."""
        return self.optuna.get_trials(deepcopy=False)[number]

    def points(self) -> list[FrozenTrial]:
        """The trials that count: no second times."""
        return [one for one in self.trials if AGAIN not in one.user_attrs]

    def finished(self) -> list[FrozenTrial]:
        """What came to an end: scored, pruned, or failed for a reason of its own."""
        return [one for one in self.trials if has_ended(one)]

    def best(self) -> FrozenTrial | None:
        """The trial with the highest score, of those that were trained to their end."""
        scored = [one for one in self.trials if one.state == TrialState.COMPLETE]
        return max(scored, key=lambda one: (one.value or 0.0, -one.number), default=None)

    def next(self, wanted: int) -> tuple[Trial, dict[str, Value]] | None:
        """The next trial and its values; None where `wanted` points are taken."""
        waiting = any(one.state == TrialState.WAITING for one in self.trials)
        if not waiting and len(self.points()) >= wanted:
            return None
        trial = self.optuna.ask(dict(self.space))
        place = sum(one.number < trial.number for one in self.points())
        if AGAIN not in trial.user_attrs and place >= wanted:
            # Another process took the last one at the same moment.
            trial.set_user_attr(WITHDRAWN, True)
            self.optuna.tell(trial, state=TrialState.FAIL)
            return None
        return trial, trial.params

    def try_first(self, values: Mapping[str, Value]) -> bool:
        """Let these values be those of the first trial, if they lie in the space."""
        inside = all(holds(one, values[name]) for name, one in self.space.items())
        if inside:
            self.optuna.enqueue_trial(dict(values))
        return inside

    def running(self) -> list[FrozenTrial]:
        """Trials that some process runs, or ran when it died."""
        return [one for one in self.trials if one.state == TrialState.RUNNING]

    def do_again(self, one: FrozenTrial | Trial) -> None:
        """Mark a trial as dead, and let its values be tried again."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError, ValueError):
            self.optuna.tell(one.number, state=TrialState.FAIL)
            if not self.repeats:
                return
            enqueue_again(self.optuna, self.optuna.get_trials(deepcopy=False)[one.number])

    def revive(self) -> int:
        """Let trials that died be done again; how many there were.

        In a file of its own nobody else can be running. In a shared database those have died that
        gave no sign of life for a minute.
        """
        before = len(self.trials)
        if self.shared:
            with experimental():
                optuna.storages.fail_stale_trials(self.optuna)
        else:
            for one in self.running():
                self.do_again(one)
        return len(self.trials) - before

    @property
    def facts(self) -> dict[str, Any]:
        """What the study was begun with, and what was kept since."""
        found: dict[str, Any] = self.optuna.user_attrs[FACTS]
        return found

    def keep(self, **facts: str | int) -> None:
        """Keep what those who resume the study must know: the sweep, the number of trials."""
        self.optuna.set_user_attr(FACTS, {**self.facts, **facts})

    def unfinished(self) -> bool:
        """Whether a trial waits, or runs somewhere."""
        open_states = (TrialState.WAITING, TrialState.RUNNING)
        return any(one.state in open_states for one in self.trials)

    def first_time(self, trial: Trial) -> bool:
        """Whether a trial's values are tried for the first time."""
        return AGAIN not in trial.user_attrs

    def scores_before(self, trial: Trial) -> list[float]:
        """The scores already reported by the trial whose run this one resumes."""
        run = trial.user_attrs.get(RUN)
        of_run = [one for one in self.trials if one.user_attrs.get(RUN) == run]
        known = [one.intermediate_values for one in of_run if one.number != trial.number]
        longest = max(known, key=len, default={})
        return [longest[step] for step in sorted(longest)]

    def beat(self, trial: Trial) -> None:
        """Give a sign of life."""
        if self.shared:
            self.storage.record_heartbeat(trial._trial_id)

    def died(self, one: FrozenTrial) -> bool:
        """Whether a trial was killed, or asked to stop, before its end."""
        return one.state == TrialState.FAIL and not has_ended(one)


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Signs of life are an experiment to Optuna; there is no other way to share a study."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def has_ended(one: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own: scored, pruned, or failed for a reason."""
    failed = one.state == TrialState.FAIL and REASON in one.user_attrs
    return failed or one.state in (TrialState.COMPLETE, TrialState.PRUNED)


def enqueue_again(study: optuna.Study, dead: FrozenTrial) -> None:
    """Let the values of a trial that died be tried again."""
    point = dead.user_attrs.get(AGAIN, dead.number)
    kept = {key: dead.user_attrs[key] for key in (RUN,) if key in dead.user_attrs}
    # It may have died before it was told all that it is to try: what was settled beforehand stays,
    # the sampler draws the rest.
    settled = {**dead.system_attrs.get("fixed_params", {}), **dead.params}
    study.enqueue_trial(settled, user_attrs={**kept, AGAIN: point})


def create_study(
    storage: RDBStorage,
    name: str,
    space: Space,
    facts: Mapping[str, Any],
    first: Mapping[str, Value] | None,
    *,
    pruner: Any,
) -> Study:
    """A new study in a database; `first`, if they lie in the space, are the first trial's values.

    Raises:
        optuna.exceptions.DuplicatedStudyError: there is one by this name.
    """
    sampler = SteeredSampler(space, int(facts["seed"]))
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", sampler=sampler, pruner=pruner
    )
    made = Study(study, storage, space)
    if first is not None:
        made.try_first(first)
    # Last: what has them was begun in whole.
    study.set_user_attr(FACTS, dict(facts))
    return made


def load_study(storage: RDBStorage, name: str, space: Space, seed: int, *, pruner: Any) -> Study:
    """The study by this name, whose space and seed are known."""
    sampler = SteeredSampler(space, seed)
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    return Study(study, storage, space)


def facts_of(storage: RDBStorage, name: str) -> dict[str, Any] | None:
    """What a study was begun with; None where there is none by this name."""
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    facts: dict[str, Any] | None = storage.get_study_user_attrs(study_id).get(FACTS)
    return facts or {}


def add_trial(
    study: Study, values: Mapping[str, Value], score: float | None, about: Mapping[str, Any]
) -> None:
    """Add a trial that another search has run."""
    state = TrialState.FAIL if score is None else TrialState.COMPLETE
    made = optuna.trial.create_trial(
        params=dict(values),
        distributions=dict(study.space),
        value=score,
        state=state,
        user_attrs=dict(about),
    )
    study.optuna.add_trial(made)


def seconds_of(one: FrozenTrial) -> float | None:
    """How long a trial took."""
    if SECONDS in one.user_attrs:
        return float(one.user_attrs[SECONDS])
    took: timedelta | None = one.duration
    return None if took is None else took.total_seconds()
