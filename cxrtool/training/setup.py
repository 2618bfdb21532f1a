"""What every form of `train` begins with: data, network and learner, as the options say."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrtool.core.config import BALANCED, NO_WEIGHTS, TrainConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.processes import ALONE, Processes, launched
from cxrtool.core.workspace import Workspace
from cxrtool.data.ancestry import Ancestry, find_ancestry
from cxrtool.data.seen import SeenRows, rows_seen_before
from cxrtool.data.starts import located_start
from cxrtool.networks.architectures import build_network
from cxrtool.networks.devices import compute_threads
from cxrtool.networks.pretrained import LoadedWeights, load_pretrained
from cxrtool.training.block import UNIFORM, WEIGHTED, block_of
from cxrtool.training.choices import network_options, refuse_huge, resolve, use_free_cores
from cxrtool.training.control import TrainingPlan
from cxrtool.training.data import TrainingData, read_training_data, refuse_batch_size
from cxrtool.training.failures import explained
from cxrtool.training.learner import CXRLearner, make_learner
from cxrtool.training.losses import make_loss, positive_weights
from cxrtool.training.sampling import Sampling, plan_sampling


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
    data = read_training_data(config, workspace, seed, reporter)
    refuse_batch_size(data, config, processes.world)
    if config.workers is None and data.cache is not None and device.type == "cpu":
        # Reading a batch takes a thousandth of a step; processes would take cores from it.
        config = replace(config, workers=0)
    seed_everything(seed)
    network = build_network(config.arch, len(data.labels), **network_options(config))
    start = _start(network, config, data, workspace, fresh=fresh, reporter=reporter)
    if fresh:
        config = replace(config, weights=start.loaded.recorded)
    sampling = plan_sampling(
        data.targets(valid=False),
        data.labels,
        weighted=config.sampling == WEIGHTED,
        cap=config.sampling_cap,
    )
    learner = _learner(config, data, sampling, network, device, seed, processes)
    _refuse_validations(config, learner)
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
        loaded=start.loaded,
        ancestry=start.ancestry,
        seen_in_valid=start.seen_in_valid,
    )


@dataclass(frozen=True)
class _Start:
    """What a network starts from."""

    loaded: LoadedWeights
    ancestry: Ancestry
    seen_in_valid: SeenRows | None


def _start(
    network: nn.Module,
    config: TrainConfig,
    data: TrainingData,
    workspace: Workspace,
    *,
    fresh: bool,
    reporter: Reporter,
) -> _Start:
    """Load the weights to start from, and find what they have seen."""
    weights = located_start(config.weights, workspace.runs) if fresh else NO_WEIGHTS
    loaded = load_pretrained(
        network,
        config.arch,
        weights,
        data.labels,
        workspace.runs,
        allow_missing=config.allow_missing,
    )
    ancestry = find_ancestry(weights, workspace.runs)
    seen = None
    if ancestry.ancestors:
        valid, workers = data.part(valid=True), config.workers
        seen = rows_seen_before(ancestry, valid, workspace, workers=workers, reporter=reporter)
    return _Start(loaded, ancestry, seen)


def _refuse_validations(config: TrainConfig, learner: CXRLearner) -> None:
    batches = learner.dls.train.epoch_batches
    if batches < config.validations:
        raise UsageError(
            f"--validations {config.validations}: an epoch has {batches} batches: use at most so "
            "many"
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
    with explained(config, device):  # the first image is read here
        dls = block_of(data, config.image_size, seed=seed).dataloaders(
            bs=config.batch_size,
            sampling=UNIFORM if sampling.weights is None else sampling.weights,
            num_workers=config.workers,
            device=device,
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


@contextmanager
def tried(
    config: TrainConfig, workspace: Workspace, option: str, *, seed: int, reporter: Reporter
) -> Iterator[Setup]:
    """A training of which a few batches are tried, for an option that leaves no run.

    Raises:
        UsageError: several processes would do it.
        UsageError, DataError, WeightsError, RunError: as `set_up`, and where a batch fails.
    """
    if launched().world > 1:
        raise UsageError(f"{option} works in one process: start it without torchrun")
    config, device = resolve(config)
    config = use_free_cores(config, device, reporter=reporter)
    with compute_threads(config.threads), explained(config, device):
        yield set_up(config, device, workspace, seed=seed, reporter=reporter)


def seed_everything(seed: int) -> None:
    """Seed every generator, so that the same machine gives the same weights again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # libraries may draw from the global one
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
