"""Weights & Biases, off unless asked: figures, settings and packs leave, never images or paths."""

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from cxrtool.core.config import IMAGENET, NO_WEIGHTS
from cxrtool.core.console import Reporter
from cxrtool.core.errors import RunError

PROJECT = "cxrtool"
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Neither code, console, requirements, machine nor git, where paths of patients could hide."""


class Tracker:
    """Logs an epoch's figures; without a W&B run, it does nothing."""

    def __init__(self, run: Any, reporter: Reporter) -> None:
        self._run = run
        self._reporter = reporter

    def log(self, figures: Mapping[str, object], step: int) -> None:
        """Log the numbers among `figures`. A failure is told once and never stops training.

        `step` counts the validations from 0, also over a resumption: two folders of one run never
        hold different figures under one step, so neither loses the other's when they are synced.
        """
        if self._run is None:
            return
        numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
        try:
            self._run.log(numbers, step=step)
        except Exception as error:
            self._run = None
            self._reporter.warn(f"Weights & Biases stopped logging: {error}; training goes on")

    def summarise(self, figures: Mapping[str, float | None]) -> None:
        """Log figures of the whole run, once. A failure is told and stops nothing.

        W&B's own tables would be staged in the home folder, and its path written into the run.
        """
        if self._run is None:
            return
        try:
            for name, value in figures.items():
                if value is not None:
                    self._run.summary[name] = value
        except Exception as error:
            self._reporter.warn(f"Weights & Biases did not take the final figures: {error}")

    def log_pack(self, name: str, write: Callable[[Path], object]) -> None:
        """Log a pack of a run as an artifact, once. A failure is told and stops nothing.

        Args:
            name: the run's.
            write: writes the pack into an empty folder.
        """
        if self._run is None:
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder))
                plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
                artifact = _import_wandb().Artifact(f"{plain}-pack", type="model")
                artifact.add_dir(folder)
                self._run.log_artifact(artifact)
        except Exception as error:
            self._reporter.warn(f"Weights & Biases did not take the pack of the run: {error}")


@contextmanager
def track(
    mode: str,
    name: str,
    config: Mapping[str, object],
    folder: Path,
    reporter: Reporter,
    identity: str | None = None,
) -> Iterator[Tracker]:
    """A tracker for one run; W&B keeps its files under `folder`/wandb.

    `identity` is the run's there: a training that is resumed goes on under the one it began with.

    It is told not to record code, console, requirements, machine or git, where paths of patients
    could hide. If W&B is absent or fails, a warning says so and training goes on without it.
    """
    run = None if mode == "off" else _start(mode, name, config, folder, reporter, identity)
    try:
        yield Tracker(run, reporter)
    finally:
        if run is not None:
            _finish(run, reporter)


def told_settings(settings: dict[str, object]) -> dict[str, object]:
    """A run's settings as they may leave the machine: a file's path may name a person."""
    known = settings["weights"] in (IMAGENET, NO_WEIGHTS)
    return {**settings, "weights": settings["weights"] if known else "file"}


def _import_wandb() -> Any:
    """The library without its telemetry, which it posts to its makers even of an offline run."""
    # Read when its service starts, which inherits this; its settings have no switch for it.
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb

    return wandb


def _finish(run: Any, reporter: Reporter) -> None:
    try:
        run.finish()
    except Exception as error:
        reporter.warn(f"Weights & Biases could not finish: {error}")


def _start(
    mode: Any,
    name: str,
    config: Mapping[str, object],
    folder: Path,
    reporter: Reporter,
    identity: str | None,
) -> Any:
    try:
        wandb = _import_wandb()
        quiet = wandb.Settings(**QUIET)
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=PROJECT,
            name=name,
            mode=mode,
            dir=str(folder),
            config=dict(config),
            settings=quiet,
            id=identity,
            resume="allow" if identity else None,
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
    except Exception as error:
        reporter.warn(f"Weights & Biases cannot be used ({error}): training goes on without it")
        return None
    return run


def create_sweep(config: Mapping[str, Any]) -> str:
    """Begin a sweep at Weights & Biases; its identity.

    Raises:
        RunError: not logged in, no network, or it is refused.
    """
    with _told_apart():
        wandb = _import_wandb()
        sweep: str = wandb.sweep(dict(config), project=PROJECT)
    return sweep


def one_of_sweep(
    sweep: str,
    trial: Callable[[Mapping[str, Any], Callable[[Mapping[str, float]], None]], bool],
    folder: Path,
) -> None:
    """Let the agent of a sweep run its next trial, if it has one.

    Args:
        sweep: its identity.
        trial: called in the agent's thread with the values proposed and a function that logs
            figures; whether it came to its end. It must not raise.
        folder: W&B keeps its files under `folder`/wandb.

    Raises:
        RunError: not logged in, no network, or no such sweep.
    """
    with _told_apart():
        wandb = _import_wandb()

        def one() -> None:
            run = wandb.init(dir=str(folder), settings=wandb.Settings(**QUIET))
            ended = trial(dict(run.config), lambda figures: run.log(dict(figures)))
            run.finish(exit_code=0 if ended else 1)

        # One at a time: between two of them we decide whether to go on.
        wandb.agent(sweep, function=one, count=1, project=PROJECT)


@contextmanager
def _told_apart() -> Iterator[None]:
    """Turn what W&B raises into one message, and keep it from asking and from printing."""
    stdin = sys.stdin
    try:
        with open(os.devnull) as nothing, redirect_stdout(io.StringIO()):  # noqa: PTH123
            sys.stdin = nothing  # at a terminal it would ask for a key
            yield
    except RunError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise RunError(
            f"Weights & Biases cannot be used ({reason[0]}): log in with `wandb login` and see "
            "that the network is there, or leave --backend wandb out"
        ) from None
    finally:
        sys.stdin = stdin
