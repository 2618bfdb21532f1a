"""A training's whole state in one file of tensors and JSON, to resume from after a kill.

Not by `torch.save` or fastai's `Learner.save`: both write pickles, which run code when read.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cxrtool.core.errors import NotWrittenError, RunError
from cxrtool.core.files import open_regular, whole_file
from cxrtool.core.json_files import FORMAT, seal_of, shortened
from cxrtool.core.processes import Processes
from cxrtool.core.schemas import AGAIN, Count, Record, Sha256, Word, checked, model_of
from cxrtool.training.control import Control, ControlState
from cxrtool.training.learner import CXRLearner

BEST_LOGITS = "best_logits"
"""The tensor of what the best weights so far said on valid: (images, labels)."""


class CheckpointFacts(Record):
    """What a checkpoint holds besides its tensors."""

    control: dict[str, Any]
    """As `control.ControlState` writes it; of that there is a model too, `model_of` it."""
    frozen: Annotated[int, Field(ge=0, le=1000)]
    """The first group of layers that learns; fastai's number of it."""
    sampler: dict[str, Any]
    scaler: dict[str, Any] | None
    averaged: Count | None
    world: Annotated[int, Field(ge=1, le=100_000)]
    device: Word
    run: Sha256 | None = None
    """Its run's `identity`."""
    settings: dict[Word, Any] = Field(default_factory=dict)
    """Those of the training, as config.yaml had them."""
    best_sha256: Sha256 | None = None
    """Of the weights that are the best so far."""
    tensors_sha256: Sha256 | None = None
    sealed: Sha256 | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    facts: dict[str, Any]
    """Plain JSON."""
    tensors: dict[str, Tensor]
    path: Path | None = None
    """Where it was read from."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all: the one before it stays until this is on the disk.

    Raises:
        NotWrittenError: there is no room, or the disk failed.
    """
    tensors = _plain(checkpoint.tensors)
    facts = {"format": FORMAT, **checkpoint.facts, "tensors_sha256": _digest(tensors)}
    facts["sealed"] = seal_of(facts)
    write_tensors(path, tensors, {"facts": json.dumps(facts, allow_nan=False)})


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors, whole or not at all.

    Raises:
        NotWrittenError: there is no room, or the disk failed.
    """
    try:
        with whole_file(path) as temporary:
            save_file(_plain(tensors), temporary, metadata)
    except (SafetensorError, OSError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise NotWrittenError(f"{path} could not be written ({reason})") from None


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _digest(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of plain tensors: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is run.

    Raises:
        RunError: it is damaged, altered, or of another version.
    """
    try:
        with open_regular(path):  # a pipe would be waited for
            pass
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise RunError(f"{path} is not a readable checkpoint ({reason}): {AGAIN}") from None
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise RunError(
            f"{path} has format {shortened(found)}, this version of cxrtool reads format "
            f"{FORMAT}: use the version that wrote it"
        )
    known = checked(facts, CheckpointFacts, path)
    checked(known.control, model_of(ControlState), f"{path}: control")
    # Those of version 0.1 have neither.
    if (known.run or known.sealed) and known.sealed != seal_of(facts):
        raise RunError(f"{path} was edited since training wrote it (`sealed`): {AGAIN}")
    if known.tensors_sha256 not in (None, _digest(_plain(tensors))):
        raise RunError(
            f"{path} was altered since training wrote it (its tensors' SHA-256 is another): {AGAIN}"
        )
    return Checkpoint(facts, tensors, path)


def capture(learner: CXRLearner, control: Control, processes: Processes) -> Checkpoint:
    """The state of a training between two steps; all processes must come to it."""
    tensors = {f"network.{key}": value for key, value in learner.network.state_dict().items()}
    if control.average is not None:
        average = control.average.network.state_dict()
        tensors |= {f"average.{key}": value for key, value in average.items()}
    optimiser = learner.opt.opt.state_dict()
    for number, values in optimiser["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value for key, value in values.items()}
    if control.state.batch:
        for name, values in (("losses", control.losses), ("counted", control.counted)):
            mine = torch.stack(values).cpu()
            tensors[name] = torch.stack(processes.gather(mine))  # (processes, batches)
        tensors["sizes"] = torch.tensor(control.sizes)
    tensors |= _generators(learner, processes)
    sampler = learner.dls.train
    facts = {
        "control": control.state.as_json(),
        "frozen": learner.opt.frozen_idx,
        "sampler": sampler.epoch_state
        if control.state.batch
        else sampler.generator.bit_generator.state,
        "scaler": learner.scaler.state_dict() if learner.scaler else None,
        "averaged": control.average.updates if control.average else None,
        "world": processes.world,
        "device": learner.dls.device.type,
    }
    return Checkpoint(facts, tensors)


def _generators(learner: CXRLearner, processes: Processes) -> dict[str, Tensor]:
    """The states of all generators of all processes, by rank."""
    device = learner.dls.device
    own = {"augmentation": learner.dls.train.augmentation.get_state(), "cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        own["mps"] = torch.mps.get_rng_state()
    return {
        f"generator.{rank}.{name}": state
        for name, mine in own.items()
        for rank, state in enumerate(processes.gather(mine))
    }


def restore(
    checkpoint: Checkpoint, learner: CXRLearner, control: Control, processes: Processes
) -> bool:
    """Put a training where the checkpoint left it.

    Returns:
        Whether it will go on exactly as it would have: on the same kind of device, in as many
        processes. Otherwise the generators begin anew.

    Raises:
        RunError: the checkpoint lacks something that this training has, or has it otherwise.
    """
    try:
        return _restore(checkpoint, learner, control, processes)
    except torch.OutOfMemoryError:
        raise
    # What torch and NumPy say of tensors and states that are missing, or of another form.
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        short = shortened(" ".join(str(reason).split()), 300).strip('"')
        raise RunError(
            f"{checkpoint.path} does not fit the training of its run ({short}): {AGAIN}"
        ) from None


def _restore(
    checkpoint: Checkpoint, learner: CXRLearner, control: Control, processes: Processes
) -> bool:
    facts, tensors = checkpoint.facts, checkpoint.tensors
    _load(learner.network, tensors, "network.")
    if control.average is not None:
        _load(control.average.network, tensors, "average.")
        if facts["averaged"] is None:
            raise ValueError("averaged is null")
        control.average.updates = facts["averaged"]
    learner.opt.freeze_to(facts["frozen"])
    _load_optimiser(learner, tensors)
    if learner.scaler is not None and facts["scaler"]:
        learner.scaler.load_state_dict(facts["scaler"])
    control.state = ControlState.of_json(facts["control"])
    device = learner.dls.device
    control.losses, control.counted, control.sizes = [], [], []
    if control.state.batch:
        _take_up_losses(control, tensors, facts["world"], processes, device)
    sampler = learner.dls.train
    sampler.generator.bit_generator.state = facts["sampler"]
    if control.state.batch:
        sampler.begin_epoch()
    exact = facts["world"] == processes.world and facts["device"] == device.type
    if exact:
        _load_generators(learner, tensors, processes.rank)
    else:
        _seed_generators(learner, control.state.step, processes.rank)
    return bool(exact)


def _take_up_losses(
    control: Control,
    tensors: dict[str, Tensor],
    world: int,
    processes: Processes,
    device: torch.device,
) -> None:
    """The losses of the epoch in progress, each with the cells that it is the mean over."""
    losses, sizes = tensors["losses"], tensors["sizes"]
    if losses.shape != (world, control.state.batch) or sizes.shape != losses.shape[1:]:
        raise ValueError(f"losses of shape {tuple(losses.shape)}, sizes {tuple(sizes.shape)}")
    # Version 0.1 kept the images alone, and took all of their cells as counted.
    every = (sizes * len(control.labels)).float()
    counted = tensors.get("counted", every.expand_as(losses))
    if world == processes.world:
        mine, cells = losses[processes.rank], counted[processes.rank]
    else:  # each of so many processes as there are now has an equal share of all
        total = counted.sum(dim=0)
        mine = torch.where(total > 0, (losses * counted).sum(dim=0) / total, 0)
        cells = total / processes.world
    control.losses = list(mine.to(device).unbind())
    control.counted = list(cells.to(device).unbind())
    control.sizes = (sizes * world // processes.world).tolist()


def _load(network: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    state = {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
    network.load_state_dict(state)


def _load_optimiser(learner: CXRLearner, tensors: dict[str, Tensor]) -> None:
    """The moments of AdamW, each in the memory layout of its weights.

    The fused step goes over weight, gradient and moments as they lie in memory: moments in
    another layout would be other weights' moments.
    """
    optimiser = learner.opt.opt
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for number, weight in enumerate(weights):
        prefix = f"optimiser.{number}."
        state: dict[str, Tensor] = {}
        for key, value in tensors.items():
            if not key.startswith(prefix):
                continue
            like = torch.empty_like(weight) if value.shape == weight.shape else value
            target = like.to(weight.device) if value.dim() else torch.empty_like(value)
            state[key.removeprefix(prefix)] = target.copy_(value)
        if state:
            _check_moments(state, weight, number)
            if optimiser.defaults.get("fused"):
                state["step"] = state["step"].to(weight.device)
            optimiser.state[weight] = state


def _check_moments(state: dict[str, Tensor], weight: Tensor, number: int) -> None:
    """Refuse moments that are not those of AdamW for these weights: the step itself would fail."""
    lacking = {"step", "exp_avg", "exp_avg_sq"} - set(state)
    if lacking:
        raise ValueError(f"optimiser.{number}.{min(lacking)} is missing")
    for key, value in state.items():
        if value.shape not in ((), weight.shape) or (value.dim() == 0) != (key == "step"):
            raise ValueError(
                f"optimiser.{number}.{key} has shape {tuple(value.shape)}, and the weights "
                f"{tuple(weight.shape)}"
            )


def _load_generators(learner: CXRLearner, tensors: dict[str, Tensor], rank: int) -> None:
    states = {
        key.rpartition(".")[2]: value
        for key, value in tensors.items()
        if key.startswith(f"generator.{rank}.")
    }
    learner.dls.train.augmentation.set_state(states["augmentation"])
    torch.set_rng_state(states["cpu"])
    device = learner.dls.device
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def _seed_generators(learner: CXRLearner, step: int, rank: int) -> None:
    seed = (step << 16) + rank
    torch.manual_seed(seed)
    learner.dls.train.augmentation.manual_seed(seed)
