import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms import _functional_tensor
from torchvision.transforms.functional import _get_inverse_affine_matrix

from cxrtool.core.console import SILENT
from cxrtool.data.image_checks import decode_images
from cxrtool.data.problems import Problems
from cxrtool.images.cache import ImageCache
from cxrtool.images.cache_builder import NewCache
from cxrtool.images.reading import load_pixels
from cxrtool.training.augmentation import Affine, affine_matrices, resample
from cxrtool.training.dataloaders import SampledLoader, make_dataloaders
from cxrtool.training.sampling import sample_weights

LABELS = ("A", "B")


class Rows(list):
    """A data set of numbers."""

    def read(self, rows):
        return torch.tensor(rows)


def everything(n, labels=2):
    return np.ones((n, labels), bool)


def test_a_class_weighs_one_over_its_positives_and_a_sample_the_sum():
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]], np.float32)
    weights = sample_weights(targets, everything(5))
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3 + 1 / 2, 1 / 2, 1 / 3])


def test_a_class_without_positives_changes_nothing():
    targets = np.array([[1, 0], [0, 0]], np.float32)
    assert sample_weights(targets, everything(2)) == pytest.approx([1, 1])


def test_without_any_positive_all_weigh_the_same():
    assert sample_weights(np.zeros((3, 2), np.float32), everything(3)).tolist() == [1, 1, 1]


def test_a_masked_positive_does_not_count():
    targets = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    mask = everything(3)
    mask[1, 0] = False
    assert sample_weights(targets, mask) == pytest.approx([1, 1, 1])


def test_a_rare_class_is_drawn_as_often_as_its_weights_say():
    rng = np.random.default_rng(0)
    targets = np.zeros((2000, 2), np.float32)
    targets[:, 0] = rng.random(2000) < 0.5
    targets[:20, 1] = 1
    weights = sample_weights(targets, everything(2000))
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
    loader = SampledLoader(Rows(range(n)), bs=32, seed=1, shuffle=True)
    assert [len(batch) for batch in loader] == batches
    assert len(loader) == len(batches)


def matrices(n, **given):
    zero = torch.zeros(n)
    values = {
        "scale": torch.ones(n),
        "angle": zero,
        "shear": zero,
        "along_x": torch.ones(n, dtype=torch.bool),
        "shift_x": zero,
        "shift_y": zero,
        "side_x": 64,
        "side_y": 48,
        **given,
    }
    return affine_matrices(**values)


def test_one_resampling_equals_torchvisions_affine():
    generator = torch.Generator().manual_seed(0)
    n, height, width = 16, 48, 64

    def within(limit):
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    images = torch.rand(n, 1, height, width, generator=generator)
    scale, degrees, shear = 1 + within(0.05), within(20), within(5)
    x, y = within(3.2), within(2.4)
    composed = matrices(
        n,
        scale=scale,
        angle=torch.deg2rad(degrees),
        shear=shear,
        shift_x=x,
        shift_y=y,
        side_x=width,
        side_y=height,
    )
    ours = resample(images, composed)
    for i in range(n):
        # torchvision's shear is an angle, and of the opposite sign.
        angle = math.degrees(math.atan(float(shear[i]) / height))
        inverse = _get_inverse_affine_matrix(
            [0.0, 0.0],
            float(degrees[i]),
            [float(x[i]), float(y[i])],
            float(scale[i]),
            [-angle, 0.0],
        )
        theirs = _functional_tensor.affine(images[i : i + 1], inverse, interpolation="bilinear")
        assert torch.allclose(ours[i : i + 1], theirs, atol=2e-4)


@pytest.mark.parametrize("along_x", [True, False])
def test_shear_moves_one_edge_against_the_other_by_its_pixels(along_x):
    composed = matrices(1, shear=torch.tensor([5.0]), along_x=torch.tensor([along_x]))[0]
    first = torch.tensor([0.0, -24, 1] if along_x else [-32.0, 0, 1])
    last = torch.tensor([0.0, 24, 1] if along_x else [32.0, 0, 1])
    moved = composed @ last - composed @ first - (last - first)
    assert moved.tolist() == pytest.approx([5, 0, 0] if along_x else [0, 5, 0])


def test_augmentation_stays_within_the_reports_ranges_and_reaches_for_them():
    torch.manual_seed(0)
    drawn = Affine(224).draw(4000, (224, 224), torch.device("cpu"))
    linear, shift = drawn[:, :2, :2], drawn[:, :2, 2]
    # Shear leaves the area, so that the determinant is the squared scale.
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    scale = determinant.sqrt()
    assert (determinant > 0).all()  # a flip would make it negative
    assert 0.95 <= float(scale.min()) < 0.953
    assert 1.047 < float(scale.max()) <= 1.05
    assert 11.0 < float(shift.abs().max()) <= 224 * 0.05
    most = math.degrees(math.atan(5 / 224))
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert 19 < float(angle.abs().max()) <= 20 + most
    # The angle between the images of the two axes is off 90 degrees by the shear alone.
    first, second = linear[:, :, 0], linear[:, :, 1]
    cosine = (first * second).sum(1) / first.norm(dim=1) / second.norm(dim=1)
    sheared = torch.rad2deg(torch.acos(cosine)) - 90
    assert 0.9 * most < float(sheared.abs().max()) <= most + 1e-3
    assert {bool(x) for x in (sheared > 0)} == {True, False}


def test_augmentation_never_flips_nor_changes_brightness():
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 96, 96)
    image[:, :, 40:56, 20:40] = 0.6  # left of the centre
    moved = resample(image, Affine(96).draw(64, (96, 96), torch.device("cpu")))
    columns = torch.arange(96.0)
    centre = (moved.sum((1, 2)) * columns).sum(1) / moved.sum((1, 2, 3))
    assert (centre < 48).all()
    assert torch.allclose(moved.amax((1, 2, 3)), torch.tensor(0.6), atol=1e-3)


def test_what_comes_from_outside_is_black():
    composed = matrices(1, shift_x=torch.tensor([10.0]), side_x=40, side_y=40)
    moved = resample(torch.ones(1, 1, 40, 40), composed)
    assert (moved[..., :9] == 0).all()
    assert (moved[..., 11:] > 0.99).all()


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
    return make_dataloaders(
        frame,
        LABELS,
        folder=folder,
        cache=cache,
        image_size=image_size,
        batch_size=4,
        mean=0.4,
        std=0.3,
        weights=weights,
        workers=workers,
        device=torch.device("cpu"),
        seed=3,
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


def test_sampling_a_larger_image_shows_the_same_picture():
    ramp = torch.linspace(0, 1, 64)[None, None, None].expand(1, 1, 64, 64)
    composed = matrices(1, side_x=32, side_y=32)
    small = resample(ramp, composed, (32, 32))
    expected = torch.nn.functional.avg_pool2d(ramp, 2)
    assert torch.allclose(small, expected, atol=1e-5)


def test_a_broken_image_ends_training_with_its_name(folder):
    (folder / "9.png").write_bytes(b"broken")
    with pytest.raises(Exception, match=r"9\.png"):
        list(loaders(folder).valid)
