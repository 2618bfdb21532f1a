"""A search that Weights & Biases steers: a sweep there, and its trials here."""

from collections.abc import Callable, Mapping
from typing import Any

from cxrtool.core.errors import UsageError
from cxrtool.search.space import Space, Value, as_sweep, cast
from cxrtool.search.worker import Worker, run_proposed
from cxrtool.training.tracking import create_sweep, one_of_sweep

METRIC = "best_valid_mean_auroc"


def search_by_sweep(worker: Worker) -> None:
    """Run trials that a sweep proposes, each logged there, until as many as asked for have ended.

    Raises:
        RunError: not logged in, no network, no such sweep, or the first trials all failed.
        UsageError: the sweep searches something else, or no trial can work so.
        DataError, WeightsError: no trial can work so.
    """
    study, search, config = worker.study, worker.search, worker.config
    study.repeats = False  # what died is known there too, and is not proposed again
    study.revive()
    sweep = search.sweep or create_sweep(as_sweep(search.space, METRIC))
    study.keep(sweep=sweep)
    worker.reporter.note(
        f"sweep {sweep}: Weights & Biases is told the values, the scores on valid and this "
        "machine's name, and no path"
    )
    if search.sweep is None:
        worker.reporter.note(f"elsewhere, `--backend wandb --sweep {sweep}` joins it")
    while len(study.finished()) < config.trials:
        if worker.stop_asked() or worker.late:
            worker.stopped = worker.stop_asked()
            return
        if not _one(worker, sweep):
            worker.reporter.note("the sweep proposes nothing more")
            return
        worker.check_failures()


def _one(worker: Worker, sweep: str) -> bool:
    """Run the next trial of a sweep; whether there was one."""
    study = worker.study
    began: list[int] = []
    errors: list[BaseException] = []

    def trial(proposed: Mapping[str, Any], log: Callable[[Mapping[str, float]], None]) -> bool:
        began.append(1)
        best = -1.0

        def on_score(score: float) -> None:
            nonlocal best
            best = max(best, score)
            log({"valid_mean_auroc": score, METRIC: best})

        try:
            values = _values(worker.search.space, proposed, sweep)
            study.optuna.enqueue_trial(values)
            found = study.next(10**9)
            assert found is not None
            return run_proposed(worker, *found, also=on_score)
        except BaseException as error:  # the agent's thread would swallow it
            errors.append(error)
            return False

    folder = worker.search.workspace.folder
    one_of_sweep(sweep, trial, folder)
    if errors:
        raise errors[0]
    return bool(began)


def _values(space: Space, proposed: Mapping[str, Any], sweep: str) -> dict[str, Value]:
    """The values of a proposal, checked."""
    if set(proposed) != set(space):
        raise UsageError(
            f"sweep {sweep} searches {', '.join(sorted(proposed))} and the space here "
            f"{', '.join(sorted(space))}: pass its space with --space"
        )
    return {name: cast(name, one, proposed[name]) for name, one in space.items()}
