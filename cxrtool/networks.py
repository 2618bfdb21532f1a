"""torchvision's networks with a head of their own: blocks, pretrained weights, batch scores."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from cxrtool.config import ARCHS, IMAGENET, NO_WEIGHTS
from cxrtool.devices import autocast
from cxrtool.errors import UsageError, WeightsError, first_few, unknown_name

# torchvision's DenseNet files of 2017 number the norms and convolutions of a layer apart.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")


class Head(nn.Linear):
    """One logit a label, computed in fp32: at bf16's 8 bits many images would share a logit."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, labels), float32, of features (n, width) of any float type."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


@dataclass(frozen=True)
class Blocks:
    """A network in the three parts that are frozen and unfrozen as one."""

    body: tuple[nn.Module, ...]
    top: tuple[nn.Module, ...]
    head: tuple[nn.Module, ...]

    def groups(self) -> list[list[nn.Parameter]]:
        """The parameters of body, top and head: an optimiser's three groups."""
        return [_parameters(part) for part in (self.body, self.top, self.head)]


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def build_network(arch: str, n_labels: int, *, drop_rate: float = 0.0) -> nn.Module:
    """A torchvision network with random weights and a new last layer of `n_labels` logits.

    It takes (n, 3, size, size). `drop_rate` is DenseNet's own: dropout after each dense layer.

    Raises:
        UsageError: an unknown architecture, or a drop rate for a network that has none.
    """
    if arch not in ARCHS:
        raise UsageError(unknown_name("architecture", arch, ARCHS))
    dense = arch.startswith("densenet")
    if drop_rate and not dense:
        raise UsageError(f"{arch} has no drop rate: leave --drop-rate at 0, or use a DenseNet")
    options = {"drop_rate": drop_rate} if dense else {}
    network: nn.Module = models.get_model(arch, weights=None, **options)
    name = head_name(network)
    width = getattr(network, name).in_features
    setattr(network, name, Head(width, n_labels))
    return network


def head_name(network: nn.Module) -> str:
    """The attribute that holds the last layer."""
    return "classifier" if hasattr(network, "classifier") else "fc"


def blocks_of(network: nn.Module) -> Blocks:
    """Body, top block and head.

    The top block is ResNet's `layer4`, and DenseNet's `denseblock4` with the norm after it; the
    transition before `denseblock4` belongs to the body.
    """
    name = head_name(network)
    head = getattr(network, name)
    features = getattr(network, "features", None)
    if isinstance(features, nn.Module):
        top_names = {"denseblock4", "norm5"}
        children = list(features.named_children())
    else:
        top_names = {"layer4"}
        children = [pair for pair in network.named_children() if pair[0] != name]
    body = tuple(module for child, module in children if child not in top_names)
    top = tuple(module for child, module in children if child in top_names)
    return Blocks(body, top, (head,))


def load_pretrained(network: nn.Module, arch: str, weights: str) -> str:
    """Load weights into all but the head, and say in a few words what was loaded.

    Args:
        network: made by `build_network`.
        arch: its architecture's name.
        weights: `imagenet` (torchvision's IMAGENET1K_V1, from its cache or the network), `none`,
            or the path of a state dict: `.safetensors`, or a `.pt`/`.pth` without code in it.

    Raises:
        WeightsError: the weights cannot be had, cannot be read, or are of another network.
    """
    if weights == NO_WEIGHTS:
        return "random weights"
    if weights == IMAGENET:
        state, source = _imagenet_state(arch), f"ImageNet weights of {arch} (IMAGENET1K_V1)"
    else:
        state, source = read_state(Path(weights)), weights
    head = head_name(network) + "."
    body = {key: value for key, value in state.items() if not key.startswith(head)}
    own = {key: value for key, value in network.state_dict().items() if not key.startswith(head)}
    # Files of 2017 know no batch counters, and a network in use does not need them.
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in body]
    unknown = [key for key in body if key not in own]
    shapes = [key for key in own if key in body and own[key].shape != body[key].shape]
    if missing or unknown or shapes:
        raise WeightsError(
            f"{source} do not fit {arch}: {len(missing)} tensors are missing"
            f"{_named(missing)}, {len(unknown)} are unknown{_named(unknown)}, {len(shapes)} have "
            f"another shape{_named(shapes)}: give the weights of a {arch}, or --weights none"
        )
    network.load_state_dict(body, strict=False)
    return source


def _named(keys: Sequence[str]) -> str:
    return f" ({first_few(keys)})" if keys else ""


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
    return _modern_keys(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state-dict file; nothing in the file is run.

    Raises:
        WeightsError: no such file, or anything but a plain state dict.
    """
    if not path.is_file():
        raise WeightsError(f"--weights {path}: no such file (nor is it `imagenet` or `none`)")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    # UnpicklingError, RuntimeError, EOFError, KeyError ...: whatever a damaged file provokes.
    except (SafetensorError, Exception) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is not a readable state dict: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} is not a state dict: names to tensors was expected")
    return _modern_keys(state)


def _modern_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in plain.items()}


def normalise(pixels: Tensor, mean: float, std: float) -> Tensor:
    """Grey pixels (n, 1, size, size) in 0..1 to the network's three equal channels."""
    return ((pixels - mean) / std).expand(-1, 3, -1, -1)


def score_batch(
    network: nn.Module,
    pixels: NDArray[np.uint8] | Tensor,
    *,
    mean: float,
    std: float,
    device: torch.device,
    precision: str,
) -> NDArray[np.float32]:
    """Probabilities (n, labels) of grey images (n, size, size), uint8.

    The network must be on `device` and in eval mode.
    """
    grey = torch.as_tensor(pixels).to(device, non_blocking=True)
    scaled = normalise(grey.unsqueeze(1).float() / 255, mean, std)
    scaled = scaled.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(device, precision):
        logits: Tensor = network(scaled)
    return torch.sigmoid(logits.float()).cpu().numpy()
