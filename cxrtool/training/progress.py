"""What a person sees of a training as it goes on."""

import time
from typing import Any

import torch

from cxrtool.core.console import Reporter
from cxrtool.core.hardware import core_waits, crowded_hint, longest_wait
from cxrtool.training.control import Control
from cxrtool.training.fastai_parts import Callback
from cxrtool.training.schedules import PHASES

SHOW_EVERY = 0.5
"""Seconds between two looks of the display at the loss."""


class ShowProgress(Callback):  # type: ignore[misc]
    """A live line for the training as a whole, and a bar for each pass over the images."""

    order = 61

    def __init__(self, control: Control, reporter: Reporter) -> None:
        super().__init__()
        self.control, self.reporter = control, reporter
        self._shown: Any = None
        self._looked = 0.0

    def before_fit(self) -> None:
        """Open the display."""
        plan, world = self.control.plan, self.control.processes.world
        train, valid = len(self.dls.train.dataset), len(self.dls.valid.dataset)
        epoch = train + valid * plan.validations
        state = self.control.state
        done = state.epoch * epoch + sum(self.control.sizes) * world * (state.batch > 0)
        self._shown = self.reporter.training(done, epoch * plan.epochs)
        self._display = self._shown.__enter__()

    def before_train(self) -> None:
        """Begin the bar of a training pass."""
        self._begin("training", self.dls.train)

    def before_validate(self) -> None:
        """Begin the bar of a validation pass."""
        self._begin("validating", self.dls.valid)

    def after_batch(self) -> None:
        """Move the bar on."""
        world = self.control.processes.world
        self._display.advance(len(self.yb[0]) * world)
        # Reading the loss waits for the device, so it is done now and then.
        if self._display.live and time.monotonic() - self._looked > SHOW_EVERY:
            self._looked = time.monotonic()
            if self.training:
                self._display.loss = float(self.loss)

    def after_epoch(self) -> None:
        """Show what is known after a validation."""
        state = self.control.state
        if state.history:
            self._display.scores(state.history[-1]["valid_mean_auroc"], state.best_auroc)

    def _begin(self, what: str, loader: Any) -> None:
        state, plan = self.control.state, self.control.plan
        title = f"epoch {state.epoch + 1}/{plan.epochs}, {PHASES[state.phase]}, {what}"
        self._display.begin(title, loader.n * self.control.processes.world)

    def close(self) -> None:
        """Close what is open; also after an error or Ctrl-C."""
        if self._shown is not None:
            shown, self._shown = self._shown, None
            shown.__exit__(None, None, None)


class WatchCores(Callback):  # type: ignore[misc]
    """Says, once, that other processes take the cores that the training computes on."""

    order = 62  # after Control, which has counted the stretch's images

    def __init__(self, control: Control, reporter: Reporter) -> None:
        super().__init__()
        self.control, self.reporter = control, reporter
        self._told = False

    def before_train(self) -> None:
        """Begin to measure with a stretch."""
        self._before, self._started = core_waits(), time.perf_counter()

    def after_train(self) -> None:
        """Judge the stretch."""
        if self._told or self.dls.device.type != "cpu":
            return
        seconds = time.perf_counter() - self._started
        hint = crowded_hint(
            longest_wait(self._before, core_waits(), seconds),
            seconds,
            threads=torch.get_num_threads(),
            workers=self.dls.train.fake_l.num_workers,
            images_per_second=self.control.images_per_second,
        )
        if hint is not None:
            self._told = True
            self.reporter.note(hint)
