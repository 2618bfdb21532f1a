import gc
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from cxrtool.core.config import HEATMAPS
from cxrtool.core.errors import UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.images.resizing import load_pixels
from cxrtool.networks.architectures import build_network, head_of, normalise, score_batch
from cxrtool.networks.cells import cells_of
from cxrtool.networks.class_activation import Explainer, class_activation, grad_cam, load_explainer
from cxrtool.networks.feature_maps import attended, last_features, logits_of_features

SMALLEST = (
    "resnet18",
    "densenet121",
    "convnext_tiny",
    "efficientnet_b0",
    "swin_t",
    "swin_v2_t",
)
"""One of each family, and both versions of Swin."""

pytestmark = pytest.mark.usefixtures("smaller")
LABELS = ("Edema", "Fracture", "Pneumonia")


@cache
def lively(arch):
    """A network with random weights whose norms know its input, so that its maps differ."""
    torch.manual_seed(0)
    network = build_network(arch, len(LABELS))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
            if isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.bias, std=0.2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
        network(torch.randn(4, 3, 64, 64))
        nn.init.normal_(head_of(network).weight, std=0.5)
        nn.init.normal_(head_of(network).bias)
    return network.eval().requires_grad_(False)


def explainer_of(network, side):
    return Explainer(
        network=network,
        labels=LABELS,
        image_size=side,
        pixel_mean=0.5,
        pixel_std=0.25,
        device=torch.device("cpu"),
    )


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)


@torch.no_grad()
def features_of(network, n=1, side=96):
    torch.manual_seed(3)
    return last_features(network, torch.randn(n, 3, side, side)).contiguous()


@pytest.mark.parametrize("arch", SMALLEST)
def test_the_mean_of_a_class_activation_map_and_its_constant_are_the_logit(arch):
    network = lively(arch)
    features = features_of(network, n=3)
    maps, constants = class_activation(network, features)
    assert maps.shape == (3, len(LABELS), 3, 3)
    assert constants.shape == (len(LABELS),)
    assert maps.std((2, 3)).min() > 1e-3
    logits = logits_of_features(network, features)
    assert (maps.mean((2, 3)) + constants - logits).abs().max() < 1e-5 * maps.abs().max()


@pytest.mark.parametrize("arch", SMALLEST)
def test_a_channels_weight_in_grad_cam_is_what_the_logit_gains_with_it(arch):
    """Equations 1 and 2 by central differences: a channel raised everywhere, and lowered."""
    network = lively(arch)
    features = features_of(network, side=64)
    channels, cells, step = features.shape[1], features[0, 0].numel(), 0.1
    raised = step * torch.eye(channels)[:, :, None, None]
    gain = logits_of_features(network, features + raised)
    gain = gain - logits_of_features(network, features - raised)
    weights = gain / (2 * step * cells)
    expected = torch.einsum("cl,chw->lhw", weights, features[0]).clamp(min=0)
    maps = grad_cam(network, features, [0, 1, 2])
    assert expected.max() > 0.1
    assert (maps - expected).abs().max() < 0.01 * expected.max()


@pytest.mark.parametrize("arch", [arch for arch in SMALLEST if arch != "convnext_tiny"])
def test_grad_cam_is_the_positive_share_of_the_map_where_the_last_layer_follows_at_once(arch):
    network = lively(arch)
    features = features_of(network)
    maps = class_activation(network, features)[0][0]
    shares = maps.clamp(min=0) / maps[0].numel()
    assert (grad_cam(network, features, [0, 1, 2]) - shares).abs().max() < 1e-5 * shares.max()


@pytest.mark.parametrize("arch", SMALLEST)
def test_the_map_is_where_the_evidence_is(arch):
    """A head that finds a ring, wherever it is, is shown rings off the diagonal: rows are rows."""
    explainer = explainer_of(finder_of_rings(arch), 160)
    for place in ((1, 3), (3, 2), (2, 1)):
        pixels = drawn_ring(explainer.cells, place)
        for method in HEATMAPS:
            [heat] = explainer.maps(pixels, ["Fracture"], method)
            assert heat.shape == (5, 5)
            assert np.unravel_index(heat.argmax(), heat.shape) == place, (place, method)


@torch.no_grad()
def finder_of_rings(arch):
    """A random network whose second label is a ring, fitted to the cells of three images.

    Their rings are on the diagonal, so that it could as well take rows for columns.
    """
    torch.manual_seed(0)
    network = build_network(arch, len(LABELS)).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0
        if isinstance(module, SqueezeExcitation):
            # It turns channels up and down everywhere, for what is anywhere.
            network.set_submodule(name, nn.Identity())
    network(torch.randn(4, 3, 160, 160))
    network.eval().requires_grad_(False)
    cells, places = cells_of(network, 160), [1, 2, 3]
    rings = scaled(np.stack([drawn_ring(cells, (place, place)) for place in places]))
    features = last_features(network, rings)
    wanted = torch.zeros(len(rings), *features.shape[2:])
    wanted[range(len(rings)), places, places] = 1
    channels = features.permute(0, 2, 3, 1).flatten(0, 2).double()
    channels = channels - channels.mean(1, keepdim=True)
    kernel = channels @ channels.T
    ridge = 0.01 * kernel.diagonal().mean() * torch.eye(len(kernel))
    fit = torch.linalg.solve(kernel + ridge, wanted.flatten().double())
    head_of(network).weight[1] = channels.T @ fit
    return network


def drawn_ring(cells, place, side=160):
    """A grey image with a bright ring around a cell's centre."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    row, column = (cells.first + number * cells.step for number in place)
    away = side * np.hypot(y - row, x - column)
    return np.where((away > 5) & (away < 13), 200, 100).astype(np.uint8)


def scaled(pixels):
    return normalise(torch.from_numpy(pixels)[:, None] / 255, 0.5, 0.25)


def test_maps_come_in_the_order_of_the_labels_asked_for():
    explainer = explainer_of(lively("densenet121"), 96)
    pixels = noise(96)
    every = explainer.maps(pixels, LABELS, "cam")
    assert (every.shape, every.dtype) == ((3, 3, 3), np.float32)
    assert every.min() < 0 < every.max()
    some = explainer.maps(pixels, ["Pneumonia", "Edema", "Pneumonia"], "cam")
    assert np.allclose(some, every[[2, 0, 2]], atol=1e-6)
    assert explainer.maps(pixels, LABELS).min() == 0
    for method in HEATMAPS:
        assert explainer.maps(pixels, [], method).shape == (0, 3, 3)


def test_what_is_not_there_is_named():
    explainer = explainer_of(lively("resnet18"), 64)
    with pytest.raises(UsageError, match="'Edma' is not known: did you mean Edema"):
        explainer.maps(noise(64), ["Edma"])
    with pytest.raises(UsageError, match="there are gradcam, cam"):
        explainer.maps(noise(64), ["Edema"], "lime")
    with pytest.raises(ValueError, match=r"\(32, 32\) for a network of 64 px"):
        explainer.maps(noise(32), ["Edema"])


@pytest.mark.parametrize("method", HEATMAPS)
def test_the_callers_context_changes_nothing(method):
    explainer = explainer_of(lively("resnet18"), 96)
    plain = explainer.maps(noise(96), LABELS, method)
    for context in (
        torch.no_grad(),
        torch.inference_mode(),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        with context:
            assert np.array_equal(explainer.maps(noise(96), LABELS, method), plain)


def test_several_threads_get_their_own_maps():
    explainer = explainer_of(lively("densenet121"), 64)
    tasks = [(noise(64, seed), [LABELS[seed % 3]], HEATMAPS[seed % 2]) for seed in range(12)]
    alone = [explainer.maps(*task) for task in tasks]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda task: explainer.maps(*task), tasks))
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_nothing_is_left_behind():
    network = lively("resnet18")
    explainer = explainer_of(network, 64)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    explainer.maps(noise(64), LABELS)
    gc.collect()
    tensors = len([one for one in gc.get_objects() if isinstance(one, torch.Tensor)])
    for method in HEATMAPS * 3:
        explainer.maps(noise(64), LABELS, method)
    gc.collect()
    assert len([one for one in gc.get_objects() if isinstance(one, torch.Tensor)]) == tensors
    assert all(one.grad is None and not one.requires_grad for one in network.parameters())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_runs_maps_add_up_to_its_probabilities(trained_once):
    run = RunFolder(trained_once.workspace.runs / trained_once.run)
    card = read_card(run)
    explainer = load_explainer(run)
    assert explainer.labels == card.labels
    assert not any(one.requires_grad for one in explainer.network.parameters())
    image = next((trained_once.data / "train").rglob("*frontal.jpg"))
    pixels = load_pixels(image, *card.image_sizes)
    maps = explainer.maps(pixels, card.labels, "cam")
    bias = head_of(explainer.network).bias.numpy()
    logits = maps.mean((1, 2)) + bias
    scores = score_batch(
        explainer.network,
        pixels[None],
        mean=card.pixel_mean,
        std=card.pixel_std,
        device=explainer.device,
        precision="fp32",
    )
    assert np.abs(1 / (1 + np.exp(-logits)) - scores[0]).max() < 1e-5


def test_a_class_tokens_map_is_each_places_own_part_of_what_the_logit_gains():
    """By differences: a place's attended token is shrunk towards 0, and its logit looked at."""
    torch.manual_seed(0)
    network = build_network("timm/test_vit", len(LABELS), image_size=64)
    nn.init.normal_(head_of(network).weight, std=0.5)
    network = network.eval().requires_grad_(False)
    features = features_of(network, side=64)
    with attended(network) as seen:
        logits_of_features(network, features)
    tokens, step = seen[0].detach(), 0.01
    gains = []
    for place in range(tokens.shape[1]):
        logits = []
        for sign in (1, -1):
            changed = tokens.clone()
            changed[:, place] *= 1 + sign * step
            hook = network.blocks[-1].norm1.register_forward_hook(lambda *_, now=changed: now)
            logits.append(logits_of_features(network, features)[0].detach())
            hook.remove()
        gains.append((logits[0] - logits[1]) / (2 * step))
    expected = torch.stack(gains)[network.num_prefix_tokens :].clamp(min=0).T
    maps = grad_cam(network, features, [0, 1, 2]).flatten(1)
    assert expected.max() > 1e-3
    assert (maps - expected).abs().max() < 0.01 * expected.max()
