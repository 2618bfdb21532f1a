"""fastai's Learner for training in phases: optimiser, precision, frozen blocks."""

import time
from functools import partial
from typing import Any

import torch
from torch import nn

from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.hardware import core_waits, crowded_hint, longest_wait
from cxrtool.networks.architectures import Blocks, blocks_of
from cxrtool.networks.devices import autocast
from cxrtool.training.control import Control, lower_rates
from cxrtool.training.fastai_parts import (
    Callback,
    DataLoaders,
    Learner,
    OptimWrapper,
    TrainEvalCallback,
)
from cxrtool.training.losses import MaskedCrossEntropy

HEAD, TOP, ALL = "head", "top", "all"
FROZEN_GROUPS = {HEAD: 2, TOP: 1, ALL: 0}
"""How many of the groups body, top and head do not move in a phase."""
PHASES = {HEAD: "head alone", TOP: "head and top", ALL: "all blocks"}
SHOW_EVERY = 0.5
"""Seconds between two looks of the display at the loss."""


class CXRLearner(Learner):  # type: ignore[misc]
    """A Learner that computes at a precision of its own, on any kind of device.

    fastai's MixedPrecision knows CUDA alone, and leaves autocast on when a batch fails.
    """

    precision = "fp32"
    scaler: "torch.amp.GradScaler | None" = None
    network: nn.Module
    """The plain network, whatever `model` wraps it in."""

    def _do_one_batch(self) -> None:
        with autocast(self.dls.device, self.precision):
            self.pred = self.model(*self.xb)
        self("after_pred")
        if not self.training:
            return  # a validation's loss is computed once, over all its images
        self.loss_grad = self.loss_func(self.pred, *self.yb)
        self.loss = self.loss_grad.detach()
        self("after_loss")
        self._do_grad_opt()

    def _backward(self) -> None:
        (self.scaler.scale(self.loss_grad) if self.scaler else self.loss_grad).backward()

    def _step(self) -> None:
        if self.scaler is None:
            self.opt.step()
        else:  # fp16's small gradients would vanish unscaled
            self.scaler.step(self.opt.opt)
            self.scaler.update()


class TrainingMode(TrainEvalCallback):  # type: ignore[misc]
    """Training mode for what is trained, eval mode for frozen blocks: nothing in them moves.

    Otherwise a frozen batch normalisation would still follow the batches' statistics.
    """

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def before_train(self) -> None:
        """Set the modes for a training pass."""
        super().before_train()
        for part in (self.blocks.body, self.blocks.top)[: self.opt.frozen_idx]:
            for module in part:
                module.eval()


class WhichModel(Callback):  # type: ignore[misc]
    """Which form of the network a pass goes through.

    Training: compiled and spread over the processes, where that is asked for. Validation: the
    average of the weights if there is one, and otherwise the plain network, which is what is kept.
    """

    order = -20  # before TrainingMode sets modes

    def __init__(self, control: Control, *, compiled: bool) -> None:
        super().__init__()
        self.control, self.compiled = control, compiled
        self._settled = control.processes.world == 1

    def before_fit(self) -> None:
        """Wrap the network; anew in each phase, since the processes share what is trained."""
        model: nn.Module = self.learn.network
        if self.control.processes.world > 1:
            device = self.dls.device
            model = nn.parallel.DistributedDataParallel(
                model, device_ids=[device.index] if device.type == "cuda" else None
            )
        if self.compiled:
            model.compile()
        self._training_form = model

    def before_train(self) -> None:
        """Take the form for training."""
        self.learn.model = self._training_form

    def before_batch(self) -> None:
        """Before the first step, let the processes settle in which pieces they sum gradients.

        DistributedDataParallel cuts them anew after a first backward pass. If that were the first
        step's, a training that is resumed would sum, and round, otherwise than one left alone.
        """
        if self._settled or not self.training:
            return
        self._settled = True
        model = self._training_form
        modes = {module: module.training for module in model.modules()}
        model.eval()  # neither statistics nor random numbers move
        with autocast(self.dls.device, self.learn.precision):
            logits = model.forward(*self.xb)  # not what is compiled
        logits.float().sum().backward()
        self.opt.zero_grad()
        for module, mode in modes.items():
            module.training = mode

    def before_validate(self) -> None:
        """Take the form that is kept."""
        average = self.control.average
        if self.control.processes.world > 1:
            # Each process followed its own batches' statistics since the last forward pass.
            for buffer in self.learn.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
            for buffer in average.network.buffers() if average else ():
                torch.distributed.broadcast(buffer, src=0)
        self.learn.model = average.network if average else self.learn.network

    def after_fit(self) -> None:
        """Unwrap."""
        self.learn.model = self.learn.network


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


def make_learner(
    dls: DataLoaders,
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    precision: str,
    body_lr: float | None = None,
    loss: nn.Module | None = None,
) -> CXRLearner:
    """A Learner with AdamW (betas 0.9 and 0.999, eps 1e-8) over the groups body, top and head.

    `body_lr` is the learning rate of body and top; None: `lr`.
    """
    blocks = blocks_of(network)
    network = network.to(dls.device).to(memory_format=torch.channels_last)
    optimiser = partial(
        OptimWrapper,
        opt=torch.optim.AdamW,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=weight_decay,
        fused=dls.device.type in ("cpu", "cuda"),
    )
    learner = CXRLearner(
        dls,
        network,
        loss_func=loss or MaskedCrossEntropy(),
        opt_func=optimiser,
        lr=float(lr),
        splitter=lambda _: blocks.groups(),
        train_bn=False,
        default_cbs=False,
        cbs=[TrainingMode(blocks)],
    )
    learner.network = network
    learner.logger = lambda *_: None
    learner.precision = precision
    if precision == "fp16":
        learner.scaler = torch.amp.GradScaler(dls.device.type)
    learner.create_opt()
    for group in learner.opt.opt.param_groups[:-1]:
        group["lr"] = float(lr if body_lr is None else body_lr)
    return learner


def run_phases(
    learner: CXRLearner,
    control: Control,
    *,
    compiled: bool = False,
    reporter: Reporter = SILENT,
) -> None:
    """Train in two fits: the head alone for `freeze_epochs`, then with the top block or all.

    With `freeze_epochs` 0 there is one fit, at the full rates. A training whose state was restored
    goes on where it stood.

    Raises:
        RunError: the loss became something that is not a number, or a file could not be written.
    """
    plan, state = control.plan, control.state
    if not state.rates:
        groups = learner.opt.opt.param_groups
        state.rates = [[float(group["lr"]), float(group["weight_decay"])] for group in groups]
    frozen = min(plan.freeze_epochs, plan.epochs)
    watch = WatchCores(control, reporter)
    for phase, end in ((HEAD, frozen), (plan.unfreeze, plan.epochs)):
        if state.epoch >= end or control.stopped or control.interrupted:
            continue
        if state.phase == HEAD != phase:
            lower_rates(state)
        state.phase = phase
        _fit(learner, control, end, compiled, watch)


def _fit(
    learner: CXRLearner, control: Control, end: int, compiled: bool, watch: WatchCores
) -> None:
    # opt.freeze_to and not learner.freeze_to: the latter would forget Adam's moments of the head.
    learner.opt.freeze_to(FROZEN_GROUPS[control.state.phase])
    shown = ShowProgress(control, watch.reporter)
    form = WhichModel(control, compiled=compiled)
    try:
        learner.fit(control.stretches_left(end), cbs=[form, control, shown, watch])
    finally:
        shown.close()
        learner.model = learner.network
    if control.failure:
        raise control.failure
