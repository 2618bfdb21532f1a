"""torchvision's networks with a new head: blocks to freeze, and scores of a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models

from cxrtool.core.config import ARCHS
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.networks.devices import autocast


@dataclass(frozen=True)
class BlockPlan:
    """Where a family of networks has its top block and its head; all else is the body.

    Paths as in `state_dict`; a negative number counts a Sequential's children from its end. The
    head's last path is the last layer.
    """

    top: tuple[str, ...]
    head: tuple[str, ...]


PLANS: dict[type[nn.Module], BlockPlan] = {
    models.ResNet: BlockPlan(top=("layer4",), head=("fc",)),
    models.DenseNet: BlockPlan(
        top=("features.denseblock4", "features.norm5"), head=("classifier",)
    ),
    models.ConvNeXt: BlockPlan(top=("features.7", "classifier.0"), head=("classifier.2",)),
    # B0 to B4 have one stage more than V2. The dropout goes with the head: it has no weights, but
    # has to drop while the head is trained, and a frozen part is in eval mode.
    models.EfficientNet: BlockPlan(
        top=("features.-2", "features.-1"), head=("classifier.0", "classifier.1")
    ),
    models.SwinTransformer: BlockPlan(top=("features.7", "norm"), head=("head",)),
}
"""The top block is the last stage with the norm or convolution after it.

The down-sampling before that stage belongs to the body: DenseNet's transition, ConvNeXt's and
Swin's merging of patches. ResNet and EfficientNet have theirs inside a stage's first layer.
"""


class Head(nn.Linear):
    """One logit per label, in fp32: with bf16's 8 bits many images would share a logit."""

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

    It takes (n, 3, size, size) for any size from 32, also for a Swin, which pads to whole windows.
    `drop_rate` is DenseNet's dropout after each dense layer.

    Raises:
        UsageError: an unknown architecture, or a drop rate for a network without one.
    """
    if arch not in ARCHS:
        raise UsageError(unknown_name("architecture", arch, ARCHS))
    dense = arch.startswith("densenet")
    if drop_rate and not dense:
        raise UsageError(f"{arch} has no drop rate: leave --drop-rate at 0, or use a DenseNet")
    options = {"drop_rate": drop_rate} if dense else {}
    network: nn.Module = models.get_model(arch, weights=None, **options)
    network.set_submodule(head_name(network), Head(head_of(network).in_features, n_labels))
    return network


def head_name(network: nn.Module) -> str:
    """The path of the last layer, as in the state dict: `fc`, `classifier.2`, ..."""
    return _plan_of(network).head[-1]


def head_of(network: nn.Module) -> nn.Linear:
    """The last layer."""
    head = network.get_submodule(head_name(network))
    if not isinstance(head, nn.Linear):
        raise TypeError(f"{head_name(network)} is a {type(head).__name__}, not a Linear")
    return head


def blocks_of(network: nn.Module) -> Blocks:
    """Body, top block and head by `PLANS`; every module with weights is in exactly one."""
    plan = _plan_of(network)
    top = tuple(_module_at(network, path) for path in plan.top)
    head = tuple(_module_at(network, path) for path in plan.head)
    return Blocks(tuple(_without(network, {*top, *head})), top, head)


def block_sizes(network: nn.Module) -> dict[str, int]:
    """The numbers of parameters of `body`, `top` and `head`."""
    groups = blocks_of(network).groups()
    sizes = (sum(parameter.numel() for parameter in group) for group in groups)
    return dict(zip(("body", "top", "head"), sizes, strict=True))


def _plan_of(network: nn.Module) -> BlockPlan:
    for family, plan in PLANS.items():
        if isinstance(network, family):
            return plan
    raise TypeError(f"no block plan for a {type(network).__name__}")


def _module_at(network: nn.Module, path: str) -> nn.Module:
    module = network
    for name in path.split("."):
        counted = isinstance(module, nn.Sequential) and name.startswith("-")
        children = [child for child, _ in module.named_children()]
        module = module.get_submodule(children[int(name)] if counted else name)
    return module


def _without(module: nn.Module, taken: set[nn.Module]) -> Iterator[nn.Module]:
    """The largest modules in `module` that neither are nor contain one of `taken`, in order."""
    for child in module.children():
        if child in taken:
            continue
        if taken.isdisjoint(child.modules()):
            yield child
        else:
            yield from _without(child, taken)


def normalise(pixels: Tensor, mean: float, std: float) -> Tensor:
    """Scale grey pixels (n, 1, size, size) in 0..1, as three equal channels."""
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
