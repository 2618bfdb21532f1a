"""The one callback that decides: rates, best epoch, early stopping, when to save and to stop."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxrtool.core.config import LEAST_RATE, PLATEAU_FACTOR, UNFREEZE_FACTOR
from cxrtool.core.errors import RunError, first_few
from cxrtool.core.processes import ALONE, Processes
from cxrtool.data.labels import majority
from cxrtool.evaluation.metrics import auroc_per_label, mean_defined
from cxrtool.training.averaging import WeightAverage
from cxrtool.training.fastai_parts import Callback, CancelFitException
from cxrtool.training.losses import MaskedCrossEntropy, counted_cells
from cxrtool.training.schedules import rate_factor

LOOK_EVERY = 50
"""Batches between two looks at the losses on a device that computes ahead; a look waits for it."""
MEET_EVERY = 4
"""Batches between two meetings of several processes, at which they agree to save or to stop."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How long a training is, and what changes on its way."""

    epochs: int
    freeze_epochs: int = 0
    unfreeze: str = "all"
    validations: int = 1
    """In an epoch, evenly spread, the last at its end."""
    patience: int = 5
    """Epochs without a better valid mean AUROC."""
    schedule: str = "plateau"
    warmup: float = 0.0
    plateau_patience: int = 2
    auc_after: int | None = None
    """Epochs after which the AUC loss takes over from cross-entropy; None: never."""
    checkpoint_every: float = math.inf
    """Seconds."""


@dataclass
class ControlState:
    """Where a training stands, as plain JSON."""

    epoch: int = 0
    """Epochs done, over all phases."""
    batch: int = 0
    """Training batches done of the epoch in progress."""
    validations: int = 0
    """Validations done of the epoch in progress."""
    step: int = 0
    """Training batches done in all."""
    phase: str = ""
    rates: list[list[float]] = field(default_factory=list)
    """Learning rate and weight decay of body, top and head, before the schedule's factor."""
    best_epoch: int | None = None
    best_step: int | None = None
    best_auroc: float | None = None
    waited: int = 0
    """Validations since the best one."""
    plateau: dict[str, Any] = field(default_factory=dict)
    """torch's ReduceLROnPlateau.state_dict()."""
    history: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The state as values that JSON can hold: a score that is not defined is null."""
        state = asdict(self)
        state["history"] = [
            {key: None if value != value else value for key, value in row.items()}
            for row in self.history
        ]
        return state

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "ControlState":
        """The state that `as_json` gave."""
        history = [
            {key: math.nan if value is None else value for key, value in row.items()}
            for row in values["history"]
        ]
        return cls(**{**values, "history": history})


Validated = Callable[[dict[str, Any], bool, NDArray[np.float32]], None]
"""Called with a validation's row, whether it is the best so far, and the valid logits."""


class Control(Callback):  # type: ignore[misc]
    """The one place that decides, over all phases of a training.

    fastai's epochs are the stretches between validations, of which `TrainingPlan.validations` make
    an epoch of the data. Under the plateau schedule the learning rate falls by a factor of 10 when
    an epoch's training loss, the mean over all cells that count, has not fallen for more than
    `plateau_patience` epochs (torch's ReduceLROnPlateau); training ends when `patience` epochs
    passed without a better mean AUROC on valid.
    """

    order = 60

    def __init__(
        self,
        labels: Sequence[str],
        plan: TrainingPlan,
        *,
        on_validated: Validated,
        write_state: Callable[[], None] = lambda: None,
        stop_asked: Callable[[], bool] = lambda: False,
        average: WeightAverage | None = None,
        later_loss: nn.Module | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.labels, self.plan = list(labels), plan
        self.on_validated, self.write_state, self.stop_asked = on_validated, write_state, stop_asked
        self.average, self.later_loss, self.processes = average, later_loss, processes
        self.state = ControlState()
        self.losses: list[Tensor] = []
        self.counted: list[Tensor] = []
        """The cells that each of the epoch's losses is the mean over."""
        self.sizes: list[int] = []
        self.interrupted = False
        self.failure: Exception | None = None
        self._timed_images, self._timed_seconds = 0, 0.0
        self._saved = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether so many epochs passed without a better score that training ends."""
        return self.state.waited >= self.plan.patience * self.plan.validations

    @property
    def images_per_second(self) -> float:
        """Training throughput so far, without each stretch's first batch, which starts workers."""
        return self._timed_images / self._timed_seconds if self._timed_seconds else 0.0

    def stretches_left(self, last_epoch: int) -> int:
        """How many validations there are to come before `last_epoch` epochs are done."""
        return (last_epoch - self.state.epoch) * self.plan.validations - self.state.validations

    def before_fit(self) -> None:
        """Take up rates and plateau where the last phase, or a checkpoint, left them."""
        self._set_rates(1.0)
        self._plateau = ReduceLROnPlateau(
            self.opt.opt, mode="min", factor=PLATEAU_FACTOR, patience=self.plan.plateau_patience
        )
        if self.state.plateau:
            self._plateau.load_state_dict(self.state.plateau)

    def before_train(self) -> None:
        """Start a stretch: the batches up to the next validation."""
        state, loader = self.state, self.dls.train
        if state.batch == 0:
            loader.begin_epoch()
            self.losses, self.counted, self.sizes = [], [], []
        end = round(loader.epoch_batches * (state.validations + 1) / self.plan.validations)
        loader.set_window(state.batch, end)
        if self.later_loss is not None and state.epoch >= (self.plan.auc_after or 0):
            self.learn.loss_func = self.later_loss
        self._logits: list[Tensor] = []
        self._stretch = len(self.losses)
        self._started = time.perf_counter()
        self._first_done: float | None = None

    def before_batch(self) -> None:
        """Set the rates for a step."""
        plan = self.plan
        if self.training and (plan.warmup or plan.schedule in ("cosine", "one-cycle")):
            done = self.state.epoch + self.state.batch / self.dls.train.epoch_batches
            factor = rate_factor(plan.schedule, done=done, total=plan.epochs, warmup=plan.warmup)
            self._set_rates(factor)

    def after_batch(self) -> None:
        """Keep what the epoch's figures are made of; on the device, so that nothing waits."""
        if not self.training:
            self._logits.append(self.pred.detach().float())
            done = len(self._logits)  # some processes may have one more than all have
            if done <= self.dls.valid.epoch_batches and self._agreed_to_stop(done):
                self._interrupt()
            return
        self.losses.append(self.loss)
        self.counted.append(counted_cells(self.learn.loss_func, self.yb[0]))
        self.sizes.append(len(self.yb[0]))
        self.state.batch += 1
        self.state.step += 1
        if self.average is not None:
            self.average.update(self.learn.network)
        if self._first_done is None:
            self._finish_device()
            self._first_done = time.perf_counter()
        self._look()
        if self._agreed_to_stop(self.state.step):
            self._interrupt()

    def after_train(self) -> None:
        """Take the time of the stretch."""
        self._look(at_end=True)
        self._finish_device()
        self._train_seconds = time.perf_counter() - self._started
        sizes = self.sizes[self._stretch :]
        if len(sizes) > 1 and self._first_done is not None:
            self._timed_images += sum(sizes[1:]) * self.processes.world
            self._timed_seconds += time.perf_counter() - self._first_done

    def after_epoch(self) -> None:
        """Judge a stretch, and at its end an epoch: best, plateau, stop."""
        try:
            self._judge()
        except Exception as error:  # fastai would rewrite its message
            self.failure = error
            raise CancelFitException("the judging failed") from None
        if self.stopped:
            raise CancelFitException("no better valid mean AUROC")

    def _judge(self) -> None:
        state = self.state
        loss = self._mean_loss()
        valid = self.dls.valid
        mine = torch.cat(self._logits) if self._logits else torch.zeros(0, len(self.labels))
        logits = self.processes.gather_rows(mine, len(valid.dataset)).cpu().numpy()
        ended = state.validations + 1 == self.plan.validations
        row = self._row(loss, logits, valid.targets.numpy())
        score = row["valid_mean_auroc"]  # NaN, where nothing is defined, is never better
        better = score > (-math.inf if state.best_auroc is None else state.best_auroc)
        if better:
            state.best_auroc = score
            state.best_epoch, state.best_step = state.epoch + 1, state.step
        state.waited = 0 if better else state.waited + 1
        state.history.append(row)
        state.validations += 1
        if ended:
            state.epoch, state.batch, state.validations = state.epoch + 1, 0, 0
            self._lower_on_plateau(loss)
        self.on_validated(row, better, logits)
        self._save()

    def _lower_on_plateau(self, loss: float) -> None:
        if self.plan.schedule != "plateau":
            return
        if self.state.epoch == self.plan.auc_after:
            self.state.plateau = {}  # the loss that follows is on another scale
            self.before_fit()
            return
        self._set_rates(1.0)
        self._plateau.step(loss)
        for rates, group in zip(self.state.rates, self.opt.opt.param_groups, strict=True):
            rates[0] = float(group["lr"])
        # `mode_worse` is infinite, which JSON cannot hold, and is made anew on loading.
        kept = self._plateau.state_dict().items()
        self.state.plateau = {key: value for key, value in kept if key != "mode_worse"}

    def _row(
        self, loss: float, logits: NDArray[np.float32], targets: NDArray[np.float32]
    ) -> dict[str, Any]:
        positive, decided = majority(targets)
        aurocs = auroc_per_label(positive, logits, decided)
        valid_loss = MaskedCrossEntropy()(torch.from_numpy(logits), torch.from_numpy(targets))
        hypers = self.opt.hypers
        return {
            "epoch": self.state.epoch + 1,
            "step": self.state.step,
            "phase": self.state.phase,
            "train_loss": loss,
            "valid_loss": float(valid_loss),
            "valid_mean_auroc": mean_defined(list(aurocs))[0],
            "lr": float(hypers[-1]["lr"]),
            "body_lr": float(hypers[0]["lr"]),
            "weight_decay": float(hypers[-1]["wd"]),
            "train_seconds": self._train_seconds,
            # Of what this process and its like did now: a resumed epoch's first part is not in it.
            "images_per_second": sum(self.sizes[self._stretch :])
            * self.processes.world
            / max(self._train_seconds, 1e-9),
            "seconds": time.perf_counter() - self._started,
            **{name: float(value) for name, value in zip(self.labels, aurocs, strict=True)},
        }

    def _set_rates(self, factor: float) -> None:
        for (lr, weight_decay), group in zip(
            self.state.rates, self.opt.opt.param_groups, strict=True
        ):
            group["lr"], group["weight_decay"] = lr * factor, weight_decay

    def _mean_loss(self) -> float:
        """The epoch's mean training loss so far, over all cells that count of all processes.

        NaN where none counted.
        """
        losses, counted = (
            torch.stack(values).double().cpu() for values in (self.losses, self.counted)
        )
        total = self.processes.sum(torch.stack([(losses * counted).sum(), counted.sum()]))
        return float(total[0] / total[1])

    def _look(self, *, at_end: bool = False) -> None:
        """End the training where a loss is not a number, and name the batch."""
        waits = self.dls.device.type != "cpu"
        if waits and not at_end and self.state.batch % LOOK_EVERY:
            return
        first = max(self._stretch, len(self.losses) - LOOK_EVERY) if waits else -1
        recent = self.losses[first:]
        if not recent or bool(torch.isfinite(torch.stack(recent)).all()):
            return
        bad = int((~torch.isfinite(torch.stack(recent))).nonzero()[0])
        batch = self.state.batch - len(recent) + bad
        loader = self.dls.train
        images = first_few([loader.paths[row] for row in loader.batches[batch]], 8)
        self.failure = RunError(
            f"the training loss is no longer finite in epoch {self.state.epoch + 1}, batch "
            f"{batch + 1}, whose images are {images}: try a lower --lr, or --precision fp32"
        )
        raise CancelFitException("the loss is not a number")

    def _agreed_to_stop(self, batch: int) -> bool:
        """Save where it is time; and whether any process was asked to stop."""
        if self.processes.world > 1 and batch % MEET_EVERY:
            return False
        due = time.monotonic() - self._saved >= self.plan.checkpoint_every
        stop, save = self.processes.any([self.stop_asked(), due])
        if save and not stop:
            self._save_or_fail()
        return stop

    def _interrupt(self) -> None:
        self._save_or_fail()
        self.interrupted = True
        raise CancelFitException("asked to stop")

    def _save_or_fail(self) -> None:
        try:
            self._save()
        except Exception as error:  # fastai would rewrite its message
            self.failure = error
            raise CancelFitException("saving failed") from None

    def _save(self) -> None:
        self.write_state()
        self._saved = time.monotonic()

    def _finish_device(self) -> None:
        if self.dls.device.type == "cuda":
            torch.cuda.synchronize(self.dls.device)


def lower_rates(state: ControlState) -> None:
    """Multiply learning rates and weight decays by 0.1, neither below 1e-6."""
    # A rate that is lower already stays: falling is never a rise.
    state.rates = [
        [max(rate * UNFREEZE_FACTOR, min(rate, LEAST_RATE)) for rate in pair]
        for pair in state.rates
    ]
