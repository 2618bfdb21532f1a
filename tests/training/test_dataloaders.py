import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import decode_images
from cxrtool.data.problems import Problems
from cxrtool.images.cache import ImageCache
from cxrtool.images.cache_builder import NewCache
from cxrtool.images.resizing import load_pixels
from cxrtool.training.augmentation import resample
from cxrtool.training.block import xray_block
from cxrtool.training.dataloaders import SampledLoader
from cxrtool.training.sampling import sample_weights

LABELS = ("A", "B")


def test_a_rare_class_is_drawn_as_often_as_its_weights_say():
    rng = np.random.default_rng(0)
    targets = np.zeros((2000, 2), np.float32)
    targets[:, 0] = rng.random(2000) < 0.5
    targets[:20, 1] = 1
    weights = sample_weights(targets, np.ones((2000, 2), bool))
    loader = SampledLoader(list(range(2000)), bs=32, weights=weights, seed=1, shuffle=True)
    drawn = np.concatenate([loader.get_idxs() for _ in range(20)])
    expected = weights[:20].sum() / weights.sum()
    found = (drawn < 20).mean()
    assert expected > 15 * 20 / 2000  # far more often than uniformly
    spread = math.sqrt(expected * (1 - expected) / len(drawn))
    assert abs(found - expected) < 4 * spread


def test_an_epoch_draws_as_many_as_there_are_with_replacement():
    weights = np.arange(1.0, 101.0)
    loader = SampledLoader(list(range(100)), bs=32, weights=weights, seed=1, shuffle=True)
    drawn = loader.get_idxs()
    assert len(drawn) == 100
    assert len(set(drawn)) < 100


def test_uniform_sampling_draws_each_once():
    loader = SampledLoader(list(range(100)), bs=32, seed=1, shuffle=True)
    first, second = loader.get_idxs(), loader.get_idxs()
    assert sorted(first) == list(range(100))
    assert first != second


def test_the_same_seed_draws_the_same():
    def draw(seed):
        return SampledLoader(list(range(50)), bs=8, weights=np.ones(50), seed=seed, shuffle=True)

    assert draw(1).get_idxs() == draw(1).get_idxs()
    assert draw(1).get_idxs() != draw(2).get_idxs()


@pytest.mark.parametrize(("n", "batches"), [(32, [32]), (33, [32]), (34, [32, 2]), (5, [5])])
def test_a_last_batch_of_one_is_left_out_and_no_other(n, batches):
    loader = SampledLoader(list(range(n)), bs=32, seed=1, shuffle=True)
    assert [len(batch) for batch in loader] == batches
    assert len(loader) == len(batches)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (40, 50)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def loaders(folder, weights=None, workers=0, cache=None, image_size=32):
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(12)]})
    frame["is_valid"] = [i >= 8 for i in range(12)]
    frame["A"] = np.array([1, 0] * 6, np.float32)
    frame["B"] = np.array([np.nan, 1, 0] * 4, np.float32)
    known = {"mean": 0.4, "std": 0.3, "seed": 3, "blank": "ignore"}
    block = xray_block(frame, LABELS, folder=folder, cache=cache, image_size=image_size, **known)
    sampling = "uniform" if weights is None else weights
    return block.dataloaders(
        bs=4, sampling=sampling, num_workers=workers, device=torch.device("cpu")
    )


def test_validation_batches_are_the_images_as_prediction_sees_them(folder):
    (images, targets), *_ = list(loaders(folder).valid)
    expected = np.stack([load_pixels(folder / f"{i}.png", 32) for i in range(8, 12)]) / 255
    assert images.shape == (4, 3, 32, 32)
    np.testing.assert_allclose(images[:, 0].numpy(), (expected - 0.4) / 0.3, atol=1e-5)
    assert targets[:, 0].tolist() == [1, 0, 1, 0]


def test_masked_targets_arrive_as_nan(folder):
    targets = torch.cat([y for _, y in loaders(folder).valid])
    assert torch.isnan(targets[:, 1]).tolist() == [False, True, False, False]


def test_training_batches_are_augmented_and_the_same_with_and_without_workers(folder):
    def batches(workers):
        torch.manual_seed(0)
        return torch.cat([x for x, _ in loaders(folder, np.ones(8), workers).train])

    alone = batches(0)
    assert torch.equal(alone, batches(2))
    plain = {load_pixels(folder / f"{i}.png", 32).tobytes() for i in range(8)}
    seen = (alone[:, 0] * 0.3 + 0.4) * 255
    assert all(x.round().to(torch.uint8).numpy().tobytes() not in plain for x in seen)


def cached(folder, tmp_path, side):
    """A cache of the folder's images, as `prepare` makes it."""
    paths = [f"{i}.png" for i in range(12)]
    cache = NewCache(tmp_path / "cache", folder, paths, side)
    measured = decode_images(folder, paths, cache, 0, Problems(), SILENT)
    cache.seal(measured, "none")
    return ImageCache(tmp_path / "cache")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_of_the_networks_size_changes_no_batch(folder, tmp_path, workers):
    def batches(cache):
        torch.manual_seed(0)
        both = loaders(folder, np.ones(8), workers, cache)
        return [torch.cat([x for x, _ in part]) for part in (both.train, both.valid)]

    plain, from_cache = batches(None), batches(cached(folder, tmp_path, 32))
    for left, right in zip(plain, from_cache, strict=True):
        assert torch.equal(left, right)


def test_validation_from_a_larger_cache_is_what_prediction_sees(folder, tmp_path):
    both = loaders(folder, cache=cached(folder, tmp_path, 48))
    (images, _), *_ = list(both.valid)
    expected = np.stack([load_pixels(folder / f"{i}.png", 48, 32) for i in range(8, 12)]) / 255
    np.testing.assert_allclose(images[:, 0].numpy(), (expected - 0.4) / 0.3, atol=1e-5)


@pytest.mark.parametrize(("side", "source"), [(32, 32), (36, 36), (37, 37), (48, 37)])
def test_augmentation_samples_from_what_room_the_cache_has(
    folder, tmp_path, monkeypatch, side, source
):
    seen = []
    monkeypatch.setattr(
        "cxrtool.training.augmentation.resample",
        lambda images, *rest: seen.append(tuple(images.shape)) or resample(images, *rest),
    )
    images, _ = loaders(folder, np.ones(8), cache=cached(folder, tmp_path, side)).train.one_batch()
    assert seen == [(4, 1, source, source)]
    assert images.shape == (4, 3, 32, 32)


def test_a_broken_image_ends_training_with_its_name(folder):
    (folder / "9.png").write_bytes(b"broken")
    with pytest.raises(Exception, match=r"9\.png"):
        list(loaders(folder).valid)
