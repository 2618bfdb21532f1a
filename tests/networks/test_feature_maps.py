from functools import cache

import pytest
import torch
from torch import nn

from cxrtool.core.config import ARCHS
from cxrtool.networks.architectures import build_network, head_name, head_of
from cxrtool.networks.cells import cells_of
from cxrtool.networks.feature_maps import last_features, logits_of_features
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
    assert cells_of(network, 224).step == 32 / 224
