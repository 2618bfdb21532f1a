"""Load pretrained weights into a network: ImageNet's, a state-dict file's or a run's."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from cxrtool.core.config import ARCHS, IMAGENET, NO_WEIGHTS
from cxrtool.core.errors import RunError, WeightsError, first_few
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder, find_run, named_run
from cxrtool.data.starts import file_of, recorded_start, told_start
from cxrtool.networks.architectures import build_network, head_name, head_of
from cxrtool.networks.state_dicts import (
    Needed,
    Place,
    fitting_place,
    modern_names,
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
    network: nn.Module, arch: str, weights: str, labels: Sequence[str], runs: Path
) -> LoadedWeights:
    """Load weights into a network; it is unchanged if they do not fit.

    Args:
        network: from `build_network`, on the CPU, with one logit per label.
        arch: its architecture's name.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, from its cache or the network), `none`,
            a state dict's path, or a run's name or path. The last layer is loaded only from a
            run, for the labels that both have: a file does not name its labels.
        labels: the new network's, in the order of its logits.
        runs: the folder of the runs.

    Raises:
        WeightsError: the weights are missing, cannot be read, or belong to another network.
        RunError: the run is unfinished or altered.
    """
    if weights == NO_WEIGHTS:
        return LoadedWeights("random weights", weights, "nothing was loaded: every layer is new")
    if weights == IMAGENET:
        source = f"ImageNet weights of {arch} (IMAGENET1K_V1)"
        detail = _load_body(network, arch, _imagenet_state(arch), source)
        return LoadedWeights(source, weights, f"{detail}; the last layer is new")
    found = _find(weights, runs)
    if isinstance(found, RunFolder):
        detail = _load_run(network, arch, found, labels)
        recorded = recorded_start(weights, runs)
        return LoadedWeights(f"run {told_start(recorded)}", recorded, detail)
    detail = _load_body(network, arch, read_tensors(found), weights)
    recorded = recorded_start(weights, runs)
    detail += "; the last layer is new: a file does not name its labels"
    return LoadedWeights(told_start(recorded), recorded, detail)


def _find(weights: str, runs: Path) -> Path | RunFolder:
    file, path = file_of(weights, runs), Path(weights)
    if file is not None:
        return file
    other = f"nor is it `{IMAGENET}` or `{NO_WEIGHTS}`"
    if path.suffix in SUFFIXES and not path.is_dir() and named_run(runs, weights) is None:
        raise WeightsError(f"--weights {weights}: no such file ({other})")
    try:
        return find_run(runs, weights)
    except RunError as error:
        raise WeightsError(f"--weights {weights}: no such file ({other}), and {error}") from None


def _load_body(network: nn.Module, arch: str, tensors: Mapping[str, Tensor], source: str) -> str:
    needed = _needed(network)
    place = fitting_place(tensors, needed, source)
    if place is None:
        _refuse(arch, tensors, needed, source)
    body = {key: place.tensors[key] for key in needed.shapes if key in place.tensors}
    refuse_not_finite(body, f"{source} ({place.description})" if place.name else source)
    network.load_state_dict(body, strict=False)
    return _about_body(place, tensors, needed)


def _about_body(place: Place, tensors: Mapping[str, Tensor], needed: Needed) -> str:
    """Which tensors of a file were loaded, of which network, and which were left out."""
    start = f"{place.name}." if place.name else ""
    heads = [key for key in place.tensors if key.split(".", 1)[0] == needed.head]
    heads = [key for key in heads if key not in needed.shapes]
    taken = {start + key for key in (*needed.shapes, *heads)}
    left = [key for key in tensors if key not in taken]
    parts = [f"{needed.count()} of {needed.count() + 2} tensors"]
    if place.name:
        parts[0] += f" of {place.description}" + (", averaged weights" if place.averaged else "")
    if any(tensors[start + k].shape != place.tensors[k].shape for k in place.tensors):
        parts.append("the first layer's one channel was spread over three")
    if left:
        parts.append(f"left out: {len(left)} other tensors ({first_few(left)})")
    return "; ".join(parts)


def _refuse(arch: str, tensors: Mapping[str, Tensor], needed: Needed, source: str) -> NoReturn:
    """Raise an error that says how a file's tensors, or its closest network, do not fit."""
    places = places_in(tensors, needed)
    given = places[0].tensors if places else tensors
    own = {key: value for key, value in given.items() if not _of_head(key, needed)}
    where = f" ({places[0].description})" if places and places[0].name else ""
    likely = _likely_arch(tensors)
    advice = (
        f"They fit {likely}: pass --arch {likely}, or use other weights"
        if likely
        else f"Pass the weights of a {arch}, or --weights {NO_WEIGHTS}"
    )
    raise WeightsError(
        f"the tensors of {source}{where} do not fit {arch}: "
        f"{needed.misfit(own, given=own)}.\n  {advice}"
    )


def _of_head(key: str, needed: Needed) -> bool:
    return key not in needed.shapes and key.split(".", 1)[0] == needed.head


def _needed(network: nn.Module) -> Needed:
    return Needed(
        shapes=_shapes(network),
        head=head_name(network).split(".")[0],
        modules=frozenset(key.split(".", 1)[0] for key in network.state_dict()),
    )


def _load_run(network: nn.Module, arch: str, run: RunFolder, labels: Sequence[str]) -> str:
    card = read_card(run)
    if card.arch != arch:
        raise WeightsError(
            f"run {run.name} is a {card.arch}, and --arch is {arch}: "
            f"pass --arch {card.arch}, or use other weights"
        )
    state, head = read_tensors(run.weights), head_of(network)
    whole = replace(_needed(network), shapes=_shapes(network, n_labels=len(card.labels)))
    misfit = whole.misfit(state, given=state)
    if misfit:
        raise WeightsError(f"{run.weights} does not fit {run.model.name}: {misfit}")
    refuse_not_finite(state, run.weights)
    network.load_state_dict(_needed(network).body_in(state), strict=False)
    with torch.no_grad():
        for name, own in head.named_parameters():
            theirs = state[f"{head_name(network)}.{name}"]
            for row, label in zip(own, labels, strict=True):
                if label in card.labels:
                    row.copy_(theirs[card.labels.index(label)])
    new = [label for label in labels if label not in card.labels]
    return f"all {_needed(network).count()} tensors of the body; {_about_head(labels, new)}"


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
        needed = _needed(network)
        for place in places_in(tensors, needed):
            body = needed.body_in(place.tensors)
            if not needed.misfit(body, given=body):
                return arch
    return None


def _imagenet_state(arch: str) -> dict[str, Tensor]:
    weights = models.get_model_weights(arch)["IMAGENET1K_V1"]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    found = "found in torch's cache" if file.exists() else "not in torch's cache"
    try:
        with redirect_stdout(sys.stderr):  # torch says there that it downloads
            state = weights.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
    # URLError is an OSError; a damaged or foreign file is a RuntimeError or an UnpicklingError.
    except Exception as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise WeightsError(
            f"the ImageNet weights of {arch} are {found} and cannot be loaded "
            f"({str(reason).splitlines()[0] if str(reason) else type(error).__name__}).\n"
            f"  Download {weights.url}\n"
            f"  and put it at {file},\n"
            "  or name a state dict with --weights FILE,\n"
            "  or train from random weights with --weights none."
        ) from None
    return modern_names(state, f"torchvision's file of {arch}")
