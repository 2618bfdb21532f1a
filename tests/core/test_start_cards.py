"""The table of starts: every card is whole, and names one thing."""

import re
from dataclasses import replace

import pytest

from cxrtool.core.config import ARCHS, TrainConfig
from cxrtool.core.errors import UsageError
from cxrtool.core.start_cards import (
    BY_HAND,
    FORM,
    OPEN,
    XRV,
    find_start,
    name_of_start,
    near_starts,
    start_cards,
    start_of_file,
)

CARDS = start_cards()


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_whole(name):
    card = CARDS[name]
    assert card.arch in ARCHS or card.arch.startswith("timm/")
    assert card.access in (OPEN, FORM, BY_HAND)
    assert card.link.startswith("https://")
    assert card.reference.startswith("https://")
    assert len(card.mean) == len(card.std)
    assert len(card.mean) in (1, 3)
    assert all(0 < one < 1 for one in (*card.mean, *card.std))
    assert re.fullmatch(r"([0-9a-f]{64})?", card.sha256)
    assert card.image_size % (card.patch or 1) == 0
    assert not re.search(r"[\\/]", card.file)
    # A long address that a table's line breaks is another one.
    assert not re.search(r"\s", "".join((card.url, card.file, card.hf, card.reference)))
    assert card.trained_words


def test_a_file_is_said_to_be_of_chest_x_rays_only_where_a_collection_or_words_say_so():
    for card in CARDS.values():
        if card.trained_on:
            assert card.chest, card.name
        if not card.chest:
            assert "photographs" in card.trained_words, card.name


def test_torchxrayvisions_networks_have_their_labels_and_its_scaling():
    of_xrv = [card for card in CARDS.values() if card.name.startswith(XRV)]
    assert len(of_xrv) == 8
    for card in of_xrv:
        assert len(card.labels) == 18
        named = [label for label in card.labels if label]
        assert len(set(named)) == len(named) > 0
        # Black and white of 8 bits are -1024 and 1024 to it.
        assert (0 - card.grey_mean) / card.grey_std == -1024
        assert (1 - card.grey_mean) / card.grey_std == 1024


def test_short_and_mistyped_names():
    assert find_start("xrv:chex") is CARDS["xrv:densenet121-res224-chex"]
    assert find_start("xrv:densenet121-res224-chex") is CARDS["xrv:densenet121-res224-chex"]
    assert find_start("chex") is None
    assert "rad-dino" in near_starts("rad-dine")


def test_an_architecture_may_be_a_starts_which_brings_its_weights():
    config = TrainConfig(arch="rad-dino")
    assert (config.arch, config.weights) == ("timm/vit_base_patch14_dinov2", "rad-dino")
    assert replace(config, epochs=3).weights == "rad-dino"
    assert TrainConfig(arch="rad-dino", weights="none").weights == "none"
    assert TrainConfig(arch="xrv:chex").weights == "xrv:densenet121-res224-chex"
    assert TrainConfig().weights == "imagenet"
    with pytest.raises(UsageError, match="architecture 'rad-dine' is not known"):
        TrainConfig(arch="rad-dine")


def test_a_training_is_called_by_its_start():
    assert name_of_start("timm/vit_base_patch14_dinov2", "rad-dino") == "rad-dino"
    assert name_of_start("densenet121", "xrv:chex") == "xrv-chex"
    assert name_of_start("densenet121", "rad-dino") == "densenet121"
    assert name_of_start("densenet121", "imagenet") == "densenet121"


def test_a_file_that_two_starts_share_the_name_of_is_none():
    assert start_of_file("Ark6_swinLarge768_ep50.pth.tar") is CARDS["ark-plus"]
    assert start_of_file("model.safetensors") is None
