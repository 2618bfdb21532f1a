"""`train`: a manifest and its split to a run folder. The test part is never read."""

import random
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrtool.config import IMAGENET, NO_WEIGHTS, TrainConfig
from cxrtool.dataloaders import make_dataloaders, sample_weights
from cxrtool.devices import choose_device, choose_precision
from cxrtool.errors import DataError, first_few
from cxrtool.images import ImageError
from cxrtool.learner import Control, CXRLearner, make_learner, run_phases
from cxrtool.networks import build_network, load_pretrained
from cxrtool.report import SILENT, Reporter
from cxrtool.runs import NewRunFolder, RunFolder, check_new_name
from cxrtool.tracking import track
from cxrtool.workflows.train_data import TrainingData, read_training_data
from cxrtool.workflows.train_record import RunRecorder, settings_of
from cxrtool.workspace import Workspace


@dataclass(frozen=True)
class TrainResult:
    """What a training came to."""

    run: RunFolder
    epochs: int
    best_epoch: int
    valid_mean_auroc: float
    images_per_second: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {**vars(self), "run": self.run.name}


def train_model(
    config: TrainConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> TrainResult:
    """Train a network as `config` says and write its run folder.

    Raises:
        DataError: no manifest or split, or too little data to train or to score.
        UsageError: an unknown architecture or device, or a drop rate for a ResNet.
        WeightsError: the pretrained weights cannot be had or do not fit.
        RunError: the loss became something that is not a number.
    """
    started = time.perf_counter()
    device = choose_device(config.device)
    config = replace(config.resolved(), precision=choose_precision(config.precision, device))
    default_name = f"{config.arch}-{config.uncertainty}"
    if config.fold is not None:
        default_name += f"-fold{config.fold}"
    # What can be refused is refused before anything is read.
    build_network(config.arch, 1, drop_rate=config.drop_rate)
    check_new_name(workspace.runs, config.name, force=config.force)
    data = read_training_data(config, workspace, seed, reporter)
    if config.workers is None and data.cache is not None and device.type == "cpu":
        # Reading a batch takes a thousandth of a step; processes would take cores from it.
        config = replace(config, workers=0)
    seed_everything(seed)
    network = build_network(config.arch, len(data.labels), drop_rate=config.drop_rate)
    source = load_pretrained(network, config.arch, config.weights)
    _say_plan(config, data, device, source, reporter)
    learner = _learner(config, data, network, device, seed)
    settings = settings_of(config, seed)
    # A weights file's path may name a person or a place: it does not leave.
    known = config.weights in (IMAGENET, NO_WEIGHTS)
    told = {**settings, "weights": config.weights if known else "file"}
    with (
        NewRunFolder(workspace.runs, config.name, default_name, force=config.force) as folder,
        track(config.wandb, folder.target.name, told, workspace.folder, reporter) as tracker,
    ):
        recorder = RunRecorder(folder, config, data, network, tracker, reporter)
        recorder.begin(settings, device, source, workspace)
        control = _train(config, data, learner, recorder, reporter)
        recorder.finish(control.state)
    return TrainResult(
        run=folder.run,
        epochs=control.state.epoch,
        best_epoch=int(control.state.best_epoch or 0),
        valid_mean_auroc=float(control.state.best_auroc or 0),
        images_per_second=control.images_per_second,
        seconds=time.perf_counter() - started,
    )


def _learner(
    config: TrainConfig, data: TrainingData, network: nn.Module, device: torch.device, seed: int
) -> CXRLearner:
    dls = make_dataloaders(
        data.frame,
        data.labels,
        folder=data.folder,
        cache=data.cache,
        image_size=config.image_size,
        batch_size=config.batch_size,
        mean=data.mean,
        std=data.std,
        weights=_sampling(config, data),
        workers=config.workers,
        device=device,
        seed=seed,
    )
    return make_learner(
        dls, network, lr=config.lr, weight_decay=config.weight_decay, precision=config.precision
    )


def _train(
    config: TrainConfig,
    data: TrainingData,
    learner: CXRLearner,
    recorder: RunRecorder,
    reporter: Reporter,
) -> Control:
    control = Control(
        data.labels,
        epochs=config.epochs,
        plateau_patience=config.plateau_patience,
        patience=config.patience,
        on_epoch=recorder.end_epoch,
    )
    try:
        run_phases(
            learner,
            control,
            freeze_epochs=config.freeze_epochs or 0,
            unfreeze=str(config.unfreeze),
            reporter=reporter,
        )
    except ImageError as error:
        # From a worker the message comes with the worker's own traceback before it.
        reason = str(error).strip().splitlines()[-1].removeprefix("cxrtool.images.ImageError: ")
        raise DataError(
            f"{reason}: run `cxrtool prepare` and `cxrtool split --force` again, then train"
        ) from None
    if control.stopped:
        reporter.note(f"stopped: {config.patience} epochs without a better mean AUROC on valid")
    return control


def seed_everything(seed: int) -> None:
    """Seed every generator, so that the same machine gives the same weights again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # fastai draws from the global one
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _sampling(config: TrainConfig, data: TrainingData) -> NDArray[np.float64] | None:
    if config.sampling == "uniform":
        return None
    targets = data.targets(valid=False)
    return sample_weights(targets, ~np.isnan(targets))


def _say_plan(
    config: TrainConfig,
    data: TrainingData,
    device: torch.device,
    source: str,
    reporter: Reporter,
) -> None:
    train, valid = (len(data.part(valid=valid)) for valid in (False, True))
    cached = f" (from a cache at {data.cache.side})" if data.cache else ""
    reporter.note(
        f"{config.arch}, {source}; {train:,} training and {valid:,} valid images of "
        f"{config.image_size} px{cached}; {device}, {config.precision}; "
        f"U-{config.uncertainty.title()}, {config.sampling} sampling"
    )
    if config.weights == NO_WEIGHTS and config.unfreeze == "all" and not config.freeze_epochs:
        reporter.note(
            "--weights none: nothing is worth freezing, so all blocks are trained from the start"
        )
    elif config.weights == NO_WEIGHTS and config.unfreeze == "top":
        reporter.warn("--weights none --unfreeze top: the body keeps its random weights")
    targets = data.targets(valid=False)
    absent = [
        label
        for label, column in zip(data.labels, targets.T, strict=True)
        if not (column > 0.5).any()
    ]
    if absent:
        reporter.warn(
            f"{len(absent)} labels have no positive training image and cannot be learned: "
            f"{first_few(absent, 14)}"
        )
