"""Load pretrained weights into a network: published ones, a state-dict file's or a run's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from cxrtool.core.config import ARCHS, IMAGENET, NO_WEIGHTS, TIMM
from cxrtool.core.errors import RunError, WeightsError, did_you_mean, first_few
from cxrtool.core.files import sha256
from cxrtool.core.model_files import file_of_start, file_on_hub
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder, find_run, named_run
from cxrtool.core.start_cards import XRV, find_start, near_starts
from cxrtool.data.starts import file_of, is_published, recorded_start, told_start
from cxrtool.networks.adapters import ADAPTERS, PLAIN
from cxrtool.networks.architectures import build_network, head_name, head_of
from cxrtool.networks.imagenet_files import imagenet_file, refuse_other_file, timm_weights
from cxrtool.networks.position_grids import resampled
from cxrtool.networks.state_dicts import (
    COUNTER,
    Needed,
    Place,
    fitting_place,
    places_in,
    read_tensors,
    refuse_not_finite,
)

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class LoadedWeights:
    """Where a network's weights come from, and which were loaded."""

    source: str
    """For the run's record: a few words, a file's name and SHA-256, or a run."""
    recorded: str
    """`--weights` for its config.yaml (see `recorded_start`)."""
    detail: str
    """A sentence: what matched, and what is new."""


def load_pretrained(
    network: nn.Module,
    arch: str,
    weights: str,
    labels: Sequence[str],
    runs: Path,
    *,
    allow_missing: bool = False,
) -> LoadedWeights:
    """Load weights into a network; it is unchanged if they do not fit. Nothing is downloaded.

    Args:
        network: from `build_network`, on the CPU, with one logit per label.
        arch: its architecture's name.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, or timm's own), `none`, a start's name,
            `hf:OWNER/REPO[:FILE]`, a state dict's path, or a run's name or path. The last layer is
            loaded only from a run, for the labels that both have: a file does not name its labels.
        labels: the new network's, in the order of its logits.
        runs: the folder of the runs.
        allow_missing: load what fits where not all does.

    Raises:
        WeightsError: the weights are not here, cannot be read, or belong to another network.
        RunError: the run is unfinished or altered.
    """
    if weights == NO_WEIGHTS:
        return LoadedWeights("random weights", weights, "nothing was loaded: every layer is new")
    if is_published(weights):
        return _load_published(network, arch, weights, allow_missing=allow_missing)
    found = _find(weights, runs)
    recorded = recorded_start(weights, runs)
    if isinstance(found, RunFolder):
        detail = _load_run(network, arch, found, labels)
        return LoadedWeights(f"run {told_start(recorded)}", recorded, detail)
    given = _Given(read_tensors(found), weights, tuple(ADAPTERS))
    detail = _load_body(network, arch, given, allow_missing=allow_missing)
    detail += "; the last layer is new: a file does not name its labels"
    return LoadedWeights(told_start(recorded), recorded, detail)


@dataclass(frozen=True)
class _Given:
    """Tensors that a network is to start from."""

    tensors: Mapping[str, Tensor]
    source: str
    """For messages."""
    adapters: Sequence[str] = (PLAIN,)
    """By which their names may become the network's."""
    arch: str | None = None
    """The architecture that they are of, where that is known."""


def _load_published(
    network: nn.Module, arch: str, weights: str, *, allow_missing: bool
) -> LoadedWeights:
    card = find_start(weights)
    if weights == IMAGENET:
        file, which = imagenet_file(arch), "timm's" if arch.startswith(TIMM) else "IMAGENET1K_V1"
        source = f"ImageNet weights of {arch} ({which})"
    else:
        file = file_of_start(card) if card else file_on_hub(weights)
        source = weights
    path = file.here()
    if path is None:
        raise WeightsError(
            f"the {source if weights == IMAGENET else f'weights of {source}'} are not on this "
            "machine, and training downloads nothing.\n"
            f"{file.how_to_get()},\n"
            "  or name a state dict with --weights FILE, or train from random weights with "
            f"--weights {NO_WEIGHTS}"
        )
    refuse_other_file(file, path)
    if weights == IMAGENET:
        tensors = timm_weights(arch, path) if arch.startswith(TIMM) else read_tensors(path)
        given = _Given(tensors, source)
    elif card is None:
        given = _Given(read_tensors(path), weights, tuple(ADAPTERS))
    else:
        tensors = _under(read_tensors(path), card.key)
        given = _Given(tensors, f"{card.name} ({path})", (card.adapter,), card.arch)
    detail = _load_body(network, arch, given, allow_missing=allow_missing)
    if weights != IMAGENET:
        source = f"{card.name if card else weights}: {path.name} (SHA-256 {sha256(path)})"
    return LoadedWeights(source, card.name if card else weights, f"{detail}; the last layer is new")


def _under(tensors: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    """The tensors under a key of a checkpoint, if it has any; else all."""
    found = {name: one for name, one in tensors.items() if key and name.startswith(f"{key}.")}
    return found or tensors


def _find(weights: str, runs: Path) -> Path | RunFolder:
    file, path = file_of(weights, runs), Path(weights)
    if file is not None:
        return file
    near = did_you_mean(near_starts(weights))
    other = f"nor is it `{IMAGENET}`, `{NO_WEIGHTS}` or a start's name{near}"
    listed = f"({other}; `cxrtool models` lists those)"
    is_file = path.suffix in SUFFIXES and not path.is_dir() and named_run(runs, weights) is None
    if is_file or weights.startswith(XRV):
        raise WeightsError(f"--weights {weights}: no such file {listed}")
    try:
        return find_run(runs, weights)
    except RunError as error:
        raise WeightsError(f"--weights {weights}: no such file {listed}, and {error}") from None


def _load_body(network: nn.Module, arch: str, given: _Given, *, allow_missing: bool) -> str:
    needed, source = needed_by(network), given.source
    adapted = {name: ADAPTERS[name](given.tensors) for name in given.adapters}
    for name, tensors in adapted.items():
        if name != PLAIN and tensors.keys() == given.tensors.keys():
            continue
        place = fitting_place(tensors, needed, source)
        if place is not None:
            _load_place(network, place, needed, source)
            return _about_body(place, tensors, needed, name)
    # What fits best is the one to say more of.
    nearest = max(adapted, key=lambda name: _known(adapted[name], needed))
    if not allow_missing:
        _refuse(arch, replace(given, tensors=adapted[nearest]), needed)
    return _load_partly(network, arch, replace(given, tensors=adapted[nearest]), needed)


def _known(tensors: Mapping[str, Tensor], needed: Needed) -> int:
    """How many tensors of the fullest place a network knows."""
    places = places_in(tensors, needed)
    return sum(key in needed.shapes for key in places[0].tensors) if places else 0


def _load_place(network: nn.Module, place: Place, needed: Needed, source: str) -> None:
    body = {key: place.tensors[key] for key in needed.shapes if key in place.tensors}
    refuse_not_finite(body, f"{source} ({place.description})" if place.name else source)
    network.load_state_dict(body, strict=False)


def _load_partly(network: nn.Module, arch: str, given: _Given, needed: Needed) -> str:
    """Load the tensors that have a network's names and shapes, and say what does not fit.

    Raises:
        WeightsError: less than half of the network is there.
    """
    places = places_in(given.tensors, needed)
    if not places:
        _refuse(arch, given, needed)
    place, own = places[0], needed.body_in(places[0].tensors)
    fitting = {
        key: value
        for key, value in own.items()
        if key in needed.shapes and value.shape == needed.shapes[key]
    }
    _load_place(network, replace(place, tensors=fitting), needed, given.source)
    count = sum(not key.endswith(COUNTER) for key in fitting)
    return (
        f"{count} of {needed.count()} tensors, since --allow-missing was given: "
        f"{needed.misfit(own, given=own)}"
    )


def _about_body(place: Place, tensors: Mapping[str, Tensor], needed: Needed, adapter: str) -> str:
    """Which tensors of a file were loaded, of which network, and which were left out."""
    start = f"{place.name}." if place.name else ""
    heads = [key for key in place.tensors if key.split(".", 1)[0] == needed.head]
    heads = [key for key in heads if key not in needed.shapes]
    taken = {start + key for key in (*needed.shapes, *heads)}
    left = [key for key in tensors if key not in taken]
    parts = [f"{needed.count()} of {needed.count() + 2} tensors"]
    if place.name:
        parts[0] += f" of {place.description}" + (", averaged weights" if place.averaged else "")
    if adapter != PLAIN:
        parts.append(f"names read as {adapter} has them")
    if place.resampled:
        parts.append(place.resampled)
    spread = [key for key in needed.shapes if _was_spread(tensors.get(start + key), needed, key)]
    if spread:
        parts.append("the first layer's one channel was spread over three")
    if left:
        parts.append(f"left out: {len(left)} other tensors ({first_few(left)})")
    return "; ".join(parts)


def _was_spread(tensor: Tensor | None, needed: Needed, key: str) -> bool:
    shape = needed.shapes[key]
    return tensor is not None and len(shape) == 4 and tensor.shape[1] == 1 != shape[1]


def _refuse(arch: str, given: _Given, needed: Needed) -> NoReturn:
    """Raise an error that says how a file's tensors, or its closest network, do not fit."""
    tensors, places = given.tensors, places_in(given.tensors, needed)
    inside = places[0].tensors if places else tensors
    own = {key: value for key, value in inside.items() if not _of_head(key, needed)}
    where = f" ({places[0].description})" if places and places[0].name else ""
    likely = given.arch or _likely_arch(tensors)
    if likely and likely != arch:
        advice = f"They fit {likely}: pass --arch {likely}, or use other weights"
    elif given.arch:
        advice = "The file is not as published: fetch it again. --allow-missing loads what fits"
    else:
        advice = f"Pass the weights of a {arch}, or --weights {NO_WEIGHTS}"
    raise WeightsError(
        f"the tensors of {given.source}{where} do not fit {arch}: "
        f"{needed.misfit(own, given=own)}.\n  {advice}"
    )


def _of_head(key: str, needed: Needed) -> bool:
    return key not in needed.shapes and key.split(".", 1)[0] == needed.head


def needed_by(network: nn.Module) -> Needed:
    """What a network needs of a file of weights."""
    return Needed(
        shapes=_shapes(network),
        head=head_name(network).split(".")[0],
        modules=frozenset(key.split(".", 1)[0] for key in network.state_dict()),
        resample=lambda tensors: resampled(tensors, network),
    )


def _load_run(network: nn.Module, arch: str, run: RunFolder, labels: Sequence[str]) -> str:
    card = read_card(run)
    if card.arch != arch:
        raise WeightsError(
            f"run {run.name} is a {card.arch}, and --arch is {arch}: "
            f"pass --arch {card.arch}, or use other weights"
        )
    state, head = read_tensors(run.weights), head_of(network)
    whole = replace(needed_by(network), shapes=_shapes(network, n_labels=len(card.labels)))
    misfit = whole.misfit(state, given=state)
    if misfit:
        raise WeightsError(f"{run.weights} does not fit {run.model.name}: {misfit}")
    refuse_not_finite(state, run.weights)
    network.load_state_dict(needed_by(network).body_in(state), strict=False)
    with torch.no_grad():
        for name, own in head.named_parameters():
            theirs = state[f"{head_name(network)}.{name}"]
            for row, label in zip(own, labels, strict=True):
                if label in card.labels:
                    row.copy_(theirs[card.labels.index(label)])
    new = [label for label in labels if label not in card.labels]
    return f"all {needed_by(network).count()} tensors of the body; {_about_head(labels, new)}"


def _about_head(labels: Sequence[str], new: Sequence[str]) -> str:
    if not new:
        return f"last layer: all {len(labels)} labels"
    if len(new) == len(labels):
        return "the last layer is new: the run has none of its labels"
    known = len(labels) - len(new)
    return f"last layer: {known} of {len(labels)} labels, new: {first_few(new, 14)}"


def _shapes(network: nn.Module, n_labels: int | None = None) -> dict[str, torch.Size]:
    """The shapes of a network's tensors, without the last layer or with it for `n_labels`."""
    head = head_name(network) + "."
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    if n_labels is None:
        return {key: shape for key, shape in shapes.items() if not key.startswith(head)}
    return {
        key: torch.Size((n_labels, *shape[1:])) if key.startswith(head) else shape
        for key, shape in shapes.items()
    }


def _likely_arch(tensors: Mapping[str, Tensor]) -> str | None:
    """The architecture whose body the tensors contain, if any."""
    for arch in ARCHS:
        with torch.device("meta"):
            network = build_network(arch, 1)
        needed = needed_by(network)
        for place in places_in(tensors, needed):
            body = needed.body_in(place.tensors)
            if not needed.misfit(body, given=body):
                return arch
    return None
