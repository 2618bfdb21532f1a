"""A table of images and targets to fastai DataLoaders: sampling, augmentation on the device."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxrtool.config import worker_count
from cxrtool.images import load_pixels
from cxrtool.networks import normalise

with warnings.catch_warnings():
    # fastai still scripts a function on import, which torch calls deprecated: not the user's.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit.script.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from fastai.data.block import DataBlock, MultiCategoryBlock, TransformBlock
    from fastai.data.core import DataLoaders, TfmdDL
    from fastai.data.transforms import ColReader, ColSplitter, IntToFloatTensor
    from fastai.torch_core import TensorImageBW
    from fastai.vision.augment import RandTransform
    from fasttransform import Transform

SCALE, DEGREES, SHEAR_PIXELS, TRANSLATION = 0.05, 20.0, 5.0, 0.05
"""The report's augmentation: scale within 5 %, rotation within 20 degrees, shear within 5 pixels
over the image's side, translation within 5 % of it."""


def sample_weights(targets: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How likely each training sample is to be drawn, relative to the others.

    A class weighs 1 / (its number of positives), a sample the sum over its positive classes, and
    a sample without a positive as much as the most frequent class: never 0.

    Args:
        targets: (n, labels) in 0..1; a target above one half counts as positive.
        mask: (n, labels); a masked target counts as no positive.

    Returns:
        (n,) weights above 0; all equal if there is no positive at all.
    """
    positive = (targets > 0.5) & mask
    counts = positive.sum(axis=0)
    class_weights = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    if not class_weights.any():
        return np.ones(len(targets))
    weights: NDArray[np.float64] = positive @ class_weights
    weights[~positive.any(axis=1)] = class_weights[class_weights > 0].min()
    return weights


class LoadGrey(Transform):  # type: ignore[misc]
    """A path to one grey byte a pixel: (1, size, size)."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__()
        self.folder, self.size = folder, size

    def encodes(self, path: str) -> TensorImageBW:
        """Decode and squish one image."""
        pixels = torch.from_numpy(load_pixels(self.folder / path, self.size).copy())
        return TensorImageBW(pixels[None])


class Affine(RandTransform):  # type: ignore[misc]
    """The report's augmentation as one resampling a batch, on the batch's device.

    Scale, rotation, shear and translation are drawn for each image, composed into one matrix and
    applied about the image's centre; what comes from outside is black. Training batches only.
    No flip (it would mirror the heart), no brightness, contrast, colour or crop.
    """

    order, split_idx = 30, 0  # after bytes have become floats, before normalisation

    def __init__(
        self,
        scale: float = SCALE,
        degrees: float = DEGREES,
        shear_pixels: float = SHEAR_PIXELS,
        translation: float = TRANSLATION,
    ) -> None:
        super().__init__(p=1.0)
        self.scale, self.degrees = scale, degrees
        self.shear_pixels, self.translation = shear_pixels, translation

    def encodes(self, images: TensorImageBW) -> TensorImageBW:
        """Augment a float batch (n, 1, height, width)."""
        plain = images.as_subclass(Tensor)
        moved = resample(plain, self.draw(len(plain), plain.shape[-2:], plain.device))
        return TensorImageBW(moved)

    def draw(self, n: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Draw (n, 3, 3) matrices from input to output pixels, about the centre."""
        height, width = shape

        def within(limit: float) -> Tensor:
            return torch.empty(n, device=device).uniform_(-limit, limit)

        return affine_matrices(
            scale=1 + within(self.scale),
            angle=torch.deg2rad(within(self.degrees)),
            shear=within(self.shear_pixels),
            along_x=torch.rand(n, device=device) < 0.5,
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


def resample(images: Tensor, matrices: Tensor) -> Tensor:
    """Move (n, channels, height, width) by (n, 3, 3) pixel matrices: bilinear, black outside.

    grid_sample wants the way back, in units where each side runs from -1 to 1.
    """
    height, width = images.shape[-2:]
    back = torch.linalg.inv(matrices)
    units = torch.tensor([width / 2, height / 2, 1.0], device=images.device)
    theta = back / units[:, None] * units[None, :]
    grid = F.affine_grid(theta[:, :2].to(images.dtype), list(images.shape), align_corners=False)
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


class SampledLoader(TfmdDL):  # type: ignore[misc]
    """Draws an epoch's samples from a generator of its own, whose state is plain JSON.

    With weights: as many samples as the data set has, with replacement. Without: each once, in a
    random order. A last batch of one image is left out, since batch normalisation needs two.
    """

    def __init__(
        self,
        dataset: Any = None,
        bs: int = 64,
        weights: NDArray[np.float64] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(dataset, bs=bs, **options)
        self.drop_last = False
        self.weights = None if weights is None else weights / weights.sum()
        self.generator = np.random.default_rng(seed)
        if self.shuffle and self.n > 1 and self.n % bs == 1:
            self.n -= 1

    def get_idxs(self) -> list[int]:
        """The epoch's samples, in order."""
        if not self.shuffle:
            return list(range(self.n))
        if self.weights is None:
            drawn = self.generator.permutation(len(self.dataset))[: self.n]
        else:
            drawn = self.generator.choice(len(self.weights), size=(self.n,), p=self.weights)
        return [int(index) for index in drawn]


def make_dataloaders(
    frame: pd.DataFrame,
    labels: Sequence[str],
    *,
    folder: Path,
    image_size: int,
    batch_size: int,
    mean: float,
    std: float,
    weights: NDArray[np.float64] | None,
    workers: int | None,
    device: torch.device,
    seed: int,
) -> DataLoaders:
    """Training and validation loaders of one table.

    Args:
        frame: `path` (relative to `folder`), `is_valid`, and the labels' targets in 0..1 as
            float32, NaN where masked.
        labels: the names of the target columns, in the order of the network's logits.
        folder: the data folder.
        image_size: side of the network's square input, in pixels.
        batch_size: images in a batch.
        mean: pixel mean of the training images, 0..1.
        std: pixel standard deviation of the training images, 0..1.
        weights: (training rows,) sampling weights, or None to draw each image once.
        workers: processes that decode; None: one a core, at most 8.
        device: where batches go.
        seed: of the sampler.

    Returns:
        Loaders of float batches (n, 3, size, size) and targets (n, labels).
    """
    block = DataBlock(
        blocks=(
            TransformBlock(
                type_tfms=[LoadGrey(folder, image_size)],
                batch_tfms=[IntToFloatTensor(), Affine(), Normalise(mean, std)],
            ),
            MultiCategoryBlock(encoded=True, vocab=list(labels)),
        ),
        get_x=ColReader("path"),
        get_y=ColReader(list(labels)),
        splitter=ColSplitter("is_valid"),
    )
    datasets = block.datasets(frame)
    sampling = {"weights": weights, "seed": seed}
    return datasets.dataloaders(
        bs=batch_size,
        val_bs=batch_size,
        dl_type=SampledLoader,
        dl_kwargs=[sampling, {}],
        after_item=block.item_tfms,
        after_batch=block.batch_tfms,
        num_workers=worker_count(workers),
        device=device,
    )
