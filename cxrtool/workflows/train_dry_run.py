"""`train --dry-run`: what would be trained, how long it would take, how much memory."""

import math
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.json_files import JsonResult
from cxrtool.core.new_runs import check_new_name
from cxrtool.core.workspace import Workspace
from cxrtool.networks.architectures import block_sizes
from cxrtool.training.advice import say_plan
from cxrtool.training.fastai_parts import Callback, CancelFitException
from cxrtool.training.learner import CXRLearner
from cxrtool.training.phases import ScoresOnly
from cxrtool.training.schedules import ALL, FROZEN_GROUPS, HEAD, PHASES, TOP
from cxrtool.training.setup import Setup, tried

TIMED_STEPS = 3
"""After one that is not timed; the middle one of them counts."""
BYTES_A_WEIGHT = 12
"""In a checkpoint: fp32, and AdamW's two moments."""
TRAINED = {HEAD: ("head",), TOP: ("top", "head"), ALL: ("body", "top", "head")}


@dataclass(frozen=True)
class PlannedPhase:
    """One phase of a training."""

    phase: str
    epochs: int
    trained: int
    """Weights that move."""
    seconds_per_epoch: float
    """Estimated: training and validation."""


@dataclass(frozen=True)
class PlanResult(JsonResult):
    """What a training would be."""

    arch: str
    images: dict[str, int]
    labels: list[str]
    batch_size: int
    batches: int
    """In an epoch."""
    sampling: dict[str, Any]
    """What is drawn, of `Sampling.as_json`."""
    validations: int
    blocks: dict[str, int]
    """Weights in body, top and head."""
    phases: list[PlannedPhase]
    seconds: float
    """Estimated for all epochs, if it does not stop early."""
    memory_bytes: int
    """The most that was used in the steps tried: of the GPU, or of this process."""
    device: str
    precision: str
    checkpoint_bytes: int


class Stopwatch(Callback):  # type: ignore[misc]
    """Takes the time of a few steps, and ends the pass."""

    order = 60

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.times = steps, [time.perf_counter()]

    def after_batch(self) -> None:
        """Take the time."""
        if self.dls.device.type == "cuda":
            torch.cuda.synchronize(self.dls.device)
        self.times.append(time.perf_counter())
        if len(self.times) > self.steps:
            raise CancelFitException("enough is known")

    @property
    def seconds_a_batch(self) -> float:
        """The median, without the first, which starts everything."""
        taken = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        return sorted(taken[1:] or taken)[len(taken[1:] or taken) // 2]


def plan_training(
    config: TrainConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> PlanResult:
    """Say what a training would be, from a few of its steps; nothing is written.

    Raises:
        UsageError, DataError, WeightsError, RunError: as `train_model` would.
    """
    if config.lr_find:
        raise UsageError("--dry-run and --lr-find cannot be combined: leave one of them out")
    check_new_name(workspace.runs, config.name, force=config.force)
    with tried(config, workspace, "--dry-run", seed=seed, reporter=reporter) as setup:
        say_plan(setup, reporter)
        if config.compile:
            reporter.note("the estimates are made without --compile")
        with reporter.busy("trying a few batches"):
            phases = _phases(setup, _seconds_to_validate(setup))
        return _result(setup, phases)


def _result(setup: Setup, phases: list[PlannedPhase]) -> PlanResult:
    config, data, loader = setup.config, setup.data, setup.learner.dls.train
    blocks = block_sizes(setup.network)
    return PlanResult(
        arch=config.arch,
        images={name: len(data.part(valid=name == "valid")) for name in ("train", "valid")},
        labels=list(data.labels),
        batch_size=config.batch_size,
        batches=loader.epoch_batches,
        sampling=setup.sampling.as_json(data.part(valid=False)["path"].tolist()),
        validations=config.validations,
        blocks=blocks,
        phases=phases,
        seconds=sum(phase.epochs * phase.seconds_per_epoch for phase in phases),
        memory_bytes=_memory(setup.device),
        device=str(setup.device),
        precision=config.precision,
        checkpoint_bytes=sum(blocks.values()) * (BYTES_A_WEIGHT + 4 * bool(config.ema)),
    )


def _phases(setup: Setup, validation: float) -> list[PlannedPhase]:
    config, blocks = setup.config, block_sizes(setup.network)
    frozen = min(config.freeze_epochs or 0, config.epochs)
    lengths = {HEAD: frozen, str(config.unfreeze): config.epochs - frozen}
    batches = setup.learner.dls.train.epoch_batches
    return [
        PlannedPhase(
            phase=PHASES[phase],
            epochs=epochs,
            trained=sum(blocks[name] for name in TRAINED[phase]),
            seconds_per_epoch=batches * _seconds_a_step(setup.learner, phase)
            + validation * config.validations,
        )
        for phase, epochs in lengths.items()
        if epochs
    ]


def _seconds_a_step(learner: CXRLearner, phase: str) -> float:
    learner.opt.freeze_to(FROZEN_GROUPS[phase])
    watch = Stopwatch(min(1 + TIMED_STEPS, learner.dls.train.epoch_batches))
    learner.fit(1, cbs=[watch])
    return watch.seconds_a_batch


def _seconds_to_validate(setup: Setup) -> float:
    """Estimated from the first batches of a validation."""
    loader = setup.learner.dls.valid
    watch = Stopwatch(min(1 + TIMED_STEPS, math.ceil(loader.n / loader.bs)))
    with torch.inference_mode():
        setup.learner.dl = loader
        # The watch ends it so; fastai's method, for a fit would train before it.
        with setup.learner.added_cbs([watch, ScoresOnly()]), suppress(CancelFitException):
            setup.learner._do_epoch_validate()
    return watch.seconds_a_batch * float(math.ceil(loader.n / loader.bs))


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
