"""timm's networks: what can be built, where their blocks are, and their two halves."""

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

from cxrtool.core.errors import UsageError
from cxrtool.networks.architectures import (
    Head,
    block_sizes,
    blocks_of,
    build_network,
    head_name,
    head_of,
    refuse_image_size,
)
from cxrtool.networks.cells import cells_of
from cxrtool.networks.class_activation import Explainer, class_activation, grad_cam
from cxrtool.networks.feature_maps import (
    as_maps,
    last_features,
    logits_of_features,
    refuse_without_halves,
)

SMALL = (
    *("test_vit", "test_vit2", "test_convnext", "test_efficientnet", "test_resnet"),
    *("test_byobnet", "test_nfnet", "test_mambaout"),
)
"""timm's own for tests: well under a million weights."""
FAMILIES = {
    "beit_base_patch16_224": 224,
    "coatnet_nano_rw_224": 224,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
    "cs3darknet_s": 64,
    "darknet17": 64,
    "davit_tiny": 64,
    "deit3_small_patch16_224": 64,
    "densenet121": 64,
    "edgenext_xx_small": 64,
    "efficientnet_b0": 64,
    "efficientnetv2_rw_t": 64,
    "eva02_tiny_patch14_224": 56,
    "focalnet_tiny_srf": 64,
    "gcvit_xxtiny": 224,
    "ghostnet_100": 64,
    "hgnetv2_b0": 64,
    "hiera_tiny_224": 64,
    "hrnet_w18_small": 64,
    "inception_next_tiny": 64,
    "maxvit_pico_rw_256": 256,
    "mobilenetv4_conv_small": 64,
    "mobileone_s0": 64,
    "mobilevit_xxs": 64,
    "mvitv2_tiny": 224,
    "nextvit_small": 64,
    "pvt_v2_b0": 64,
    "regnety_002": 64,
    "repvgg_a0": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "swin_tiny_patch4_window7_224": 64,
    "swinv2_tiny_window8_256": 64,
    "tf_efficientnet_lite0": 64,
    "tiny_vit_5m_224": 224,
    "vit_small_patch14_reg4_dinov2": 56,
    "vit_small_patch16_dinov3": 64,
    "vgg11": 224,
    "xcit_nano_12_p16_224": 64,
}
"""A network of each family, and a size of images that it takes."""


def skeleton(name, size, n_labels=3, **options):
    with torch.device("meta"):
        network = build_network(f"timm/{name}", n_labels, image_size=size, **options)
        refuse_image_size(network, size)
    return network.eval()


def lively(name, size=64):
    """With random weights, norms and class tokens, so that nothing is 0."""
    torch.manual_seed(0)
    network = build_network(f"timm/{name}", 3, image_size=size)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1 or parameter.shape[0] == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
        head_of(network).weight.normal_(std=0.5)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_a_network_of_each_family_is_built_and_has_blocks(name, size):
    network = skeleton(name, size)
    assert isinstance(head_of(network), Head)
    blocks = blocks_of(network)
    groups = blocks.groups()
    assert all(groups)
    assert sorted(id(one) for group in groups for one in group) == sorted(
        id(one) for one in network.parameters()
    )
    assert len(groups[2]) == 2
    placed = [
        m for part in (blocks.body, blocks.top, blocks.head) for e in part for m in e.modules()
    ]
    assert len(placed) == len(set(placed))
    loose = {id(one) for one in blocks.loose}
    holders = {
        module
        for module in network.modules()
        if [*module.buffers(False)] or any(id(one) not in loose for one in module.parameters(False))
    }
    assert holders <= set(placed)
    sizes = block_sizes(network)
    assert sizes["top"] > sizes["head"]  # norms alone are no block
    assert sizes["head"] == 3 * (head_of(network).in_features + 1)


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("convnext_atto", ("stages.3.", "head.norm.")),
        ("test_vit", ("blocks.5.", "norm.")),
        ("eva02_tiny_patch14_224", ("blocks.11.", "fc_norm.")),
        ("resnet18", ("layer4.",)),
        ("efficientnet_b0", ("blocks.6.", "conv_head.", "bn2.")),
        ("densenet121", ("features.denseblock4.", "features.norm5.")),
        ("swin_tiny_patch4_window7_224", ("layers.3.", "norm.")),
        ("mobilenetv4_conv_small", ("blocks.4.", "conv_head.", "norm_head.")),
    ],
)
def test_the_top_block_is_the_last_one_with_what_follows_it(name, top):
    network = skeleton(name, 56 if "patch14" in name else 64)
    inside = {id(parameter) for parameter in blocks_of(network).groups()[1]}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in inside}
    assert names
    assert names == {name for name, _ in network.named_parameters() if name.startswith(top)}


@pytest.mark.parametrize("name", SMALL)
def test_without_a_new_head_it_is_timms_own(name):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=3, **_sized(name)).eval()
    ours = build_network(f"timm/{name}", 3, image_size=64).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def _sized(name):
    return {"img_size": 64} if "vit" in name else {}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_drop_path_and_dropout_reach_the_network(name):
    network = build_network(f"timm/{name}", 2, image_size=64, drop_path=0.25, drop_rate=0.5)
    rates = [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
    assert 0.2 <= max(rates) <= 0.25  # some families leave the last step of the rise out
    assert rates == sorted(rates)
    network.train()
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    assert not torch.equal(network(images), network(images))
    plain = build_network(f"timm/{name}", 2, image_size=64)
    assert not any(isinstance(module, DropPath) for module in plain.modules())


def test_a_frozen_networks_head_still_drops():
    network = build_network("timm/test_vit", 2, image_size=64, drop_rate=0.5, drop_path=0.5).train()
    blocks = blocks_of(network)
    for module in (*blocks.body, *blocks.top):
        module.eval()
    dropping = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Dropout | DropPath) and module.training
    ]
    assert dropping == ["head_drop"]


@pytest.mark.parametrize(
    ("arch", "options", "said"),
    [
        ("timm/convnext_tinny", {}, r"no network of this name \(did you mean convnext_tiny or"),
        ("timm/convnext_tiny.fb_in2k", {}, r"no weights 'fb_in2k'.*did you mean fb_in22k"),
        ("timm/test_vit.nothing", {}, "no weights 'nothing' of test_vit; there are r160_in1k"),
        ("timm/deit_tiny_distilled_patch16_224", {}, "ends in a tuple, not in one linear layer"),
        ("timm/crossvit_tiny_240", {"image_size": 240}, "ends in a ModuleList"),
        ("timm/resnetv2_50", {}, "ends in a Conv2d"),
        ("timm/poolformer_s12", {}, "does not say where its blocks are"),
        ("timm/rdnet_tiny", {}, "does not say where its blocks are"),
        ("timm/vgg11", {"drop_path": 0.1}, "no drop_path_rate: leave --drop-path out"),
        ("timm/vit_tiny_patch16_224", {"image_size": 100}, "no multiple of the 16.*use 96 or 112"),
        ("timm/vit_small_patch14_dinov2", {"image_size": 10}, "no multiple of the 14.*use 14"),
        ("timm/coatnet_0_rw_224", {"image_size": 100}, "cannot take images of 100 px.*-size 224"),
    ],
)
def test_what_cannot_be_built_is_said_by_name(arch, options, said):
    def build():
        with torch.device("meta"):
            network = build_network(arch, 2, **options)
            refuse_image_size(network, options.get("image_size", 224))

    with pytest.raises(UsageError, match=said):
        build()


@pytest.mark.parametrize("name", SMALL)
def test_the_two_halves_are_the_network(name):
    network = lively(name)
    refuse_without_halves(network, 64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = last_features(network, images)
        found, expected = logits_of_features(network, features), network(images)
    assert (found - expected).abs().max() < 1e-5
    maps = as_maps(network, features)
    assert maps.ndim == 4
    assert maps.shape[2] == maps.shape[3] == round(1 / cells_of(network, 64).step)


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "eva02_tiny_patch14_224",
        "vit_small_patch14_reg4_dinov2",
        "test_vit2",
    ],
)
def test_a_transformers_map_leaves_out_tokens_of_no_place(name):
    size = 56 if "patch14" in name else 64
    network = lively(name, size)
    with torch.no_grad():
        features = last_features(network, torch.randn(1, 3, size, size))
    maps = grad_cam(network, features, [0, 1])
    cells = cells_of(network, size)
    side = round(1 / cells.step)
    assert maps.shape == (2, side, side)
    assert maps.max() > 0
    # The cell of a patch is where the patch is.
    assert cells.first == pytest.approx(cells.step / 2)
    prefix = network.num_prefix_tokens
    moved = features.clone()
    moved[:, :prefix] += 1
    assert torch.equal(as_maps(network, moved), as_maps(network, features))


def test_a_patch_lies_where_its_tokens_cell_is():
    """The pixels that a token depends on before any token sees another: those of its patch."""
    network = lively("vit_tiny_patch16_224")
    images = torch.zeros(1, 3, 64, 64)
    changed = images.clone()
    changed[..., 16:32, 32:48] = 1  # row 1, column 2
    with torch.no_grad():
        difference = network.patch_embed(changed) - network.patch_embed(images)
    padded = torch.cat([torch.zeros(1, network.num_prefix_tokens, 192), difference], 1)
    maps = as_maps(network, padded).abs().sum((0, 1))
    assert [tuple(place) for place in maps.nonzero().tolist()] == [(1, 2)]


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_class_activation_is_exact_where_a_mean_and_a_linear_layer_follow(name):
    network = lively(name)
    with torch.no_grad():
        features = last_features(network, torch.randn(2, 3, 64, 64))
        maps, constants = class_activation(network, features)
        logits = logits_of_features(network, features)
    assert (maps.mean((2, 3)) + constants - logits).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["test_vit", "mobilenetv4_conv_small", "vgg11"])
def test_class_activation_is_refused_where_it_is_not_exact(name):
    size = 224 if name == "vgg11" else 64
    explainer = Explainer(
        network=lively(name, size),
        labels=("A", "B", "C"),
        image_size=size,
        pixel_mean=0.5,
        pixel_std=0.25,
        device=torch.device("cpu"),
    )
    pixels = torch.randint(0, 256, (size, size), dtype=torch.uint8).numpy()
    with pytest.raises(UsageError, match="no exact class activation map"):
        explainer.maps(pixels, ["A"], "cam")
    assert explainer.maps(pixels, ["A"]).shape[0] == 1


def test_a_network_that_cannot_be_taken_apart_has_no_maps():
    with pytest.raises(UsageError, match="no heat maps of a Cait"):
        refuse_without_halves(lively("cait_xxs24_224"), 64)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_the_head_is_the_last_layer(name):
    assert head_name(skeleton(name, 64)) == {"test_vit": "head", "test_convnext": "head.fc"}[name]
