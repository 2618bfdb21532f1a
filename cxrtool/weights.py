"""Pretrained weights: ImageNet's, a state-dict file's or a run's own, into a network."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from cxrtool.config import ARCHS, IMAGENET, NO_WEIGHTS
from cxrtool.errors import RunError, WeightsError, first_few
from cxrtool.networks import build_network, head_name, head_of
from cxrtool.runs import RunFolder, find_run, read_card

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
WRAPPERS = ("state_dict", "model")
"""Under which names a checkpoint holds its state dict."""

# What data parallelism, an enclosing module and torch.compile put before a tensor's name.
_PREFIXES = re.compile(r"^(?:(?:module|model|_orig_mod)\.)+")
# torchvision's DenseNet files of 2017 number the norms and convolutions of a layer apart.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
# How torch names what a file would have called or made.
_CODE = re.compile(r"\bGLOBAL (\S+)|\b(TorchScript) archive")
# Files of 2017 know no batch counters, and a network in use does not need them.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class LoadedWeights:
    """Where a network's weights are from, and what of them was taken."""

    source: str
    """For the run's record: a few words, a file's name, or the run."""
    detail: str
    """One sentence: what matched, and what is new."""


def load_pretrained(
    network: nn.Module, arch: str, weights: str, labels: Sequence[str], runs: Path
) -> LoadedWeights:
    """Load weights into a network; one that they do not fit stays as it was.

    Args:
        network: made by `build_network` on the CPU, with one logit a label.
        arch: its architecture's name.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, from its cache or the network), `none`,
            a state dict's path, or a run's name or path. The last layer is taken from a run
            alone, and there for the labels that both have: a file does not name its labels.
        labels: the new network's, in the order of its logits.
        runs: the folder of the runs.

    Raises:
        WeightsError: the weights cannot be had, cannot be read, or are of another network.
        RunError: the run is not finished, or was altered.
    """
    if weights == NO_WEIGHTS:
        return LoadedWeights("random weights", "nothing was loaded: every layer is new")
    if weights == IMAGENET:
        source = f"ImageNet weights of {arch} (IMAGENET1K_V1)"
        return LoadedWeights(source, _load_body(network, arch, _imagenet_state(arch), source))
    found = _find(weights, runs)
    if isinstance(found, RunFolder):
        own = found.path.parent.resolve() == runs.resolve()
        source = f"run {found.name if own else found.path}"
        return LoadedWeights(source, _load_run(network, arch, found, labels))
    state = read_state(found)
    detail = _load_body(network, arch, state, weights)
    if len(_body_in(state, network)) < len(state):
        detail += ", not the file's: a file does not name its labels"
    return LoadedWeights(weights, detail)


def _find(weights: str, runs: Path) -> Path | RunFolder:
    path = Path(weights)
    if path.is_file():
        return path
    other = f"nor is it `{IMAGENET}` or `{NO_WEIGHTS}`"
    if path.suffix in SUFFIXES and not path.is_dir() and not (runs / weights).is_dir():
        raise WeightsError(f"--weights {weights}: no such file ({other})")
    try:
        return find_run(runs, weights)
    except RunError as error:
        raise WeightsError(f"--weights {weights}: no such file ({other}), and {error}") from None


def _load_body(network: nn.Module, arch: str, state: Mapping[str, Tensor], source: str) -> str:
    wanted, body = _shapes(network), _body_in(state, network)
    misfit = _misfit(wanted, body)
    if misfit:
        likely = _likely_arch(state)
        advice = (
            f"They fit {likely}: pass --arch {likely}, or give other weights"
            if likely
            else f"Give the weights of a {arch}, or --weights {NO_WEIGHTS}"
        )
        raise WeightsError(f"the tensors of {source} do not fit {arch}: {misfit}.\n  {advice}")
    network.load_state_dict(body, strict=False)
    taken = _count(wanted)
    return f"{taken} of {taken + 2} tensors; the last layer is new"


def _load_run(network: nn.Module, arch: str, run: RunFolder, labels: Sequence[str]) -> str:
    card = read_card(run)
    if card.arch != arch:
        raise WeightsError(
            f"run {run.name} is a {card.arch}, and --arch is {arch}: "
            f"pass --arch {card.arch}, or give other weights"
        )
    state, head = read_state(run.weights), head_of(network)
    misfit = _misfit(_shapes(network, n_labels=len(card.labels)), state)
    if misfit:
        raise WeightsError(f"{run.weights} does not fit {run.model.name}: {misfit}")
    network.load_state_dict(_body_in(state, network), strict=False)
    with torch.no_grad():
        for name, own in head.named_parameters():
            theirs = state[f"{head_name(network)}.{name}"]
            for row, label in zip(own, labels, strict=True):
                if label in card.labels:
                    row.copy_(theirs[card.labels.index(label)])
    new = [label for label in labels if label not in card.labels]
    return f"all {_count(_shapes(network))} tensors of the body; {_about_head(labels, new)}"


def _about_head(labels: Sequence[str], new: Sequence[str]) -> str:
    if not new:
        return f"last layer: all {len(labels)} labels"
    if len(new) == len(labels):
        return "the last layer is new: the run has none of its labels"
    known = len(labels) - len(new)
    return f"last layer: {known} of {len(labels)} labels, new: {first_few(new, 14)}"


def _shapes(network: nn.Module, n_labels: int | None = None) -> dict[str, torch.Size]:
    """The shapes of a network's tensors; without the last layer, or with it for `n_labels`."""
    head = head_name(network) + "."
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    if n_labels is None:
        return {key: shape for key, shape in shapes.items() if not key.startswith(head)}
    return {
        key: torch.Size((n_labels, *shape[1:])) if key.startswith(head) else shape
        for key, shape in shapes.items()
    }


def _count(shapes: Mapping[str, torch.Size]) -> int:
    return sum(not key.endswith(_COUNTER) for key in shapes)


def _body_in(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A state dict without what has the place of the last layer, in whatever form it is there."""
    wanted, place = _shapes(network), head_name(network).split(".")[0]
    return {k: v for k, v in state.items() if k in wanted or k.split(".")[0] != place}


def _misfit(wanted: Mapping[str, torch.Size], state: Mapping[str, Tensor]) -> str:
    """In what way tensors are not the wanted ones; empty where they are."""
    missing = [key for key in wanted if key not in state and not key.endswith(_COUNTER)]
    unknown = [key for key in state if key not in wanted]
    shapes = [
        f"{key}: {tuple(state[key].shape)}, not {tuple(shape)}"
        for key, shape in wanted.items()
        if key in state and state[key].shape != shape
    ]
    counts = (
        (f"of {_count(wanted)} are missing", missing),
        (f"of the {len(state)} given are unknown", unknown),
        ("have another shape", shapes),
    )
    return "; ".join(f"{len(keys)} {what} ({first_few(keys)})" for what, keys in counts if keys)


def _likely_arch(state: Mapping[str, Tensor]) -> str | None:
    """The architecture whose body these tensors are."""
    for arch in ARCHS:
        with torch.device("meta"):
            network = build_network(arch, 1)
        if not _misfit(_shapes(network), _body_in(state, network)):
            return arch
    return None


def _imagenet_state(arch: str) -> dict[str, Tensor]:
    weights = models.get_model_weights(arch)["IMAGENET1K_V1"]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    found = "found in torch's cache" if file.exists() else "not in torch's cache"
    try:
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
    return _modern_keys(state, f"torchvision's file of {arch}")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state-dict file, on the CPU; nothing in the file is run.

    Raises:
        WeightsError: no such file, a damaged one, or anything but a state dict.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if not path.stat().st_size:
        raise WeightsError(f"{path} is empty: copy or download it again")
    try:
        loaded = _read(path)
    except PermissionError:
        raise WeightsError(f"{path} cannot be read: you have no permission to") from None
    # UnpicklingError, RuntimeError, EOFError, SafetensorError ...: whatever a bad file provokes.
    except Exception as error:
        code = _CODE.search(str(error))
        if code:
            raise WeightsError(
                f"{path} is refused: it holds code or objects ({code[1] or code[2]}) beside its "
                "tensors, and nothing of it was run. Where the file is from, save the tensors "
                "alone: torch.save(network.state_dict(), FILE), or a .safetensors file"
            ) from None
        raise WeightsError(
            f"{path} is damaged, or not what its suffix says ({_reason(error)}); nothing of it "
            "was run. Copy it again, or save it anew with torch.save(network.state_dict(), FILE) "
            "or as .safetensors"
        ) from None
    return _modern_keys(_tensors_in(loaded, path), path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        # torch warns of forms that it then refuses.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """The line of an error that says something of the file; torch's advice is to run its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "weights_only" not in line]
    return told[0].split(". ")[0].rstrip(".") if told else type(error).__name__


def _tensors_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    for name in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not loaded:
        found = "nothing" if isinstance(loaded, dict) else type(loaded).__name__
        raise WeightsError(f"{path} is not a state dict: expected names to tensors, found {found}")
    others = [
        f"{key}: {type(value).__name__}"
        for key, value in loaded.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if others:
        raise WeightsError(
            f"{path} is not a state dict: expected names to tensors, alone or under "
            f"{' or '.join(WRAPPERS)}, found also {first_few(others)}"
        )
    odd = [key for key, value in loaded.items() if value.layout != torch.strided or value.is_meta]
    if odd:
        raise WeightsError(f"{path} has tensors that are sparse or empty shells: {first_few(odd)}")
    return loaded


def _modern_keys(state: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = _OLD_DENSENET.sub(r"\1\2", _PREFIXES.sub("", key))
        if name in plain:
            raise WeightsError(
                f"{source} holds two networks ({name} is in it with and without `module.`, "
                "`model.` or `_orig_mod.` before it): save one of them alone"
            )
        plain[name] = value
    return plain
