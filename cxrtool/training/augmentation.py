"""What batches go through on their device: augmentation, drawn targets, normalisation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cxrtool.networks.architectures import normalise
from cxrtool.training.fastai_parts import RandTransform, TensorBase, TensorImageBW, Transform
from cxrtool.training.pictures import XRayImage

SCALE, DEGREES, SHEAR_PIXELS, TRANSLATION = 0.05, 20.0, 5.0, 0.05
"""The report's augmentation: scale within 5 %, rotation within 20 degrees, shear within 5 pixels
over the image's side, translation within 5 % of it."""


class TargetRanges(TensorBase):  # type: ignore[misc]
    """The lower and upper ends (n, labels, 2) of what a batch's targets are drawn from."""


class Affine(RandTransform):  # type: ignore[misc]
    """The report's augmentation as one resampling a batch, on the batch's device.

    Scale, rotation, shear and translation are drawn for each image, composed into one matrix and
    applied about the image's centre; what comes from outside is black. Training batches only.
    Larger images are sampled where they are, so that nothing is blurred twice.
    No flip (it would mirror the heart), no brightness, contrast, colour or crop.
    """

    order, split_idx = 30, 0  # after bytes have become floats, before normalisation

    def __init__(
        self,
        size: int,
        scale: float = SCALE,
        degrees: float = DEGREES,
        shear_pixels: float = SHEAR_PIXELS,
        translation: float = TRANSLATION,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=1.0)
        self.generator = generator
        self.size, self.scale, self.degrees = size, scale, degrees
        self.shear_pixels, self.translation = shear_pixels, translation

    def encodes(self, images: TensorImageBW) -> TensorImageBW:
        """Augment a float batch (n, 1, height, width) to (n, 1, size, size)."""
        plain = images.as_subclass(Tensor)
        drawn = self.draw(len(plain), (self.size, self.size), plain.device)
        return TensorImageBW(resample(plain, drawn, (self.size, self.size)))

    def draw(self, n: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Draw (n, 3, 3) matrices from input to output pixels, about the centre."""
        height, width = shape

        def within(limit: float) -> Tensor:
            return torch.empty(n, device=device).uniform_(-limit, limit, generator=self.generator)

        return affine_matrices(
            scale=1 + within(self.scale),
            angle=torch.deg2rad(within(self.degrees)),
            shear=within(self.shear_pixels),
            along_x=torch.rand(n, device=device, generator=self.generator) < 0.5,
            shift_x=within(self.translation) * width,
            shift_y=within(self.translation) * height,
            side_x=width,
            side_y=height,
        )


def affine_matrices(
    *,
    scale: Tensor,
    angle: Tensor,
    shear: Tensor,
    along_x: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    side_x: int,
    side_y: int,
) -> Tensor:
    """Compose (n, 3, 3) matrices: shear first, then rotation and scale, then translation.

    Args:
        scale: factors (n,).
        angle: radians (n,), clockwise on the screen since y points down.
        shear: how many pixels the one edge is moved against the opposite one (n,).
        along_x: (n,) whether the rows move (along x) or the columns (along y).
        shift_x: pixels (n,) to the right.
        shift_y: pixels (n,) down.
        side_x: the width in pixels.
        side_y: the height in pixels.
    """
    rows = torch.where(along_x, shear / side_y, torch.zeros_like(shear))
    columns = torch.where(along_x, torch.zeros_like(shear), shear / side_x)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    first = torch.stack([cosine - sine * columns, cosine * rows - sine, shift_x], dim=1)
    second = torch.stack([sine + cosine * columns, sine * rows + cosine, shift_y], dim=1)
    return torch.stack([first, second, torch.stack([zero, zero, one], dim=1)], dim=1)


def resample(images: Tensor, matrices: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Move images (n, channels, height, width): bilinear, black outside.

    Args:
        images: floats.
        matrices: (n, 3, 3), in pixels of the result, as if the images had its shape already.
        shape: height and width of the result; None: the images' own.
    """
    height, width = images.shape[-2:] if shape is None else shape
    # grid_sample wants the way back, in units where each side runs from -1 to 1.
    back = torch.linalg.inv(matrices)
    units = torch.tensor([width / 2, height / 2, 1.0], device=images.device)
    theta = back / units[:, None] * units[None, :]
    result = [*images.shape[:2], height, width]
    grid = F.affine_grid(theta[:, :2].to(images.dtype), result, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


class Normalise(Transform):  # type: ignore[misc]
    """Grey 0..1 to the network's three channels, as `score_batch` does it."""

    order = 99

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def encodes(self, images: TensorImageBW) -> Tensor:
        """Normalise a float batch (n, 1, size, size) to (n, 3, size, size)."""
        scaled = normalise(images.as_subclass(Tensor), self.mean, self.std)
        return scaled.contiguous(memory_format=torch.channels_last)

    def decodes(self, images: XRayImage) -> XRayImage:
        """The grey images (n, 1, size, size) in 0..1 that were normalised."""
        grey = images.as_subclass(Tensor)[:, :1] * self.std + self.mean
        return XRayImage(grey.clamp(0, 1))


class DrawTargets(Transform):  # type: ignore[misc]
    """Draws each target anew from its range, uniformly: smoothed uncertain labels."""

    order, split_idx = 50, 0

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator

    def encodes(self, ranges: TargetRanges) -> Tensor:
        """Targets (n, labels) of ranges (n, labels, 2); NaN where a range is."""
        low, high = ranges.as_subclass(Tensor).unbind(-1)
        drawn = torch.rand(low.shape, device=low.device, generator=self.generator)
        return torch.lerp(low, high, drawn)
