"""A network in two halves: image to last feature maps, and those to logits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from cxrtool.core.errors import UsageError
from cxrtool.networks.architectures import head_of

_ATTENDED = threading.Lock()
"""A hook is the module's, and so all threads'."""


def last_features(network: nn.Module, scaled: Tensor) -> Tensor:
    """The features from which the rest of a network makes logits, in the network's own layout.

    Of a convolutional network the maps that enter the global pooling, (n, channels, h, w): after
    DenseNet's ReLU; after Swin's norm. Of a timm transformer its last tokens, or, where only the
    class token reaches the logits, the tokens before the last block, (n, tokens, channels).

    Args:
        network: from `build_network`, in eval mode.
        scaled: its input (n, 3, image_size, image_size).
    """
    if _is_timm(network):
        return _timm_features(network, scaled)
    maps: Tensor
    if isinstance(network, models.ResNet):
        maps = network.maxpool(network.relu(network.bn1(network.conv1(scaled))))
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
            maps = layer(maps)
        return maps
    maps = network.get_submodule("features")(scaled)
    if isinstance(network, models.DenseNet):
        return torch.relu(maps)
    if isinstance(network, models.SwinTransformer):
        maps = network.permute(network.norm(maps))
    return maps


def logits_of_features(network: nn.Module, features: Tensor) -> Tensor:
    """The logits (n, labels) of `last_features`, by the rest of the network."""
    if _is_timm(network):
        return _timm_logits(network, features)
    pooled = features.mean((2, 3))
    logits: Tensor
    if isinstance(network, models.ConvNeXt):
        # Its norm needs the maps' shape; it flattens afterwards.
        logits = network.classifier(pooled[:, :, None, None])
    elif isinstance(network, models.EfficientNet):
        logits = network.classifier(pooled)
    else:
        logits = head_of(network)(pooled)
    return logits


def as_maps(network: nn.Module, features: Tensor) -> Tensor:
    """`last_features`, or derivatives by them, as maps (n, channels, h, w).

    Tokens that stand for no place in the image, such as a class token, are left out.

    Raises:
        UsageError: the features of this network have no place in the image.
    """
    if not _is_timm(network):
        return features
    if features.ndim == 4:
        own = features.shape[1] == network.num_features
        return features if own else features.permute(0, 3, 1, 2)
    places = features[:, getattr(network, "num_prefix_tokens", 0) :]
    side = round(places.shape[1] ** 0.5)
    if side * side != places.shape[1]:
        raise UsageError(f"a {type(network).__name__} has no heat maps: its tokens are no square")
    return places.permute(0, 2, 1).reshape(len(features), -1, side, side)


def by_class_token(network: nn.Module) -> bool:
    """Whether places reach the logits only as the last block's class token attends to them."""
    return _is_timm(network) and _only_class_token(network)


@contextmanager
def attended(network: Any) -> Iterator[list[Tensor]]:
    """Of a network `by_class_token`, what its last block attends to, while the block runs.

    These are the tokens after the block's first norm, as `logits_of_features` computes them; none
    of other networks, and where a block has no such norm. One thread at a time.
    """
    kept: list[Tensor] = []
    norm = getattr(network.blocks[-1], "norm1", None) if by_class_token(network) else None
    if norm is None:
        yield kept
        return
    with _ATTENDED:
        hook = norm.register_forward_hook(lambda _, __, tokens: kept.append(tokens))
        try:
            yield kept
        finally:
            hook.remove()


def refuse_without_halves(network: nn.Module, image_size: int) -> None:
    """Refuse to explain a network whose halves do not give its own logits.

    torchvision's families are known; each of timm's arranges its end as it likes.

    Raises:
        UsageError: it has no heat maps.
    """
    if not _is_timm(network):
        return
    first = next(network.parameters())
    scaled = torch.linspace(-2, 2, 3 * image_size**2, device=first.device, dtype=first.dtype)
    scaled = scaled.reshape(1, 3, image_size, image_size)
    try:
        with torch.no_grad():
            features = last_features(network, scaled)
            as_maps(network, features)
            logits, expected = logits_of_features(network, features), network(scaled)
        equal = torch.allclose(logits, expected, rtol=1e-3, atol=1e-3)
    except (AttributeError, TypeError, RuntimeError, ValueError, AssertionError):
        equal = False
    if not equal:
        raise UsageError(
            f"no heat maps of a {type(network).__name__}: it cannot be taken apart before its last "
            "block"
        )


def _is_timm(network: nn.Module) -> bool:
    return hasattr(network, "forward_features")


def _only_class_token(network: Any) -> bool:
    """Whether places reach the logits by way of the class token alone."""
    prefix = getattr(network, "num_prefix_tokens", 0)
    return bool(prefix) and getattr(network, "global_pool", "") == "token"


def _timm_features(network: Any, scaled: Tensor) -> Tensor:
    features: Tensor
    if not _only_class_token(network):
        features = network.forward_features(scaled)
        return features
    # Of the tokens after the last block the logits depend on one: a derivative by the others is 0.
    ((places, prefix),) = network.forward_intermediates(
        scaled,
        indices=[len(network.blocks) - 2],
        norm=False,
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
        return_prefix_tokens=True,
    )
    return torch.cat([prefix, places], 1)


def _timm_logits(network: Any, features: Tensor) -> Tensor:
    logits: Tensor
    if _only_class_token(network):
        rope = getattr(network, "rope", None)
        turned = {} if rope is None else {"rope": _positions(network, rope)}
        features = network.norm(network.blocks[-1](features, **turned))
    logits = network.forward_head(features)
    return logits


def _positions(network: Any, rope: Any) -> Tensor:
    """The rotary embedding of the last block."""
    if hasattr(rope, "feat_shape"):
        found: Tensor = rope.get_embed()
    else:
        found = rope.get_embed(shape=network.patch_embed.grid_size)
    return found[-1] if getattr(network, "rope_mixed", False) else found
