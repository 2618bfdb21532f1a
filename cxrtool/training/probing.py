"""A training's last layer fitted to features, and what its run records of that."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxrtool.core.config import BALANCED, worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import counted
from cxrtool.core.workspace import Workspace
from cxrtool.networks.architectures import head_of
from cxrtool.training.control import Control
from cxrtool.training.features import (
    Features,
    FeaturesFolder,
    compute_features,
    facts_of,
    find_features,
    open_features,
)
from cxrtool.training.losses import positive_weights
from cxrtool.training.probe import (
    STRENGTHS,
    Probe,
    ProbeData,
    ProbeStep,
    cell_weights,
    fit_probe,
    weighed_targets,
)
from cxrtool.training.schedules import PROBE
from cxrtool.training.setup import Setup


def features_for(setup: Setup, workspace: Workspace, reporter: Reporter) -> Features:
    """The features of a training's images: those that are there, or computed now.

    Raises:
        DataError, RunError: a folder that is named has other features, or is damaged.
    """
    config = setup.config
    facts = facts_of(
        setup.network,
        setup.data,
        workspace,
        arch=config.arch,
        image_size=config.image_size,
        precision=config.precision,
        views=config.views,
        seed=setup.seed,
        half=config.half_features,
    )
    if config.features is not None:
        return open_features(FeaturesFolder(config.features), facts)
    found = find_features(workspace, facts)
    if found is not None:
        reporter.note(f"features: those of {found.folder.path}")
        return found
    return compute_features(
        setup.network,
        setup.data,
        workspace,
        facts,
        device=setup.device,
        workers=worker_count(config.workers),
        reporter=reporter,
        clock=time.perf_counter,
    )


@dataclass(frozen=True)
class FittedHead:
    """A last layer that was fitted to features, and is the network's now."""

    probe: Probe
    seconds: float
    images_per_second: float


def fit_head(setup: Setup, workspace: Workspace, reporter: Reporter) -> FittedHead:
    """Fit the last layer of a training's network to features of all before it."""
    features = features_for(setup, workspace, reporter)
    began = time.perf_counter()
    data = _probe_data(setup, features)
    config = setup.config

    def say(step: ProbeStep) -> None:
        reporter.detail(
            f"  l2 {step.l2:g}: loss {step.loss:.4f}, valid AUROC {step.valid_mean_auroc:.4f}, "
            f"{counted(step.steps, 'step')}"
        )

    with reporter.busy(f"fitting the last layer to {counted(len(data.targets), 'row')}"):
        strengths = STRENGTHS if config.l2 is None else (config.l2,)
        probe = fit_probe(data, strengths=strengths, said=say)
    head = head_of(setup.network)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weight))
        head.bias.copy_(torch.from_numpy(probe.bias))
    seconds = time.perf_counter() - began
    best = probe.steps[probe.best]
    chosen = "" if config.l2 is not None else f", chosen of {len(probe.steps)} on valid"
    views = f", {config.views} views an image" if config.views else ""
    reporter.note(
        f"last layer fitted to features of the frozen network{views}: l2 {probe.l2:g}{chosen}, "
        f"valid AUROC {best.valid_mean_auroc:.4f} ({seconds:.0f} s); not the report's frozen "
        f"epochs, which augment anew in each"
    )
    return FittedHead(probe, seconds, features.images_per_second or len(data.targets) / seconds)


def _probe_data(setup: Setup, features: Features) -> ProbeData:
    data, config = setup.data, setup.config
    is_valid = data.frame["is_valid"].to_numpy(dtype=bool)
    targets = data.targets(valid=False)
    positives = None
    if config.pos_weight == BALANCED:
        positives = positive_weights(targets, ~np.isnan(targets)).astype(np.float32)
    elif config.pos_weight != "none":
        positives = np.full(targets.shape[1], float(config.pos_weight), np.float32)
    weights = cell_weights(targets, setup.sampling.weights, positives)
    training = features.training(is_valid)
    return ProbeData(
        batches=training.batches,
        width=features.facts.width,
        targets=torch.from_numpy(weighed_targets(targets, positives)).repeat(training.times, 1),
        weights=(weights / training.times).repeat(training.times, 1),
        valid=features.valid(is_valid),
        valid_targets=data.targets(valid=True),
    )


def record_probe(control: Control, fitted: FittedHead) -> None:
    """Let a training's state say what was fitted; the best weights are kept."""
    state, probe = control.state, fitted.probe
    rows = [_row(number, step, fitted, control.labels) for number, step in enumerate(probe.steps)]
    state.phase, state.epoch, state.history = PROBE, len(rows), rows
    state.best_epoch = state.best_step = state.step = probe.best + 1
    state.best_auroc = probe.steps[probe.best].valid_mean_auroc
    control.on_validated(rows[probe.best], True, probe.valid_logits)


def _row(number: int, step: ProbeStep, fitted: FittedHead, labels: Sequence[str]) -> dict[str, Any]:
    """A strength of the penalty as an epoch of the history."""
    aurocs: NDArray[np.float64] = step.valid_aurocs
    return {
        "epoch": number + 1,
        "step": number + 1,
        "phase": PROBE,
        "train_loss": step.loss,
        "valid_loss": step.valid_loss,
        "valid_mean_auroc": step.valid_mean_auroc,
        "lr": 0.0,
        "body_lr": 0.0,
        "weight_decay": step.l2,
        "train_seconds": fitted.seconds / len(fitted.probe.steps),
        "images_per_second": fitted.images_per_second,
        "seconds": fitted.seconds / len(fitted.probe.steps),
        **{name: float(value) for name, value in zip(labels, aurocs, strict=True)},
    }
