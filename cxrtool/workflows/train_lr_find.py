"""`train --lr-find`: a few batches at rising learning rates, and the rate that they suggest."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.csv_tables import write_table
from cxrtool.core.errors import RunError
from cxrtool.core.files import whole_file
from cxrtool.core.json_files import JsonResult
from cxrtool.core.workspace import Workspace
from cxrtool.training.advice import say_plan
from cxrtool.training.fastai_parts import Callback, CancelFitException, CancelValidException, valley
from cxrtool.training.figures import draw_rates
from cxrtool.training.learner import CXRLearner
from cxrtool.training.schedules import FROZEN_GROUPS, HEAD
from cxrtool.training.setup import tried

LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
LEAST_STEPS = 20
"""A curve of fewer points says nothing."""
DIVERGED = 4.0
"""A smoothed loss so many times the lowest ends the test (fastai's own rule)."""
SMOOTHING = 0.98


@dataclass(frozen=True)
class RatesResult(JsonResult):
    """What a learning-rate range test came to."""

    suggestion: float
    """For `--lr`: where the loss falls in its longest valley (fastai's `valley`)."""
    body_lr: float | None
    """For `--body-lr`, in the ratio that it had; None: it follows `--lr`."""
    steps: int
    figure: Path
    table: Path


class RisingRates(Callback):  # type: ignore[misc]
    """Raises the rates from step to step, and keeps the losses."""

    order = 60

    def __init__(self, learner: CXRLearner) -> None:
        super().__init__()
        # Kept from before the fit: fastai's sets one rate for all groups.
        groups = learner.opt.opt.param_groups
        head = groups[-1]["lr"]
        self._shares = [group["lr"] / head if head else 1.0 for group in groups]
        self.rates: list[float] = []
        self.raw: list[float] = []
        self.smoothed: list[float] = []
        self._average = 0.0

    def before_batch(self) -> None:
        """Set the step's rates."""
        done = len(self.rates) / (STEPS - 1)
        rate = LOWEST * (HIGHEST / LOWEST) ** done
        for share, group in zip(self._shares, self.opt.opt.param_groups, strict=True):
            group["lr"] = rate * share
        self.rates.append(rate)

    def after_batch(self) -> None:
        """Keep the loss; stop when it has risen for good."""
        loss = float(self.loss)
        self.raw.append(loss)
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        self.smoothed.append(self._average / (1 - SMOOTHING ** len(self.raw)))
        worse = self.smoothed[-1] > DIVERGED * min(self.smoothed)
        if not math.isfinite(loss) or worse or len(self.raw) >= STEPS:
            raise CancelFitException("the test is over")


class NoValidation(Callback):  # type: ignore[misc]
    """Leaves validation out."""

    def before_validate(self) -> None:
        """Leave it."""
        raise CancelValidException("no validation in a test")


def find_rate(
    config: TrainConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> RatesResult:
    """Try learning rates from 1e-7 to 1, of the phase that training begins with.

    The rates of body and head keep their ratio; what is named is the head's, `--lr`. No run is
    made: a figure and a table in the workspace are all that stays.

    Raises:
        RunError: the loss was no number before a rate could be told, it fell at none, or memory
            ran out.
        UsageError, DataError, WeightsError: as `train_model`.
    """
    with tried(config, workspace, "--lr-find", seed=seed, reporter=reporter) as setup:
        config = setup.config
        say_plan(setup, reporter)
        with reporter.busy(f"trying {STEPS} learning rates"):
            phase = HEAD if config.freeze_epochs else str(config.unfreeze)
            learner, test = setup.learner, RisingRates(setup.learner)
            learner.opt.freeze_to(FROZEN_GROUPS[phase])
            epochs = math.ceil(STEPS / learner.dls.train.epoch_batches)
            learner.fit(epochs, cbs=[test, NoValidation()])
    return _result(test, config, workspace)


def _result(test: RisingRates, config: TrainConfig, workspace: Workspace) -> RatesResult:
    finite = [i for i, loss in enumerate(test.raw) if math.isfinite(loss)]
    if len(finite) < LEAST_STEPS:
        raise RunError(
            f"the loss was not finite after {len(finite)} steps, at a rate of "
            f"{test.rates[len(finite) - 1] if finite else LOWEST:.1e}: try --precision fp32"
        )
    rates, losses = np.array(test.rates)[finite], np.array(test.smoothed)[finite]
    suggestion = float(valley(list(rates), list(losses), len(rates))[0])
    if suggestion >= rates[losses.argmin()]:
        raise RunError(
            f"the loss did not fall at any of {len(rates)} rates, so none can be suggested: is "
            "there something to learn in these labels (`cxrtool train --dry-run` warns of them)?"
        )
    stem = f"lr-find-{config.arch}"
    figure, table = workspace.figures / f"{stem}.png", workspace.figures / f"{stem}.csv"
    with whole_file(figure) as path:
        draw_rates(list(rates), list(np.array(test.raw)[finite]), suggestion, path)
    frame = {"lr": rates, "loss": np.array(test.raw)[finite], "smoothed": losses}
    write_table(pd.DataFrame(frame), table)
    share = config.body_lr / config.lr if config.body_lr is not None and config.lr else 1.0
    body = None if config.body_lr is None else suggestion * share
    return RatesResult(suggestion, body, len(finite), figure, table)
