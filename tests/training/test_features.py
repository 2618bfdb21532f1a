"""Features of a frozen network: what its last layer sees, computed once, of these weights alone."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError
from cxrtool.networks.architectures import head_of
from cxrtool.training import features as module
from cxrtool.training.features import (
    FeaturesFolder,
    TrainingFeatures,
    compute_features,
    facts_of,
    find_features,
    open_features,
)
from cxrtool.training.setup import set_up
from tests.conftest import TINY

CONFIG = replace(TINY, arch="timm/test_resnet", probe="only").resolved()


@pytest.fixture
def setup(prepared):
    return made(CONFIG, prepared)


def made(config, prepared, seed=3):
    return set_up(config, torch.device("cpu"), prepared, seed=seed, reporter=SILENT)


def facts(setup, prepared, **changed):
    options = {"views": 0, "seed": 3, "half": False, "image_size": 32, "precision": "fp32"}
    arch = setup.config.arch
    return facts_of(setup.network, setup.data, prepared, arch=arch, **{**options, **changed})


def computed(setup, prepared, **changed):
    return compute_features(
        setup.network,
        setup.data,
        prepared,
        facts(setup, prepared, **changed),
        device=torch.device("cpu"),
        workers=2,
        reporter=SILENT,
        clock=time.perf_counter,
    )


@pytest.mark.parametrize("cached", [True, False])
def test_the_head_makes_of_features_what_the_network_makes_of_images(setup, prepared, cached):
    if not cached:
        setup = replace(setup, data=replace(setup.data, cache=None))
    found = computed(setup, prepared)
    dls, head = setup.learner.dls, head_of(setup.network)
    setup.network.eval()
    with torch.no_grad():
        expected = torch.cat([setup.network(batch[0]) for batch in dls.valid])
        logits = head(found.valid(setup.data.frame["is_valid"].to_numpy(dtype=bool)))
    # Decoded for a cache an image is made smaller twice.
    assert (logits - expected).abs().max() < (1e-4 if cached else 0.1)
    assert found.array.shape == (1, len(setup.data.frame), head.in_features)
    assert found.images_per_second > 0


def test_the_network_is_as_it_was(setup, prepared):
    head = head_of(setup.network)
    before = {name: value.clone() for name, value in setup.network.state_dict().items()}
    setup.network.train()
    computed(setup, prepared)
    assert head_of(setup.network) is head
    assert all(module.training for module in setup.network.modules())
    after = setup.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_views_are_augmented_each_in_its_own_way_and_again_the_same(setup, prepared):
    found = computed(setup, prepared, views=2)
    plain, one, other = np.array(found.array)
    assert np.array_equal(plain, computed(setup, prepared).array[0])
    for first, second in ((plain, one), (plain, other), (one, other)):
        assert (np.abs(first - second).max(1) > 0).mean() > 0.9
    assert np.array_equal(computed(setup, prepared, views=2).array, [plain, one, other])
    assert not np.array_equal(computed(setup, prepared, views=2, seed=4).array[1], one)
    valid = setup.data.frame["is_valid"].to_numpy(dtype=bool)
    training = found.training(valid)
    rows = torch.cat([batch for batch, _ in training.batches()]).numpy()
    assert training.times == 2
    assert np.array_equal(rows, np.concatenate([one[~valid], other[~valid]]))


def test_halves_take_half(setup, prepared):
    whole, half = computed(setup, prepared), computed(setup, prepared, half=True)
    assert half.array.dtype == np.float16
    np.testing.assert_allclose(half.array, whole.array, rtol=2e-3, atol=1e-3)


def test_they_are_found_again_and_those_of_other_weights_are_not(setup, prepared):
    kept = computed(setup, prepared)
    found = find_features(prepared, facts(setup, prepared))
    assert found.folder == kept.folder
    assert np.array_equal(found.array, kept.array)
    other = made(CONFIG, prepared, seed=4)
    assert find_features(prepared, facts(other, prepared)) is None
    assert find_features(prepared, facts(setup, prepared, precision="bf16")) is None
    # The last layer is not part of them.
    with torch.no_grad():
        head_of(setup.network).weight.add_(1)
    assert find_features(prepared, facts(setup, prepared)) is not None


def test_a_folder_of_other_weights_is_refused_by_what_differs(setup, prepared, tmp_path):
    kept = computed(setup, prepared)
    other = made(CONFIG, prepared, seed=4)
    with pytest.raises(DataError, match=r"another network.*weights_sha256: \w+, not \w+\)") as said:
        open_features(kept.folder, facts(other, prepared))
    assert "pixel_mean" not in str(said.value)
    with pytest.raises(DataError, match="no folder of features"):
        open_features(FeaturesFolder(tmp_path), facts(setup, prepared))


@pytest.mark.parametrize("how", ["cut", "empty", "gone", "another shape"])
def test_damaged_features_are_said(setup, prepared, how):
    kept = computed(setup, prepared)
    array, wanted = kept.folder.array, facts(setup, prepared)
    if how == "gone":
        array.unlink()
    elif how == "another shape":
        np.save(array, np.zeros((1, 2, 3), np.float32))
    else:
        array.write_bytes(array.read_bytes()[: 0 if how == "empty" else 1000])
    with pytest.raises(RunError, match=r"features\.npy.*computes it again"):
        find_features(prepared, wanted)


def test_what_is_stopped_half_way_leaves_nothing(setup, prepared, monkeypatch):
    calls = []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(*arguments)

    original = module._through
    monkeypatch.setattr(module, "_through", dying)
    monkeypatch.setattr(module, "BATCH", 8)
    with pytest.raises(KeyboardInterrupt):
        computed(setup, prepared)
    assert [path for path in prepared.features.rglob("*") if path.is_file()] == []
    assert find_features(prepared, facts(setup, prepared)) is None


def test_larger_images_pass_fewer_at_once():
    sizes = [module.batch_size(side) for side in (32, 224, 320, 518, 768, 4096)]
    assert sizes[:2] == [module.BATCH] * 2
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert all(
        n * side**2 <= module.BATCH * 224**2
        for n, side in zip(sizes[1:5], (224, 320, 518, 768), strict=True)
    )


@pytest.mark.parametrize("room", [0, 2**30])
def test_training_rows_are_the_same_from_memory_and_from_the_file(monkeypatch, room):
    monkeypatch.setattr(module, "IN_MEMORY", room)
    monkeypatch.setattr(module, "ROWS", 3)
    views = np.random.default_rng(0).normal(size=(2, 10, 4)).astype(np.float32)
    rows = np.array([0, 2, 3, 7, 9])
    found = list(TrainingFeatures(views, rows).batches())
    assert [part for _, part in found] == [slice(0, 3), slice(3, 5), slice(5, 8), slice(8, 10)]
    assert np.array_equal(torch.cat([batch for batch, _ in found]), views[:, rows].reshape(10, 4))


def test_grey_is_scaled_as_for_scoring(setup, prepared):
    """Of a network that hands its input on: the features are the mean of what it sees."""
    pixels = np.full((2, 32, 32), 100, np.uint8)
    wanted = facts(setup, prepared)
    backbone = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    grey = module._augmented(pixels, wanted, 0, 0, torch.device("cpu"))
    found = module._through(backbone, grey, wanted, torch.device("cpu"))
    expected = (100 / 255 - wanted.pixel_mean) / wanted.pixel_std
    np.testing.assert_allclose(found, np.full((2, 3), expected), rtol=1e-5)
