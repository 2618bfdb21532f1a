"""Where in the image the cells of a network's last feature maps lie.

From each layer's kernel k, stride and padding p by Araujo et al. 2019 (Distill, "Computing
Receptive Fields of Convolutional Neural Networks", centres of the field): a layer adds (k - 1) / 2
- p times the strides before it. A kernel of three with padding adds nothing, so that a ResNet's
cells lie half a cell up and to the left of where a plain resize of the map would put them;
DenseNet's three poolings of two by two pixels add 2, 4 and 8; a merging of whole patches is
centred; TensorFlow's padding, which is on the far side alone, adds half a cell. Where a shortcut
pools otherwise than the branch beside it (ResNet-D), the branch is followed: the true centre lies
up to half a cell from there.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import Tensor, nn

from cxrtool.images.heat_grid import Cells
from cxrtool.networks.feature_maps import as_maps, last_features

LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class _Reduction:
    """A layer that makes maps smaller."""

    before: int
    after: int
    """Cells along a side."""
    stride: int
    offset: float
    """Of the first cell's centre, in cells before it."""


@torch.no_grad()
def cells_of(network: nn.Module, image_size: int) -> Cells:
    """Where the cells of the last feature maps lie in a square input of so many pixels.

    It watches one image pass through the network, which is in eval mode.
    """
    first = next(network.parameters())
    scaled = torch.zeros(1, 3, image_size, image_size, device=first.device, dtype=first.dtype)
    with _watched(network) as reductions:
        side = as_maps(network, last_features(network, scaled)).shape[-1]
    centre, step, seen = 0.0, 1, image_size
    for one in reductions:
        # A branch beside the main one, such as a shortcut, makes the same step once more.
        if one.before == seen:
            centre += one.offset * step
            step *= one.stride
            seen = one.after
    # Patches that are merged without a convolution, two by two, are centred.
    merged = 2 ** max(round(log2(image_size / side / step)), 0)
    centre += (merged - 1) / 2 * step
    return Cells((centre + 0.5) / image_size, step * merged / image_size)


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[_Reduction]]:
    """The layers that reduce, in the order in which this thread's pass comes by them."""
    found: list[_Reduction] = []
    thread = threading.get_ident()

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = inputs[0].shape[-1], output.shape[-1]
        if threading.get_ident() == thread and output.ndim == 4 and after < before:
            found.append(_reduction(layer, before, after))

    hooks = [
        layer.register_forward_hook(watch)
        for layer in network.modules()
        if isinstance(layer, LAYERS)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _reduction(layer: nn.Module, before: int, after: int) -> _Reduction:
    kernel, stride = _one(layer.kernel_size), _one(layer.stride)
    if type(layer).__name__.endswith("Same"):  # timm's, padded as TensorFlow does
        outside = max((-(-before // stride) - 1) * stride + kernel - before, 0) // 2
    else:
        outside = _one(layer.padding)
    return _Reduction(before, after, stride, (kernel - 1) / 2 - outside)


def _one(number: Any) -> int:
    """The same number in both directions, which may be given once."""
    return int(number[0] if isinstance(number, tuple) else number)
