from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import SqueezeExcitation

from cxrtool.core.config import ARCHS
from cxrtool.networks.architectures import build_network, head_name, head_of
from cxrtool.networks.feature_maps import STRIDE, cells_of, last_features, logits_of_features
from tests.support.smaller import SMALLEST


@cache
def lively(arch, n_labels=3):
    """A network with random weights whose norms know its input, so that its maps differ."""
    torch.manual_seed(0)
    network = build_network(arch, n_labels)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                nn.init.normal_(module.bias, std=0.2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
        network(torch.randn(4, 3, 64, 64))
        nn.init.normal_(head_of(network).bias)
    return network.eval().requires_grad_(False)


@pytest.mark.usefixtures("smaller")
@pytest.mark.parametrize("arch", SMALLEST)
def test_the_two_halves_are_the_network(arch):
    network = lively(arch)
    for size in (32, 47, 80, 97):
        images = torch.randn(2, 3, size, size)
        with torch.no_grad():
            features = last_features(network, images)
            logits = logits_of_features(network, features)
            expected = network(images)
        assert features.ndim == 4
        assert features.shape[:2] == (2, head_of(network).in_features)
        assert (logits - expected).abs().max() < 1e-5, size


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_has_its_halves(arch):
    with torch.device("meta"):
        network = build_network(arch, 3).eval()
        # There is no autocast to switch off on this device.
        network.set_submodule(head_name(network), nn.Linear(head_of(network).in_features, 3))
        with torch.no_grad():
            features = last_features(network, torch.empty(2, 3, 224, 224))
            assert features.shape == (2, head_of(network).in_features, 7, 7)
            assert logits_of_features(network, features).shape == (2, 3)
    assert cells_of(network, 224).step == STRIDE / 224


@pytest.mark.parametrize("arch", SMALLEST)
def test_a_cell_looks_at_where_it_is_said_to_lie(arch):
    """The mean place of the pixels that a cell depends on, by the square of the gradient."""
    network, side = nearsighted(arch), 257
    torch.manual_seed(1)
    images = torch.randn(3, 3, side, side, requires_grad=True)
    features = last_features(network, images)
    row, column = 4, 3
    mixed = features[:, :, row, column] @ torch.randn(features.shape[1])
    (slopes,) = torch.autograd.grad(mixed.sum(), images)
    weight = slopes.square().sum((0, 1))
    pixels = torch.arange(side) + 0.5
    across, down = (float(weight.sum(axis) @ pixels / weight.sum()) for axis in (0, 1))
    cells = cells_of(network, side)
    assert across == pytest.approx(side * (cells.first + column * cells.step), abs=3)
    assert down == pytest.approx(side * (cells.first + row * cells.step), abs=3)


def nearsighted(arch):
    """A random network without what looks at all of the image at once, which has no place."""
    torch.manual_seed(0)
    network = build_network(arch, 3)
    for name, module in list(network.named_modules()):
        if isinstance(module, SqueezeExcitation):
            network.set_submodule(name, nn.Identity())
        if isinstance(module, ShiftedWindowAttention):
            nn.init.zeros_(module.proj.weight)
    network(torch.randn(4, 3, 64, 64))
    return network.eval().requires_grad_(False)
