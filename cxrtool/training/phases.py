"""A training in two phases: the head alone, then with the top block or the whole network."""

import torch
from torch import nn

from cxrtool.core.console import SILENT, Reporter
from cxrtool.networks.devices import autocast
from cxrtool.training.control import Control, lower_rates
from cxrtool.training.fastai_parts import Callback, CancelBatchException
from cxrtool.training.learner import CXRLearner
from cxrtool.training.progress import ShowProgress, WatchCores
from cxrtool.training.schedules import FROZEN_GROUPS, HEAD


class ScoresOnly(Callback):  # type: ignore[misc]
    """Leaves the loss out of a validation, where it is computed once, over all images."""

    def after_pred(self) -> None:
        """Go on with the next batch."""
        if not self.training:
            raise CancelBatchException("a validation needs the logits alone")


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
        learner.fit(control.stretches_left(end), cbs=[form, control, shown, watch, ScoresOnly()])
    finally:
        shown.close()
        learner.model = learner.network
    if control.failure:
        raise control.failure
