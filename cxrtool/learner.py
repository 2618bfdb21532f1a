"""fastai's Learner for the report's training: loss, phases, and one callback that decides."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxrtool.config import LEAST_RATE, PLATEAU_FACTOR, UNFREEZE_FACTOR
from cxrtool.devices import autocast
from cxrtool.errors import RunError
from cxrtool.metrics import auroc_per_label, mean_defined
from cxrtool.networks import Blocks, blocks_of
from cxrtool.report import SILENT, Advance, Reporter

with warnings.catch_warnings():
    # fastai still scripts a function on import, which torch calls deprecated: not the user's.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.script.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from fastai.callback.core import Callback, CancelFitException, TrainEvalCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

HEAD, TOP, ALL = "head", "top", "all"
_FROZEN_GROUPS = {HEAD: 2, TOP: 1, ALL: 0}
"""How many of the groups body, top and head do not move in a phase."""


class MaskedCrossEntropy(nn.Module):
    """Binary cross-entropy with logits, the mean over the labels and samples that count.

    A target of NaN is masked: whatever its logit, the loss and its gradient are the same.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of logits (n, labels) against targets (n, labels) in 0..1 or NaN."""
        targets = targets.as_subclass(Tensor)
        counts = ~torch.isnan(targets)
        known = torch.where(counts, targets, torch.zeros_like(targets))
        losses = F.binary_cross_entropy_with_logits(logits.float(), known, reduction="none")
        return (losses * counts).sum() / counts.sum().clamp(min=1)


class CXRLearner(Learner):  # type: ignore[misc]
    """A Learner that computes at a precision of its own, on any kind of device.

    fastai's MixedPrecision knows CUDA alone, and leaves autocast on when a batch fails.
    """

    precision = "fp32"
    scaler: "torch.amp.GradScaler | None" = None

    def _do_one_batch(self) -> None:
        with autocast(self.dls.device, self.precision):
            self.pred = self.model(*self.xb)
        self("after_pred")
        self.loss_grad = self.loss_func(self.pred, *self.yb)
        self.loss = self.loss_grad.detach()
        self("after_loss")
        if self.training:
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


@dataclass
class ControlState:
    """Everything that `Control` decides by, as plain JSON (see `asdict`)."""

    epoch: int = 0
    """Epochs done, over all phases."""
    best_epoch: int | None = None
    best_auroc: float | None = None
    waited: int = 0
    """Epochs since the best one."""
    plateau: dict[str, Any] = field(default_factory=dict)
    """torch's ReduceLROnPlateau.state_dict()."""
    history: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The state as values that JSON can hold."""
        return asdict(self)


EpochDone = Callable[[dict[str, Any], bool, NDArray[np.float32]], None]
"""Called with an epoch's row, whether it is the best so far, and its valid logits."""


class Control(Callback):  # type: ignore[misc]
    """The one place that decides: plateau, best epoch, early stopping, over all phases.

    The learning rate falls by a factor of 10 when the epoch's mean training loss has not fallen
    for more than `plateau_patience` epochs (torch's ReduceLROnPlateau); training ends when
    `patience` epochs passed without a better mean AUROC on valid.
    """

    order = 60

    def __init__(
        self,
        labels: Sequence[str],
        *,
        epochs: int,
        plateau_patience: int,
        patience: int,
        on_epoch: EpochDone,
    ) -> None:
        super().__init__()
        self.labels, self.epochs = list(labels), epochs
        self.plateau_patience, self.patience = plateau_patience, patience
        self.on_epoch = on_epoch
        self.state = ControlState()
        self.phase = ALL
        self.stopped = False
        self.failure: str | None = None
        self._timed_images, self._timed_seconds = 0, 0.0

    @property
    def images_per_second(self) -> float:
        """Training throughput so far, without each epoch's first batch (it starts the workers)."""
        return self._timed_images / self._timed_seconds if self._timed_seconds else 0.0

    def before_fit(self) -> None:
        """Take up the plateau's state where the last phase left it."""
        self.plateau = ReduceLROnPlateau(
            self.opt.opt, mode="min", factor=PLATEAU_FACTOR, patience=self.plateau_patience
        )
        if self.state.plateau:
            self.plateau.load_state_dict(self.state.plateau)

    def before_train(self) -> None:
        """Start an epoch."""
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._started = time.perf_counter()
        self._first_done: float | None = None

    def after_batch(self) -> None:
        """Keep what the epoch's figures are made of; on the device, so that nothing waits."""
        if self.training:
            self._losses.append(self.loss)
            self._sizes.append(len(self.yb[0]))
            if self._first_done is None:
                self._finish_device()
                self._first_done = time.perf_counter()
        else:
            self._logits.append(self.pred.detach().float())
            self._targets.append(self.yb[0].as_subclass(Tensor))

    def after_train(self) -> None:
        """Take the time of the training pass."""
        self._finish_device()
        self._train_seconds = time.perf_counter() - self._started
        if len(self._sizes) > 1 and self._first_done is not None:
            self._timed_images += sum(self._sizes[1:])
            self._timed_seconds += time.perf_counter() - self._first_done

    def after_epoch(self) -> None:
        """Judge the epoch: plateau, best, stop."""
        state = self.state
        state.epoch += 1
        loss = float(np.average(torch.stack(self._losses).cpu().numpy(), weights=self._sizes))
        if not np.isfinite(loss):
            # fastai would rewrite the message of an error that is raised here.
            self.failure = (
                f"the training loss of epoch {state.epoch} is not a number: "
                "try a lower --lr, or --precision fp32"
            )
            raise CancelFitException(self.failure)
        logits = torch.cat(self._logits).cpu().numpy()
        targets = torch.cat(self._targets).cpu().numpy()
        row = self._row(loss, logits, targets)
        better = state.best_auroc is None or row["valid_mean_auroc"] > state.best_auroc
        if better:
            state.best_auroc, state.best_epoch = row["valid_mean_auroc"], state.epoch
        state.waited = 0 if better else state.waited + 1
        state.history.append(row)
        self.plateau.step(loss)
        # `mode_worse` is infinite, which JSON cannot hold, and is made anew on loading.
        state.plateau = {k: v for k, v in self.plateau.state_dict().items() if k != "mode_worse"}
        self.on_epoch(row, better, logits)
        if state.waited >= self.patience:
            self.stopped = True
            raise CancelFitException("no better valid mean AUROC")

    def _row(
        self, loss: float, logits: NDArray[np.float32], targets: NDArray[np.float32]
    ) -> dict[str, Any]:
        mask = ~np.isnan(targets)
        counted = np.where(mask, targets, 0)
        aurocs = auroc_per_label(counted > 0.5, logits, mask)
        valid_loss = MaskedCrossEntropy()(torch.from_numpy(logits), torch.from_numpy(targets))
        hypers = self.opt.hypers[-1]
        return {
            "epoch": self.state.epoch,
            "phase": self.phase,
            "train_loss": loss,
            "valid_loss": float(valid_loss),
            "valid_mean_auroc": mean_defined(list(aurocs))[0],
            "lr": float(hypers["lr"]),
            "weight_decay": float(hypers["wd"]),
            "train_seconds": self._train_seconds,
            "seconds": time.perf_counter() - self._started,
            **{name: float(value) for name, value in zip(self.labels, aurocs, strict=True)},
        }

    def _finish_device(self) -> None:
        if self.dls.device.type == "cuda":
            torch.cuda.synchronize(self.dls.device)


class ShowProgress(Callback):  # type: ignore[misc]
    """A bar for each pass over the images."""

    order = 61

    def __init__(self, control: Control, reporter: Reporter) -> None:
        super().__init__()
        self.control, self.reporter = control, reporter
        self._shown: Any = None

    def before_train(self) -> None:
        """Open the bar of a training pass."""
        self._open("training", self.dls.train)

    def before_validate(self) -> None:
        """Open the bar of a validation pass."""
        self.close()
        self._open("validating", self.dls.valid)

    def after_batch(self) -> None:
        """Move the bar on."""
        self._advance(len(self.yb[0]))

    def after_validate(self) -> None:
        """Close the bar before the epoch's line is printed."""
        self.close()

    def _open(self, what: str, loader: Any) -> None:
        text = f"epoch {self.control.state.epoch + 1}/{self.control.epochs} {what}"
        self._shown = self.reporter.steps(text, loader.n, summary=False)
        self._advance: Advance = self._shown.__enter__()

    def close(self) -> None:
        """Close what is open; also after an error or Ctrl-C."""
        if self._shown is not None:
            shown, self._shown = self._shown, None
            shown.__exit__(None, None, None)


def make_learner(
    dls: DataLoaders,
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    precision: str,
) -> CXRLearner:
    """A Learner with AdamW (betas 0.9 and 0.999, eps 1e-8) over the groups body, top and head."""
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
        loss_func=MaskedCrossEntropy(),
        opt_func=optimiser,
        lr=float(lr),
        splitter=lambda _: blocks.groups(),
        train_bn=False,
        default_cbs=False,
        cbs=[TrainingMode(blocks)],
    )
    learner.logger = lambda *_: None
    learner.precision = precision
    if precision == "fp16":
        learner.scaler = torch.amp.GradScaler(dls.device.type)
    learner.create_opt()
    return learner


def run_phases(
    learner: CXRLearner,
    control: Control,
    *,
    freeze_epochs: int,
    unfreeze: str,
    reporter: Reporter = SILENT,
) -> None:
    """Train in two fits: the head alone for `freeze_epochs`, then with the top block or all.

    With `freeze_epochs` 0 there is one fit, at the full rates.
    """
    frozen = min(freeze_epochs, control.epochs)
    if frozen:
        _fit(learner, control, HEAD, frozen, reporter)
    if control.stopped or control.epochs == frozen:
        return
    if frozen:
        lower_rates(learner)
    _fit(learner, control, unfreeze, control.epochs - frozen, reporter)


def lower_rates(learner: CXRLearner) -> None:
    """Multiply learning rate and weight decay by 0.1, neither below 1e-6."""
    hypers = learner.opt.hypers[-1]
    # A rate that is lower already stays: falling is never a rise.
    lr, weight_decay = (
        max(rate * UNFREEZE_FACTOR, min(rate, LEAST_RATE))
        for rate in (float(hypers["lr"]), float(hypers["wd"]))
    )
    learner.opt.set_hypers(lr=lr, wd=weight_decay)


def _fit(
    learner: CXRLearner, control: Control, phase: str, epochs: int, reporter: Reporter
) -> None:
    # opt.freeze_to and not learner.freeze_to: the latter would forget Adam's moments of the head.
    learner.opt.freeze_to(_FROZEN_GROUPS[phase])
    control.phase = phase
    lr = float(learner.opt.hypers[-1]["lr"])
    bars = ShowProgress(control, reporter)
    try:
        learner.fit(epochs, lr=lr, cbs=[control, bars])
    finally:
        bars.close()
    if control.failure:
        raise RunError(control.failure)
