"""Published weights under their authors' names give what their own network gives."""

import pytest
import timm
import torch
from torch import nn

from cxrtool.networks import start_networks
from cxrtool.networks.adapters import ADAPTERS, ark_plus, chexfound, dinov2, eva_x, hf_dinov2
from cxrtool.networks.position_grids import resampled
from tests.support.foreign_networks import HEADS, PATCH, WIDTH, DinoV2, EvaX, HfDinoV2

SIZE = 20
SMALL = {"embed_dim": WIDTH, "num_heads": HEADS, "patch_size": PATCH, "img_size": SIZE}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def small(name, **changes):
    return timm.create_model(name, num_classes=0, **{**SMALL, "depth": 4, **changes}).eval()


def features(network, images):
    with torch.no_grad():
        return network(images)


def filled(network, tensors):
    """A network with all of these tensors, and no others; what it does not have is named."""
    missing, unknown = network.load_state_dict(tensors, strict=False)
    return network, missing, unknown


def equal_output(theirs, network, tensors, *, beside=()):
    network, missing, unknown = filled(network, tensors)
    assert missing == []
    assert sorted(unknown) == sorted(beside)
    images = torch.randn(3, 3, SIZE, SIZE)
    ours, expected = features(network, images), features(theirs.eval(), images)
    assert ours.shape == expected.shape
    assert torch.allclose(ours, expected, atol=1e-5)
    assert ours.std() > 0.1


def test_dinov2_of_transformers():
    theirs = HfDinoV2(SIZE)
    tensors = hf_dinov2(theirs.state_dict())
    equal_output(theirs, small("vit_base_patch14_dinov2"), tensors, beside=["mask_token"])


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_of_its_own_code(registers):
    theirs = DinoV2(SIZE, registers=registers)
    name = f"vit_base_patch14{'_reg4' if registers else ''}_dinov2"
    equal_output(theirs, small(name), dinov2(theirs.state_dict()), beside=["mask_token"])


def sharded(state):
    """The blocks in groups of two, as training in shards leaves them."""
    return {
        key.replace(f"blocks.{n}.", f"blocks.{n // 2}.{n}.") if f"blocks.{n}." in key else key: one
        for key, one in state.items()
        for n in [int(key.split(".")[1]) if key.startswith("blocks.") else -1]
    }


def chexfound_small():
    inside = 24
    theirs = DinoV2(SIZE, registers=4, swiglu=inside)
    ours = small("chexfound_vit_large_patch16", mlp_ratio=2 * inside / WIDTH)
    return theirs, ours, sharded(theirs.state_dict())


def test_chexfound():
    theirs, ours, state = chexfound_small()
    assert any(key.startswith("blocks.1.3.") for key in state)
    equal_output(theirs, ours, chexfound(state), beside=["mask_token"])


def test_without_its_layer_scale_something_is_missing():
    _, ours, state = chexfound_small()
    without = {key: one for key, one in state.items() if ".ls" not in key}
    _, missing, _ = filled(ours, chexfound(without))
    assert missing == [f"blocks.{n}.ls{k}.gamma" for n in range(4) for k in (1, 2)]


@pytest.mark.parametrize(("size", "apart"), [("tiny", False), ("small", False), ("base", True)])
def test_eva_x(size, apart):
    theirs = EvaX(SIZE, apart=apart)
    ours = small(f"eva_x_{size}_patch16", depth=3, ref_feat_shape=(SIZE // PATCH,) * 2)
    beside = ["mask_token", "lm_head.weight", "lm_head.bias"]
    equal_output(theirs, ours, eva_x(theirs.state_dict()), beside=beside)


def test_eva_x_fine_tuned_keeps_its_norm():
    state = {"fc_norm.weight": torch.ones(2), "blocks.0.mlp.w12.weight": torch.ones(2)}
    assert set(eva_x(state)) == {"fc_norm.weight", "blocks.0.mlp.fc1.weight"}


def small_swin(**changes):
    given = {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (2, 2), "num_classes": 0}
    return timm.create_model(
        "swin_large_patch4_window12_384", **{**given, "num_heads": (2, 4), **changes}
    ).eval()


def as_timm_had_it(state):
    """The names of timm 0.5.4, with its tables that are not learned."""
    old = {
        f"module.{key.replace('layers.1.downsample', 'layers.0.downsample')}": one
        for key, one in state.items()
    }
    tables = ("attn_mask", "attn.relative_position_index")
    return {**old, **{f"module.layers.0.blocks.1.{one}": torch.zeros(4) for one in tables}}


def without_module(tensors):
    return {key.removeprefix("module."): one for key, one in tensors.items()}


def test_ark_plus():
    theirs, ours = small_swin(), small_swin()
    tensors = without_module(ark_plus(as_timm_had_it(theirs.state_dict())))
    network, missing, unknown = filled(ours, tensors)
    assert (missing, unknown) == ([], [])
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(features(network, images), features(theirs, images))


def test_a_swin_of_today_is_left_as_it_is_and_one_of_old_fits_no_more_unless_moved():
    state = small_swin().state_dict()
    assert set(ark_plus(state)) == set(state)
    _, missing, unknown = filled(small_swin(), without_module(as_timm_had_it(state)))
    assert "layers.1.downsample.norm.weight" in missing
    assert "layers.0.downsample.norm.weight" in unknown


@pytest.mark.parametrize("adapter", [one for one in ADAPTERS if one != "none"])
@pytest.mark.parametrize("before", ["teacher.backbone.", "module."])
def test_whatever_stands_before_the_names_stays(adapter, before):
    states = {
        "hf-dinov2": HfDinoV2(SIZE),
        "dinov2": DinoV2(SIZE, registers=4),
        "chexfound": DinoV2(SIZE, registers=4, swiglu=24),
        "eva-x": EvaX(SIZE, apart=True),
        "ark-plus": small_swin(),
    }
    state = states[adapter].state_dict()
    state = sharded(state) if adapter == "chexfound" else state
    plain = ADAPTERS[adapter](state)
    under = ADAPTERS[adapter]({before + key: one for key, one in state.items()})
    assert set(under) == {before + key for key in plain}
    assert all(torch.equal(under[before + key], one) for key, one in plain.items())


def test_nothing_but_tables_is_lost():
    for adapter in ADAPTERS.values():
        state = {"some.weight": torch.ones(1), "norm.weight": torch.ones(2), "a": torch.ones(3)}
        assert len(adapter(state)) == 3


@pytest.mark.parametrize("registers", [0, 4])
def test_positions_are_resampled_to_another_size_of_images(registers):
    theirs = DinoV2(SIZE, registers=registers)
    name = f"vit_base_patch14{'_reg4' if registers else ''}_dinov2"
    ours = small(name, img_size=32)
    tensors, told = resampled(dinov2(theirs.state_dict()), ours)
    assert told == "the grid of positions was resampled from 5 x 5 to 8 x 8"
    _, missing, _ = filled(ours, tensors)
    assert missing == []
    features(ours, torch.randn(1, 3, 32, 32))
    if not registers:  # a class token's position is not one of the grid's
        assert torch.equal(tensors["pos_embed"][:, 0], theirs.pos_embed[:, 0])
    # Positions that do not differ from each other do not after resampling either.
    flat = {**dinov2(theirs.state_dict()), "pos_embed": torch.ones(1, 26 - (registers > 0), WIDTH)}
    assert torch.allclose(resampled(flat, ours)[0]["pos_embed"], torch.ones(1), atol=1e-5)


def test_a_swins_windows_are_resampled():
    ours = small_swin(img_size=24, window_size=3)
    tensors, told = resampled(small_swin().state_dict(), ours)
    assert told == "window positions were resampled from 4 x 4 to 3 x 3"
    _, missing, unknown = filled(ours, tensors)
    assert (missing, unknown) == ([], [])


def test_what_is_no_grid_or_fits_already_is_left_alone():
    ours = small("vit_base_patch14_dinov2")
    state = ours.state_dict()
    assert resampled(state, ours) == (state, "")
    odd = {**state, "pos_embed": torch.ones(1, 24, WIDTH), "cls_token": torch.ones(1, 2, WIDTH)}
    assert resampled(odd, ours)[1] == ""
    assert resampled(odd, nn.Linear(2, 2)) == (odd, "")


@pytest.mark.parametrize("name", start_networks.__all__)
def test_networks_that_timm_has_no_name_for_are_built_for_an_image_size(name):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=3, img_size=256)
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 3)
    assert network.patch_embed.grid_size == (16, 16)


def test_chexfounds_width_is_that_of_dinov2s_code():
    with torch.device("meta"):
        network = timm.create_model("chexfound_vit_large_patch16", num_classes=0)
    inside = (int(4 * 1024 * 2 / 3) + 7) // 8 * 8
    assert network.blocks[0].mlp.fc1.weight.shape == (2 * inside, 1024)
    assert network.blocks[0].mlp.fc2.weight.shape == (1024, inside)
    assert len(network.blocks) == 24
    assert network.pos_embed.shape == (1, 32**2, 1024)
