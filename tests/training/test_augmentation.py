"""The report's augmentation, compared with torchvision's and with its own words."""

import math

import pytest
import torch
from torchvision.transforms import _functional_tensor
from torchvision.transforms.functional import _get_inverse_affine_matrix

from cxrtool.training.augmentation import Affine, affine_matrices, resample


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


def test_sampling_a_larger_image_shows_the_same_picture():
    ramp = torch.linspace(0, 1, 64)[None, None, None].expand(1, 1, 64, 64)
    composed = matrices(1, side_x=32, side_y=32)
    small = resample(ramp, composed, (32, 32))
    expected = torch.nn.functional.avg_pool2d(ramp, 2)
    assert torch.allclose(small, expected, atol=1e-5)
