"""A cell of the last feature maps lies where it is said to lie."""

import pytest
import torch
from timm.layers import SEModule
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models.swin_transformer import WindowAttention
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import SqueezeExcitation

from cxrtool.networks.architectures import build_network
from cxrtool.networks.cells import cells_of
from cxrtool.networks.feature_maps import as_maps, last_features
from tests.support.smaller import SMALLEST

TIMMS = {
    "timm/tf_efficientnet_lite0": 384,
    "timm/efficientnet_lite0": 384,
    "timm/convnext_atto": 256,
    "timm/swin_tiny_patch4_window7_224": 256,
    "timm/regnety_002": 256,
}
"""Padded on the far side alone, on both, patches, merged patches, a pooled stem."""


@pytest.mark.parametrize(("arch", "side"), [*((arch, 257) for arch in SMALLEST), *TIMMS.items()])
def test_a_cell_looks_at_where_it_is_said_to_lie(arch, side):
    """The mean place of the pixels that a cell depends on, by the square of the gradient."""
    network = nearsighted(arch, side)
    torch.manual_seed(1)
    images = torch.randn(3 if side == 257 else 1, 3, side, side, requires_grad=True)
    features = as_maps(network, last_features(network, images))
    row, column = (middle := features.shape[-1] // 2), middle - 1
    mixed = features[:, :, row, column] @ torch.randn(features.shape[1])
    (slopes,) = torch.autograd.grad(mixed.sum(), images)
    weight = slopes.square().sum((0, 1))
    pixels = torch.arange(side) + 0.5
    across, down = (float(weight.sum(axis) @ pixels / weight.sum()) for axis in (0, 1))
    cells, near = (
        cells_of(network, side),
        8 if side == 384 else 4,
    )  # at 384 the edges cut fields off
    assert across == pytest.approx(side * (cells.first + column * cells.step), abs=near)
    assert down == pytest.approx(side * (cells.first + row * cells.step), abs=near)


def nearsighted(arch, side):
    """A random network without what looks at all of the image at once, which has no place."""
    torch.manual_seed(0)
    network = build_network(arch, 3, image_size=side)
    for name, module in list(network.named_modules()):
        if isinstance(module, SqueezeExcitation | SqueezeExcite | SEModule):
            network.set_submodule(name, nn.Identity())
        if isinstance(module, ShiftedWindowAttention | WindowAttention):
            nn.init.zeros_(module.proj.weight)
    network(torch.randn(4, 3, side, side))
    return network.eval().requires_grad_(False)
