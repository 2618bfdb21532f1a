"""What every form of `train` begins with: data, network and learner, as the options say."""

import os
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrtool.core.config import (
    BALANCED,
    IMAGENET,
    NO_WEIGHTS,
    USUAL_FROZEN,
    TrainConfig,
    worker_count,
)
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, RunError, UsageError, counted, first_few
from cxrtool.core.hardware import cores_in_use, free_threads, physical_memory
from cxrtool.core.processes import ALONE, Processes
from cxrtool.core.runs import RunFolder
from cxrtool.core.shares import shifted_labels, told_of_shifted
from cxrtool.core.workspace import Workspace, workspace_option
from cxrtool.data.ancestry import Ancestry, find_ancestry
from cxrtool.data.seen import SeenRows, rows_seen_before
from cxrtool.data.starts import located_start
from cxrtool.images.reading import ImageError
from cxrtool.networks.architectures import build_network
from cxrtool.networks.devices import choose_device, choose_precision, memory_ran_out
from cxrtool.networks.pretrained import LoadedWeights, load_pretrained
from cxrtool.training.control import TrainingPlan
from cxrtool.training.data import TrainingData, read_training_data
from cxrtool.training.dataloaders import make_dataloaders
from cxrtool.training.learner import CXRLearner, make_learner
from cxrtool.training.losses import make_loss, positive_weights
from cxrtool.training.sampling import Sampling, plan_sampling

WEIGHTED = "weighted"
ONE_CYCLE = "one-cycle"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training that is ready to begin."""

    config: TrainConfig
    """With every choice made."""
    seed: int
    device: torch.device
    processes: Processes
    data: TrainingData
    network: nn.Module
    learner: CXRLearner
    sampling: Sampling
    """How often each training image is drawn."""
    loaded: LoadedWeights
    """Where the network's weights come from."""
    ancestry: Ancestry
    """What those weights have seen, where they are a run's."""
    seen_in_valid: SeenRows | None
    """What of valid they have seen; None where they are no run's."""

    @property
    def plan(self) -> TrainingPlan:
        """How long the training is, and what changes on its way."""
        config = self.config
        return TrainingPlan(
            epochs=config.epochs,
            freeze_epochs=config.freeze_epochs or 0,
            unfreeze=str(config.unfreeze),
            validations=config.validations,
            patience=config.patience,
            schedule=config.schedule,
            warmup=config.warmup,
            plateau_patience=config.plateau_patience,
            auc_after=config.auc_after if config.loss == "auc" else None,
            checkpoint_every=60 * config.checkpoint_every,
        )

    def later_loss(self) -> nn.Module | None:
        """The loss that takes over from cross-entropy, if one does."""
        return make_loss("auc", pos_weight=None) if self.config.loss == "auc" else None


def refuse_frozen(config: TrainConfig, typed: Collection[str]) -> None:
    """Refuse more frozen epochs than epochs.

    A short training may have fewer than the usual number; a run's config.yaml has that number too.

    Args:
        config: of a training that begins.
        typed: the options that were typed, and did not come from a file.

    Raises:
        UsageError: there are more, and somebody asked for them.
    """
    frozen = config.freeze_epochs or 0
    asked = "freeze_epochs" in typed or frozen > USUAL_FROZEN
    if config.resume is None and frozen > config.epochs and asked:
        raise UsageError(
            f"--freeze-epochs {frozen} is more than --epochs {config.epochs}: give more epochs, or "
            f"--freeze-epochs {config.epochs} to train the last layer alone"
        )


def resolve(config: TrainConfig, processes: Processes = ALONE) -> tuple[TrainConfig, torch.device]:
    """Make every choice that an option leaves to us, and refuse what cannot be.

    Raises:
        UsageError: an unknown architecture or device, or options that contradict each other.
    """
    device = choose_device(config.device, processes.local_rank if processes.world > 1 else None)
    config = replace(config.resolved(), precision=choose_precision(config.precision, device))
    with torch.device("meta"):  # nothing is computed: is there such a network?
        build_network(config.arch, 1, drop_rate=config.drop_rate)
    if config.schedule == ONE_CYCLE and config.warmup:
        raise UsageError(
            f"--warmup {config.warmup:g} with --schedule {ONE_CYCLE}, which has a rise of its own: "
            "pass --warmup 0, or choose another schedule"
        )
    if config.sampling_cap is not None and config.sampling != WEIGHTED:
        raise UsageError(
            f"--sampling-cap {config.sampling_cap:g} bounds what --sampling weighted draws, and "
            f"--sampling {config.sampling} draws each image once: leave one of them out"
        )
    if config.loss != "bce" and config.pos_weight != "none":
        raise UsageError(f"--pos-weight belongs to --loss bce: {config.loss} weighs by itself")
    return config, device


def use_free_cores(
    config: TrainConfig,
    device: torch.device,
    processes: Processes = ALONE,
    *,
    begun: int | None = None,
    reporter: Reporter,
) -> TrainConfig:
    """As many threads as there are cores that nothing else uses, unless somebody said how many.

    Threads that share a core with another program hold up all others at every layer: beside one
    busy process, one thread of two trains twice as fast as two (tests/benchmarks/bench_busy.py).
    A run that is resumed goes on with the number that it was begun with, since another one rounds
    in another order.

    Args:
        config: of a training that is about to begin.
        device: that computes.
        processes: that train together; several share the cores already.
        begun: the threads of the run that is resumed.
        reporter: told where there are fewer threads than usual.
    """
    asked = config.threads is not None or os.environ.get("OMP_NUM_THREADS")
    if asked or device.type != "cpu" or processes.world > 1:
        return config
    usual, cores = torch.get_num_threads(), worker_count(None, most=None)
    if begun is not None:
        return replace(config, threads=min(begun, usual))
    used = cores_in_use()
    number = free_threads(used, cores=cores, usual=usual)
    if number == usual:
        return config
    reporter.note(
        f"other processes use {used:.1f} of {cores} cores: computing with "
        f"{counted(number, 'thread')}, which is faster beside them (--threads {usual} takes all)"
    )
    return replace(config, threads=number)


def set_up(
    config: TrainConfig,
    device: torch.device,
    workspace: Workspace,
    *,
    seed: int,
    processes: Processes = ALONE,
    fresh: bool = True,
    reporter: Reporter,
) -> Setup:
    """Read the data and build network and learner, as a resolved `config` says.

    Args:
        config: with every choice made (see `resolve`).
        device: where it computes.
        workspace: with a manifest and a split.
        seed: of every generator.
        processes: those that train together.
        fresh: load the weights to start from; False where a checkpoint will give them.
        reporter: told what is unusual.

    Raises:
        DataError: no manifest or split, or too little data to train or to score.
        UsageError: options that this data makes impossible.
        WeightsError: the pretrained weights cannot be had or do not fit.
    """
    refuse_huge(config, processes.world)
    data = read_training_data(config, workspace, seed, reporter, processes.world)
    if config.workers is None and data.cache is not None and device.type == "cpu":
        # Reading a batch takes a thousandth of a step; processes would take cores from it.
        config = replace(config, workers=0)
    seed_everything(seed)
    network = build_network(config.arch, len(data.labels), drop_rate=config.drop_rate)
    weights = located_start(config.weights, workspace.runs) if fresh else NO_WEIGHTS
    loaded = load_pretrained(network, config.arch, weights, data.labels, workspace.runs)
    if fresh:
        config = replace(config, weights=loaded.recorded)
    ancestry = find_ancestry(weights, workspace.runs)
    seen = None
    if ancestry.ancestors:
        valid, workers = data.part(valid=True), config.workers
        seen = rows_seen_before(ancestry, valid, workspace, workers=workers, reporter=reporter)
    sampling = plan_sampling(
        data.targets(valid=False),
        data.labels,
        weighted=config.sampling == WEIGHTED,
        cap=config.sampling_cap,
    )
    learner = _learner(config, data, sampling, network, device, seed, processes)
    if learner.dls.train.epoch_batches < config.validations:
        raise UsageError(
            f"--validations {config.validations}: an epoch has {learner.dls.train.epoch_batches} "
            "batches, and so many validations at most"
        )
    # From here on each process draws its own noise; the networks above are equal.
    torch.manual_seed(seed + processes.rank)
    return Setup(
        config=config,
        seed=seed,
        device=device,
        processes=processes,
        data=data,
        network=network,
        learner=learner,
        sampling=sampling,
        loaded=loaded,
        ancestry=ancestry,
        seen_in_valid=seen,
    )


def _learner(
    config: TrainConfig,
    data: TrainingData,
    sampling: Sampling,
    network: nn.Module,
    device: torch.device,
    seed: int,
    processes: Processes,
) -> CXRLearner:
    targets = data.targets(valid=False)
    dls = make_dataloaders(
        data.frame,
        data.labels,
        folder=data.folder,
        cache=data.cache,
        image_size=config.image_size,
        batch_size=config.batch_size,
        mean=data.mean,
        std=data.std,
        weights=sampling.weights,
        workers=config.workers,
        device=device,
        seed=seed,
        ranges=data.ranges,
        processes=processes,
    )
    first_loss = "bce" if config.loss == "auc" else config.loss
    loss = make_loss(first_loss, pos_weight=_pos_weight(config, targets)).to(device)
    if processes.world > 1:
        loss.share = processes.mean  # type: ignore[assignment]
    return make_learner(
        dls,
        network,
        lr=config.lr,
        body_lr=config.body_lr,
        weight_decay=config.weight_decay,
        precision=config.precision,
        loss=loss,
    )


def _pos_weight(config: TrainConfig, targets: NDArray[np.float32]) -> torch.Tensor | None:
    if config.pos_weight == "none":
        return None
    if config.pos_weight == BALANCED:
        return torch.from_numpy(positive_weights(targets, ~np.isnan(targets)))
    return torch.full((targets.shape[1],), float(config.pos_weight))


def seed_everything(seed: int) -> None:
    """Seed every generator, so that the same machine gives the same weights again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # libraries may draw from the global one
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def say_plan(setup: Setup, reporter: Reporter) -> None:
    """Tell what will be trained, and what of it is unusual."""
    config, data = setup.config, setup.data
    train, valid = (len(data.part(valid=valid)) for valid in (False, True))
    cached = f" (from a cache at {data.cache.image_size})" if data.cache else ""
    shared = f" in {setup.processes.world} processes" if setup.processes.world > 1 else ""
    blank = ", blank ignored" if config.blank == "ignore" else ""
    reporter.note(
        f"{config.arch}, {setup.loaded.source}; {train:,} training and {valid:,} valid images of "
        f"{config.image_size} px{cached}; {setup.device}{shared}, {config.precision}; "
        f"uncertain as {config.uncertainty}{blank}, {config.sampling} sampling"
    )
    if config.weights != NO_WEIGHTS:
        reporter.note(setup.loaded.detail)
    _say_unusual(setup, reporter)


def _say_unusual(setup: Setup, reporter: Reporter) -> None:
    config = setup.config
    if setup.seen_in_valid:
        whose = f"the weights that it begins with ({setup.ancestry.names}) were trained on"
        for text in setup.seen_in_valid.describe("valid", whose):
            reporter.warn(
                f"{text}: scores on valid, and the epoch and thresholds chosen by them, will be "
                "too good. Begin from weights that have not seen valid, or split so that it is new"
            )
    if config.weights == NO_WEIGHTS and config.unfreeze == "all" and not config.freeze_epochs:
        reporter.note(
            "--weights none: nothing is worth freezing, so all blocks are trained from the start"
        )
    elif config.weights == NO_WEIGHTS and config.unfreeze == "top":
        reporter.warn("--weights none --unfreeze top: the body keeps its random weights")
    cores = worker_count(None, most=None)
    if config.threads is not None and setup.device.type != "cpu":
        reporter.note(f"--threads {config.threads}: of what is not done on {setup.device}")
    elif config.threads is not None and config.threads > cores:
        reporter.warn(
            f"--threads {config.threads} on {cores} cores: they wait for each other, which is "
            "slower than one a core"
        )
    _say_unusual_sampling(setup, reporter)
    if config.sampling == WEIGHTED and config.pos_weight != "none":
        reporter.warn(
            "--sampling weighted together with --pos-weight counts rare findings twice: one of "
            "them is enough (--sampling uniform, or --pos-weight none)"
        )
    if (config.freeze_epochs or 0) >= config.epochs:
        reporter.note(
            f"--freeze-epochs {config.freeze_epochs}, --epochs {config.epochs}: the last layer "
            "alone is trained"
        )
    if config.warmup >= config.epochs:
        reporter.warn(
            f"--warmup {config.warmup:g} is no less than --epochs {config.epochs}: the rates rise "
            "to the end and never reach --lr"
        )
    if config.loss == "auc" and config.auc_after >= config.epochs:
        reporter.warn(
            f"--auc-after {config.auc_after} is no less than --epochs {config.epochs}: all of it "
            "is trained with bce, and --loss auc never takes over"
        )
    labels, targets = setup.data.labels, setup.data.targets(valid=False)
    for what, absent in (
        ("positive", [not (column > 0.5).any() for column in targets.T]),
        ("negative", [not (column <= 0.5).any() for column in targets.T]),
    ):
        names = [label for label, missing in zip(labels, absent, strict=True) if missing]
        if names:
            reporter.warn(
                f"{len(names)} label{'s have' if len(names) > 1 else ' has'} no {what} training "
                "image and cannot be learned: "
                f"{first_few(names, 14)} (--labels chooses others)"
            )


def _say_unusual_sampling(setup: Setup, reporter: Reporter) -> None:
    """Warn where weighted sampling does nothing, or lives on one image."""
    sampling = setup.sampling
    if sampling.weights is None:
        return
    path = setup.data.part(valid=False)["path"].iloc[sampling.most]
    cap = f"--sampling-cap {sampling.cap:g}" if sampling.cap is not None else ""
    if not sampling.changes:
        why = "an image without a positive weighs as one of the commonest label"
        reporter.warn(
            f"--sampling weighted draws all images alike here ({cap or why}), so it changes "
            "nothing: --pos-weight balanced makes rare positives count more"
        )
    elif sampling.dominant:
        reporter.warn(
            f"{path} alone is {sampling.times / sampling.images:.0%} of every epoch (drawn "
            f"{sampling.times:.0f} times, as expected of its weight), for its labels are that "
            "rare: --sampling-cap N lets no image be drawn more than N times"
        )
    elif cap and not sampling.at_cap:
        reporter.note(
            f"{cap} holds nothing back: no image is expected more than {sampling.times:.1f} times"
        )


def say_sampling(setup: Setup, reporter: Reporter) -> None:
    """Tell each label's share of the images and of what is drawn, where the two differ."""
    sampling = setup.sampling
    if not sampling.changes:
        return
    path = setup.data.part(valid=False)["path"].iloc[sampling.most]
    held = f" ({counted(sampling.at_cap, 'image')} at the cap)" if sampling.cap else ""
    width = max(map(len, sampling.labels))
    reporter.note(f"{'positive in':{width}}  images   drawn")
    for label, share, drawn in zip(sampling.labels, sampling.shares, sampling.drawn, strict=True):
        reporter.note(f"{label:{width}}  {share:6.1%}  {drawn:6.1%}")
    reporter.note(f"drawn most often: {path}, {sampling.times:.1f} times an epoch{held}")


def say_shifted(setup: Setup, run: RunFolder, reporter: Reporter) -> None:
    """Tell what weighted sampling did to the probabilities of a run, once it is done."""
    sampling = setup.sampling
    shares = {
        label: (float(share), float(drawn))
        for label, share, drawn in zip(
            sampling.labels, sampling.shares, sampling.drawn, strict=True
        )
    }
    labels = shifted_labels(shares)
    if labels:
        place = workspace_option(run.path.parent.parent)
        reporter.note(told_of_shifted(run.name, labels, place=place))


@contextmanager
def few_batches(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Turn what stops a trial of a few batches into what a user can mend.

    Raises:
        DataError: an image broke since `prepare`.
        RunError: memory ran out.
    """
    try:
        yield
    except ImageError as error:
        raise broken_image(error) from None
    except (RuntimeError, MemoryError) as error:
        if not memory_ran_out(error):
            raise
        raise too_large(config, device) from None


def broken_image(error: ImageError) -> DataError:
    """What is said where an image broke since `prepare`."""
    # From a worker the message comes with the worker's own traceback before it.
    reason = (
        str(error).strip().splitlines()[-1].removeprefix(f"{ImageError.__module__}.ImageError: ")
    )
    return DataError(
        f"{reason}: run `cxrtool prepare` and `cxrtool split --force` again, then train"
    )


def too_large(
    config: TrainConfig, device: torch.device, world: int = 1, where: str = ""
) -> RunError:
    """What is said where a batch does not fit into memory: what to halve, and where."""
    size = config.batch_size
    half = max(size // 2 // world, 2) * world
    smaller = f"--batch-size {half}" if half < size else "a smaller --image-size"
    return RunError(
        f"{device} ran out of memory at --batch-size {size} with images of "
        f"{config.image_size} px: try {smaller}{where}"
    )


def refuse_huge(config: TrainConfig, world: int, memory: int | None = None) -> None:
    """Refuse a batch whose pixels alone are more than this machine's memory.

    Args:
        config: with every choice made.
        world: processes that share a batch.
        memory: bytes; None: this machine's.

    Raises:
        UsageError: nothing could hold it, and a machine that tries is busy for minutes.
    """
    memory = physical_memory() if memory is None else memory
    # As the loader has a pixel (a float), and as the network takes it (three of them).
    needed = config.batch_size // world * config.image_size**2 * 4 * (1 + 3)
    if memory and needed > memory:
        raise UsageError(
            f"--batch-size {config.batch_size} with --image-size {config.image_size}: the images "
            f"of a batch alone need {needed / 2**30:,.0f} GiB, and this machine has "
            f"{memory / 2**30:,.0f} GiB: make one of the two smaller"
        )


def told_settings(settings: dict[str, object]) -> dict[str, object]:
    """A run's settings as they may leave the machine: a file's path may name a person."""
    known = settings["weights"] in (IMAGENET, NO_WEIGHTS)
    return {**settings, "weights": settings["weights"] if known else "file"}
