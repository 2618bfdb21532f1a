import re
from functools import cache

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

from cxrtool.core.config import ARCHS
from cxrtool.core.errors import UsageError
from cxrtool.networks.architectures import (
    Head,
    block_sizes,
    blocks_of,
    build_network,
    head_name,
    head_of,
    normalise,
    score_batch,
)
from tests.support.smaller import SMALLEST


@cache
def skeleton(arch, n_labels=3):
    """A network without values: enough where only its structure matters, and made at once."""
    with torch.device("meta"):
        return build_network(arch, n_labels)


@pytest.mark.parametrize("arch", ARCHS)
def test_each_architecture_is_torchvisions_with_another_head(arch):
    with torch.device("meta"):
        theirs = models.get_model(arch, weights=None)
    ours = {key: value.shape for key, value in skeleton(arch, 14).state_dict().items()}
    last = [name for name, module in theirs.named_modules() if isinstance(module, nn.Linear)][-1]
    width = theirs.get_submodule(last).in_features
    body = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith(f"{last}.")}
    assert ours == {**body, f"{last}.weight": (14, width), f"{last}.bias": (14,)}
    assert list(ours) == list(theirs.state_dict())
    assert isinstance(head_of(skeleton(arch, 14)), Head)


def names_of(network, parameters):
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, parameter in network.named_parameters() if id(parameter) in wanted}


@pytest.mark.parametrize(
    ("arch", "top", "head"),
    [
        ("resnet101", r"layer4\.", r"fc\."),
        ("densenet121", r"features\.(denseblock4|norm5)\.", r"classifier\."),
        ("convnext_base", r"features\.7\.|classifier\.0\.", r"classifier\.2\."),
        ("efficientnet_b4", r"features\.[78]\.", r"classifier\.1\."),
        ("efficientnet_v2_s", r"features\.[67]\.", r"classifier\.1\."),
        ("swin_s", r"features\.7\.|norm\.", r"head\."),
        ("swin_v2_t", r"features\.7\.|norm\.", r"head\."),
    ],
)
def test_blocks_are_the_plans(arch, top, head):
    network = skeleton(arch)
    names = [names_of(network, group) for group in blocks_of(network).groups()]
    everything = {name for name, _ in network.named_parameters()}
    assert names[1] == {name for name in everything if re.match(top, name)}
    assert names[2] == {name for name in everything if re.match(head, name)}
    assert names[0] == everything - names[1] - names[2]
    assert sum(len(group) for group in names) == len(everything)


@pytest.mark.parametrize("arch", ARCHS)
def test_blocks_part_every_parameter_and_buffer_once(arch):
    network = skeleton(arch)
    blocks = blocks_of(network)
    parts = [
        {id(tensor) for module in part for tensor in (*module.parameters(), *module.buffers())}
        for part in (blocks.body, blocks.top, blocks.head)
    ]
    tensors = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    assert all(parts)
    assert sorted(id_ for part in parts for id_ in part) == sorted(tensors)
    # A module that holds a tensor has to be in its part itself: only so does it take its mode.
    holders = {m for m in network.modules() if [*m.parameters(False), *m.buffers(False)]}
    placed = [m for part in vars(blocks).values() for each in part for m in each.modules()]
    assert holders <= set(placed)
    assert len(placed) == len(set(placed))


@pytest.mark.parametrize("arch", ARCHS)
def test_block_sizes_add_up(arch):
    sizes = block_sizes(skeleton(arch))
    assert list(sizes) == ["body", "top", "head"]
    assert sum(sizes.values()) == sum(p.numel() for p in skeleton(arch).parameters())
    assert sizes["head"] == 3 * (head_of(skeleton(arch)).in_features + 1)


@pytest.mark.parametrize(
    ("arch", "body", "top"),
    [
        ("resnet101", 27_535_424, 14_964_736),
        ("densenet121", 4_793_728, 2_160_128),
        ("efficientnet_b0", 2_878_156, 1_129_392),
    ],
)
def test_block_sizes_are_known_ones(arch, body, top):
    sizes = block_sizes(skeleton(arch))
    assert (sizes["body"], sizes["top"]) == (body, top)


@pytest.mark.parametrize("arch", SMALLEST)
def test_only_the_heads_dropout_drops_while_the_head_alone_is_trained(arch):
    network = skeleton(arch).train()
    blocks = blocks_of(network)
    for module in (*blocks.body, *blocks.top):
        module.eval()
    random = {
        name: module.training
        for name, module in network.named_modules()
        if isinstance(module, nn.Dropout | StochasticDepth)
    }
    last = head_name(network).rpartition(".")[0]
    assert random == {name: bool(last) and name.startswith(f"{last}.") for name in random}
    assert ("classifier.0" in random) == arch.startswith("efficientnet")


def test_a_network_without_a_plan_is_named():
    with pytest.raises(TypeError, match="no block plan for a Linear"):
        blocks_of(nn.Linear(2, 2))


@pytest.mark.parametrize("arch", SMALLEST)
def test_every_size_from_32_will_do(arch):
    with torch.device("meta"):
        network = build_network(arch, 3).eval()
        # There is no autocast to switch off on this device.
        network.set_submodule(head_name(network), nn.Linear(head_of(network).in_features, 3))
        for size in (32, 33, 47, 80, 225):
            with torch.inference_mode():
                assert network(torch.empty(2, 3, size, size)).shape == (2, 3), size


@pytest.mark.usefixtures("smaller")
@pytest.mark.parametrize("arch", SMALLEST)
def test_scores_do_not_depend_on_memory_layout_or_much_on_precision(arch):
    torch.manual_seed(0)
    network = build_network(arch, 5)
    images = torch.randint(0, 256, (4, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        # One batch fills the norms' statistics, which otherwise leave nothing of the image.
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network(normalise(images.unsqueeze(1) / 255, 0.5, 0.25))
        plain = network.eval()(normalise(images.unsqueeze(1) / 255, 0.5, 0.25)).sigmoid()
    network = network.to(memory_format=torch.channels_last)
    options = {"mean": 0.5, "std": 0.25, "device": torch.device("cpu")}
    last = score_batch(network, images, precision="fp32", **options)
    half = score_batch(network, images, precision="bf16", **options)
    assert plain.std(0).min() > 1e-3
    assert abs(last - plain.numpy()).max() < 1e-4
    assert 0 < abs(half - plain.numpy()).max() < 0.05


@pytest.mark.usefixtures("smaller")
@pytest.mark.parametrize("arch", SMALLEST)
def test_every_parameter_is_trained(arch):
    network = build_network(arch, 2).to(memory_format=torch.channels_last).train()
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0  # a layer that is skipped has no gradient
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_an_unknown_architecture_gets_near_names():
    with pytest.raises(UsageError, match="did you mean densenet121"):
        build_network("densnet121", 14)


@pytest.mark.parametrize("arch", ["convnext_tiny", "efficientnet_b0", "swin_t"])
def test_drop_path_grows_to_what_is_asked(arch):
    with torch.device("meta"):
        network = build_network(arch, 2, drop_path=0.35)
    rates = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert max(rates) == pytest.approx(0.35)
    assert rates == sorted(rates)


def test_a_network_without_drop_path_says_so():
    with torch.device("meta"), pytest.raises(UsageError, match="resnet18 has no drop path"):
        build_network("resnet18", 2, drop_path=0.1)


def test_drop_rate_is_densenets():
    network = build_network("densenet121", 2, drop_rate=0.3)
    assert {m.drop_rate for m in network.modules() if hasattr(m, "drop_rate")} == {0.3}
    for arch in set(SMALLEST) - {"densenet121"}:
        with pytest.raises(UsageError, match="no drop rate"):
            build_network(arch, 2, drop_rate=0.3)


def test_the_head_computes_in_fp32_under_autocast():
    network = build_network("resnet18", 500).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        logits = network(torch.randn(2, 3, 32, 32))
    assert logits.dtype == torch.float32
    rounded = logits.to(torch.bfloat16).float()
    assert (logits != rounded).float().mean() > 0.9


def test_scores_do_not_depend_on_the_batch():
    network = build_network("resnet18", 14).eval()
    pixels = torch.randint(0, 256, (5, 64, 64), dtype=torch.uint8)
    options = {"mean": 0.5, "std": 0.25, "device": torch.device("cpu"), "precision": "fp32"}
    together = score_batch(network, pixels, **options)
    alone = score_batch(network, pixels[2:3], **options)
    assert together.shape == (5, 14)
    assert abs(together[2] - alone[0]).max() < 1e-5


def test_normalise_gives_three_equal_channels():
    x = normalise(torch.full((1, 1, 2, 2), 0.75), mean=0.5, std=0.25)
    assert x.shape == (1, 3, 2, 2)
    assert (x == 1).all()


def test_the_head_is_a_plain_linear_layer_in_the_file():
    network = build_network("resnet18", 14)
    assert isinstance(network.fc, nn.Linear)
    assert set(network.fc.state_dict()) == {"weight", "bias"}
