"""timm's networks by its own API: what there is, how one is built, and where its blocks are.

fastai's own way to timm is not used: it hands no image size on, cuts pretrained layers off (the
last convolution of a MobileNetV4, the last norm of a ConvNeXt), pools a Swin along the wrong axis
and knows no top block (fastai 2.8.12 with timm 1.0.31).
"""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import nn

import cxrtool.networks.start_networks  # noqa: F401 - gives timm the names of published networks
from cxrtool.core.config import TIMM
from cxrtool.core.errors import UsageError, did_you_mean, near_names
from cxrtool.networks.head import Head


def build_timm(
    arch: str,
    n_labels: int,
    *,
    image_size: int,
    drop_rate: float = 0.0,
    drop_path: float | None = None,
) -> nn.Module:
    """A timm network with random weights and a last layer of `n_labels` logits.

    Args:
        arch: `timm/NAME`, as in `timm.list_models()`; a tag of pretrained weights may follow the
            name (`timm/convnext_tiny.fb_in22k`) and says which weights `imagenet` are.
        n_labels: how many logits.
        image_size: of its square input, which networks with a grid of positions are built for.
        drop_rate: dropout before the last layer, or what the network's own `drop_rate` is.
        drop_path: stochastic depth (Huang et al. 2016, arXiv 1603.09382) of the deepest block,
            growing linearly from 0; None: the network's own.

    Raises:
        UsageError: timm has no such network, or it has no such option, cannot take the image size,
            does not say where its blocks are or does not end in a plain linear layer.
    """
    name = arch.removeprefix(TIMM)
    _refuse_unknown(name)
    options: dict[str, Any] = {"num_classes": n_labels}
    if drop_rate:
        options["drop_rate"] = drop_rate
    if drop_path is not None:
        options["drop_path_rate"] = drop_path
    network = _made(name, options, image_size)
    if not _names_blocks(network):
        raise UsageError(
            f"--arch {TIMM}{name} does not say where its blocks are, so that none can be frozen: "
            "choose another network"
        )
    network.set_submodule(head_of_timm(network), Head(_last(network).in_features, n_labels))
    return network


def _names_blocks(network: nn.Module) -> bool:
    try:
        network.group_matcher(coarse=True)  # type: ignore[operator]
    except (AttributeError, AssertionError, NotImplementedError):  # RDNet knows no coarse ones
        return False
    return True


def head_of_timm(network: nn.Module) -> str:
    """The path of the last layer: `head`, `head.fc`, `classifier`, ...

    Raises:
        UsageError: the network ends in something else than one linear layer.
    """
    last = _last(network)
    names: dict[nn.Module, str] = {module: name for name, module in network.named_modules()}
    return names[last]


def _last(network: nn.Module) -> nn.Linear:
    classifier = getattr(network, "get_classifier", lambda: None)
    last = classifier()
    if not isinstance(last, nn.Linear):
        raise UsageError(
            f"--arch {TIMM}{_named(network)} ends in a {type(last).__name__}, not in one linear "
            "layer: it cannot be given a logit a label; choose another network"
        )
    return last


def parts_of_timm(network: nn.Module) -> dict[str, list[str]]:
    """The names of the parameters of `body`, `top` and `head`, in the network's order.

    The network itself says which parameters make a block (timm's `group_matcher`): the top block
    is its last one with what follows it. The head is the last layer alone, as of torchvision's
    networks: norms and layers before it are part of what is pretrained.
    """
    groups: Mapping[int, list[str]] = group_parameters(
        network,
        network.group_matcher(coarse=True),  # type: ignore[operator]
    )
    head = head_of_timm(network) + "."
    blocks = [[name for name in groups[key] if not name.startswith(head)] for key in sorted(groups)]
    parameters = dict(network.named_parameters())
    top = set(blocks.pop())  # what stands between the last block and the last layer
    while blocks:
        top.update(block := blocks.pop())
        if any(parameters[name].ndim > 1 for name in block):  # norms alone are no block
            break
    return {
        "body": [name for name in parameters if name not in top and not name.startswith(head)],
        "top": [name for name in parameters if name in top],
        "head": [name for name in parameters if name.startswith(head)],
    }


def refuse_timm_size(network: nn.Module, image_size: int) -> None:
    """Refuse a size of images that a network cannot take, by a pass without numbers.

    Args:
        network: from `build_timm`, on the device `meta`.
        image_size: of its square input.

    Raises:
        UsageError: it fails on such an image, or leaves a part of it out.
    """
    name = f"{TIMM}{_named(network)}"
    side = _patch_of(network)
    if image_size % side:
        lower = image_size // side * side
        near = f"{lower} or {lower + side}" if lower else f"{side}"
        raise UsageError(
            f"--image-size {image_size} is no multiple of the {side} pixels of a patch of {name}: "
            f"use {near}"
        )
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            network.eval().forward_features(torch.empty(2, 3, image_size, image_size))  # type: ignore[operator]
    # Each family fails in its own way: assertions, shapes that do not match, empty maps.
    except Exception as error:
        raise UsageError(_no_such_size(name, image_size, error)) from None


def _patch_of(network: nn.Module) -> int:
    """The side of patches that lie side by side; 1 where a network has none."""
    patches = getattr(getattr(network, "patch_embed", None), "proj", None)
    if not isinstance(patches, nn.Conv2d) or patches.kernel_size != patches.stride:
        return 1
    return int(patches.stride[0])


def own_size(name: str) -> int | None:
    """The image size that a timm network was made for; None where timm does not say."""
    cfg = timm.models.get_pretrained_cfg(name.removeprefix(TIMM))
    return int(cfg.input_size[-1]) if cfg is not None else None


def _refuse_unknown(name: str) -> None:
    plain, _, tag = name.partition(".")
    known = timm.list_models()
    if plain not in known:
        near = did_you_mean(near_names(plain, known))
        raise UsageError(
            f"--arch {TIMM}{name}: timm {timm.__version__} has no network of this name{near}; "
            f"it has {len(known):,}: python -c 'import timm; print(*timm.list_models())'"
        )
    tagged = timm.list_pretrained(f"{plain}.*")
    if tag and name not in tagged:
        tags = [one.partition(".")[2] for one in tagged]
        raise UsageError(
            f"--arch {TIMM}{name}: timm {timm.__version__} has no weights {tag!r} of {plain}"
            f"{did_you_mean(near_names(tag, tags))}; there are {', '.join(tags) or 'none'}"
        )


def _made(name: str, options: dict[str, Any], image_size: int) -> nn.Module:
    """The network, told the image size where it wants to know it."""
    try:
        try:
            network: nn.Module = timm.create_model(name, img_size=image_size, **options)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            network = timm.create_model(name, **options)
    except TypeError as error:
        lacking = next((one for one in ("drop_path_rate", "drop_rate") if one in str(error)), None)
        if lacking is None:
            raise
        flag = "--drop-path" if lacking == "drop_path_rate" else "--drop-rate"
        raise UsageError(f"{TIMM}{name} has no {lacking}: leave {flag} out") from None
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise UsageError(_no_such_size(f"{TIMM}{name}", image_size, error)) from None
    return network


def _no_such_size(name: str, image_size: int, error: Exception) -> str:
    reason = str(error).strip().splitlines()
    size = own_size(name)
    advice = f"its own size is {size}: --image-size {size}" if size else "choose another size"
    return (
        f"{name} cannot take images of {image_size} px "
        f"({reason[0][:200] if reason else type(error).__name__}): {advice}"
    )


def _named(network: nn.Module) -> str:
    cfg = getattr(network, "pretrained_cfg", None) or {}
    return str(cfg.get("architecture") or type(network).__name__)
