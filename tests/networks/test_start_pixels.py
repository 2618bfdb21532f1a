import pytest
import timm

from cxrtool.networks.start_pixels import pixels_of_start


def test_a_starts_own_scaling_is_that_of_its_card():
    found = pixels_of_start("timm/vit_base_patch14_dinov2", "rad-dino")
    assert (found.mean, found.std, found.chest) == (0.5307, 0.2583, True)
    found = pixels_of_start("densenet121", "xrv:chex")
    assert (found.mean, found.std, found.chest) == (0.5, 1 / 2048, True)


def test_of_three_channels_a_grey_image_gets_the_mean():
    found = pixels_of_start("resnet18", "imagenet")
    assert found.mean == pytest.approx(0.449)
    assert found.std == pytest.approx(0.226)
    assert not found.chest
    name = "vit_small_patch16_224"
    cfg = timm.get_pretrained_cfg(name)
    assert cfg.mean == (0.5, 0.5, 0.5)
    assert pixels_of_start(f"timm/{name}", "imagenet").mean == 0.5


@pytest.mark.parametrize("weights", ["none", "a-run", "w.pt", "hf:me/nets"])
def test_what_does_not_say_it_is_not_guessed(weights):
    assert pixels_of_start("resnet18", weights) is None


def test_a_network_that_timm_has_no_weights_of_has_none():
    assert pixels_of_start("timm/eva_x_tiny_patch16", "imagenet") is None
