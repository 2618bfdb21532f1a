"""torchvision's and timm's networks with a new head: blocks to freeze, and scores of a batch."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import StochasticDepth

from cxrtool.core.config import ARCHS, TIMM
from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.networks.devices import autocast
from cxrtool.networks.head import Head


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


@dataclass(frozen=True)
class Blocks:
    """A network in the three parts that are frozen and unfrozen as one."""

    body: tuple[nn.Module, ...]
    top: tuple[nn.Module, ...]
    head: tuple[nn.Module, ...]
    loose: tuple[nn.Parameter, ...] = ()
    """Parameters of the body that no module of it holds, such as a class token."""

    def groups(self) -> list[list[nn.Parameter]]:
        """The parameters of body, top and head: an optimiser's three groups."""
        body, top, head = (_parameters(part) for part in (self.body, self.top, self.head))
        return [[*self.loose, *body], top, head]


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters()]


def build_network(
    arch: str,
    n_labels: int,
    *,
    image_size: int = 224,
    drop_rate: float = 0.0,
    drop_path: float | None = None,
) -> nn.Module:
    """A network with random weights and a new last layer of `n_labels` logits.

    It takes (n, 3, image_size, image_size).

    Args:
        arch: one of torchvision's `ARCHS`, which take any size from 32 (a Swin pads to whole
            windows), or `timm/NAME`, which is built for the size.
        n_labels: how many logits.
        image_size: of its square input.
        drop_rate: dropout after each dense layer of a torchvision DenseNet, before the last layer
            of most of timm's.
        drop_path: stochastic depth of the deepest layer, growing linearly from 0; None: the
            network's own.

    Raises:
        UsageError: an unknown architecture, an option that it does not have, an image size that it
            cannot be built for.
    """
    if arch.startswith(TIMM):
        from cxrtool.networks.timm_networks import build_timm  # takes seconds to import

        return build_timm(
            arch, n_labels, image_size=image_size, drop_rate=drop_rate, drop_path=drop_path
        )
    if arch not in ARCHS:
        raise UsageError(unknown_name("architecture", arch, (*ARCHS, f"{TIMM}NAME")))
    dense = arch.startswith("densenet")
    if drop_rate and not dense:
        raise UsageError(f"{arch} has no drop rate: leave --drop-rate at 0, or use a DenseNet")
    options = {"drop_rate": drop_rate} if dense else {}
    network: nn.Module = models.get_model(arch, weights=None, **options)
    network.set_submodule(head_name(network), Head(head_of(network).in_features, n_labels))
    if drop_path is not None:
        _set_drop_path(network, arch, drop_path)
    return network


def _set_drop_path(network: nn.Module, arch: str, most: float) -> None:
    """Let stochastic depth grow from 0 in the first of the layers that have it to `most`."""
    layers = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    if not layers:
        raise UsageError(f"{arch} has no drop path: leave --drop-path out")
    own = max(layer.p for layer in layers)
    for layer in layers:
        layer.p *= most / own  # torchvision's own rates are linear in the depth


def refuse_image_size(network: nn.Module, image_size: int) -> None:
    """Refuse a size of images that a network cannot take; torchvision's take any from 32.

    Args:
        network: from `build_network`, on the device `meta`.
        image_size: of its square input.

    Raises:
        UsageError: the network fails on such an image, or would not see all of it.
    """
    if _plan_of(network) is None:
        from cxrtool.networks.timm_networks import refuse_timm_size

        refuse_timm_size(network, image_size)


def head_name(network: nn.Module) -> str:
    """The path of the last layer, as in the state dict: `fc`, `classifier.2`, ..."""
    plan = _plan_of(network)
    if plan is not None:
        return plan.head[-1]
    from cxrtool.networks.timm_networks import head_of_timm

    return head_of_timm(network)


def head_of(network: nn.Module) -> nn.Linear:
    """The last layer."""
    head = network.get_submodule(head_name(network))
    if not isinstance(head, nn.Linear):
        raise TypeError(f"{head_name(network)} is a {type(head).__name__}, not a Linear")
    return head


def blocks_of(network: nn.Module) -> Blocks:
    """Body, top block and head; every module with weights is in exactly one.

    By `PLANS`, or as a timm network says of itself (`parts_of_timm`).
    """
    plan = _plan_of(network)
    if plan is None:
        return _described_blocks(network)
    top = tuple(_module_at(network, path) for path in plan.top)
    head = tuple(_module_at(network, path) for path in plan.head)
    return Blocks(tuple(_without(network, {*top, *head})), top, head)


def _described_blocks(network: nn.Module) -> Blocks:
    from cxrtool.networks.timm_networks import parts_of_timm

    parts = parts_of_timm(network)
    top = tuple(_holding(network, set(parts["top"])))
    head = network.get_submodule(head_name(network))
    body = tuple(_without(network, {*top, head}, _after(network, top)))
    held = {id(parameter) for parameter in _parameters((*body, *top, head))}
    loose = tuple(one for one in network.parameters() if id(one) not in held)
    return Blocks(body, top, (head,), loose)


def _holding(module: nn.Module, names: Collection[str], start: str = "") -> Iterator[nn.Module]:
    """The largest modules all of whose parameters are among `names`, in order."""
    for name, child in module.named_children():
        own = [f"{start}{name}.{one}" for one, _ in child.named_parameters()]
        if own and all(one in names for one in own):
            yield child
        elif any(one in names for one in own):
            yield from _holding(child, names, f"{start}{name}.")


def _after(network: nn.Module, top: Collection[nn.Module]) -> set[nn.Module]:
    """The modules that come after the top block, of which those without weights go with the head.

    A dropout there has to drop while the head is trained, and what is frozen is in eval mode.
    """
    inside = {inner for module in top for inner in module.modules()}
    modules = list(network.modules())
    last = max(place for place, module in enumerate(modules) if module in inside)
    return set(modules[last + 1 :])


def block_sizes(network: nn.Module) -> dict[str, int]:
    """The numbers of parameters of `body`, `top` and `head`."""
    groups = blocks_of(network).groups()
    sizes = (sum(parameter.numel() for parameter in group) for group in groups)
    return dict(zip(("body", "top", "head"), sizes, strict=True))


def _plan_of(network: nn.Module) -> BlockPlan | None:
    """The plan of a torchvision network; None of timm's, which describe themselves."""
    for family, plan in PLANS.items():
        if isinstance(network, family):
            return plan
    if hasattr(network, "group_matcher"):
        return None
    raise TypeError(f"no block plan for a {type(network).__name__}")


def _module_at(network: nn.Module, path: str) -> nn.Module:
    module = network
    for name in path.split("."):
        counted = isinstance(module, nn.Sequential) and name.startswith("-")
        children = [child for child, _ in module.named_children()]
        module = module.get_submodule(children[int(name)] if counted else name)
    return module


def _without(
    module: nn.Module, taken: set[nn.Module], weightless: Collection[nn.Module] = ()
) -> Iterator[nn.Module]:
    """The largest modules in `module` that neither are nor contain one of `taken`, in order.

    Those of `weightless` are left out as well where they have no weights.
    """
    for child in module.children():
        if child in taken or (child in weightless and not [*child.parameters(), *child.buffers()]):
            continue
        if taken.isdisjoint(child.modules()):
            yield child
        else:
            yield from _without(child, taken, weightless)


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
