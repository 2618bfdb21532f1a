"""A table of images and targets to fastai DataLoaders: sampling, augmentation on the device."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cxrtool.core.config import ROOM, worker_count
from cxrtool.core.processes import ALONE, Processes
from cxrtool.images.cache import ImageCache
from cxrtool.images.reading import load_pixels, squish
from cxrtool.training.augmentation import Affine, DrawTargets, Normalise, TargetRanges
from cxrtool.training.fastai_parts import (
    DataLoaders,
    IntToFloatTensor,
    TensorImageBW,
    TfmdDL,
)

GRACE_SECONDS = 8.0
"""How long a worker process goes on after it was asked to end."""


class FromFiles:
    """Reads images by decoding their files."""

    def __init__(self, folder: Path, paths: Sequence[str], image_size: int) -> None:
        self.folder, self.paths, self.image_size = folder, paths, image_size

    def __call__(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """Grey bytes (n, image_size, image_size)."""
        files = [self.folder / self.paths[row] for row in rows]
        return np.stack([load_pixels(file, self.image_size) for file in files])


class FromCache:
    """Reads images from the cache, made smaller as prediction does it."""

    def __init__(self, cache: ImageCache, paths: Sequence[str], image_size: int) -> None:
        self.cache, self.image_size = cache, image_size
        self.paths, self.places = paths, cache.rows_of(paths)

    def __call__(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """Grey bytes (n, image_size, image_size)."""
        pixels = self.cache.read(self.places[np.asarray(rows)])
        if self.image_size == self.cache.image_size:
            return pixels
        return np.stack([squish(Image.fromarray(image), self.image_size) for image in pixels])


class Images:
    """Images and targets, read a batch at a time.

    fastai's own way, a pipeline of transforms an item, takes longer than the reading: it halves
    what a cache brings (tests/benchmarks/bench_cache.py).
    """

    n_inp = 1

    def __init__(
        self, read: FromFiles | FromCache, targets: NDArray[np.float32], *, training: bool
    ) -> None:
        self._read, self._targets = read, torch.from_numpy(targets)
        if targets.ndim == 3:
            self._targets = TargetRanges(self._targets)
        self.split_idx = 0 if training else 1
        """Tells fastai's transforms whether to augment."""

    @property
    def paths(self) -> Sequence[str]:
        """Where the images are, from the data folder."""
        return self._read.paths

    @property
    def targets(self) -> Tensor:
        """All targets (n, labels), or their ranges (n, labels, 2)."""
        return self._targets.as_subclass(Tensor)

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, row: int) -> tuple[TensorImageBW, Tensor]:
        images, targets = self.read([row])
        return images[0], targets[0]

    def read(self, rows: Sequence[int]) -> tuple[TensorImageBW, Tensor]:
        """Bytes (n, 1, height, width) and targets (n, labels), or their ranges (n, labels, 2)."""
        pixels = torch.from_numpy(self._read(rows))
        return TensorImageBW(pixels[:, None]), self._targets[list(rows)]


class SampledLoader(TfmdDL):  # type: ignore[misc]
    """Draws an epoch's batches at once, and yields those in a window of them.

    With weights an epoch is as many samples as the data set has, drawn with replacement; without,
    each once in a random order. A last batch that leaves a process fewer than two images is left
    out, since batch normalisation needs two. An epoch that was begun can be walked in several
    windows, so that a training is validated, or resumed, in the middle of one; otherwise each
    walk is an epoch of its own.
    Several processes draw the same epoch and take every world-th sample of each batch.
    """

    def __init__(
        self,
        dataset: Any = None,
        bs: int = 64,
        weights: NDArray[np.float64] | None = None,
        seed: int = 0,
        processes: Processes = ALONE,
        **options: Any,
    ) -> None:
        super().__init__(dataset, bs=bs // processes.world, **options)
        self.drop_last = False
        self.weights = None if weights is None else weights / weights.sum()
        self.generator = np.random.default_rng(seed)
        self.processes, self.batch_size = processes, bs
        self.epoch_state = self.generator.bit_generator.state
        """The generator's before the epoch's draw, as plain JSON."""
        self.epoch_batches: int
        """How many batches of an epoch all processes have."""
        # The start of worker processes must not draw from the generator that dropout uses.
        self.fake_l.generator = torch.Generator()
        if self.shuffle:
            full, rest = divmod(len(dataset), bs)
            last = rest // processes.world if rest // processes.world >= 2 else 0
            self.epoch_batches = full + (last > 0)
            self.n = full * self.bs + last
            self._walked_in_windows = False
        else:
            self.rows = list(range(len(dataset)))[processes.rank :: processes.world]
            self.n = len(self.rows)
            self.epoch_batches = -(-(len(dataset) // processes.world) // self.bs)

    def begin_epoch(self, state: dict[str, Any] | None = None) -> None:
        """Draw an epoch's batches; with `state`, those of the epoch that began from it."""
        self._walked_in_windows = True
        self._draw(state)

    def _draw(self, state: dict[str, Any] | None = None) -> None:
        if state is not None:
            self.generator.bit_generator.state = state
        self.epoch_state = self.generator.bit_generator.state
        size = len(self.dataset)
        if self.weights is None:
            drawn = self.generator.permutation(size)
        else:
            drawn = self.generator.choice(size, size=(size,), p=self.weights)
        rank, world = self.processes.rank, self.processes.world
        self.batches = []
        for first in range(0, self.epoch_batches * self.batch_size, self.batch_size):
            batch = drawn[first : first + self.batch_size]
            even = len(batch) // world * world
            self.batches.append(batch[rank:even:world].tolist())
        self.set_window(0, self.epoch_batches)

    def set_window(self, first: int, last: int) -> None:
        """Yield only the epoch's batches from `first` up to but not including `last`."""
        self.rows = list(chain.from_iterable(self.batches[first:last]))
        self.n = len(self.rows)

    def get_idxs(self) -> list[int]:
        """The samples that the next walk yields, in order."""
        if self.shuffle and not self._walked_in_windows:
            self._draw()
        return self.rows

    def create_batches(self, samples: Iterable[int]) -> Iterator[Any]:
        """Read the samples that this process was given, a batch at a time."""
        rest = iter(samples)
        while rows := list(islice(rest, self.bs)):
            yield self.dataset.read(rows)

    def wif(self) -> None:
        """Start a worker, which outlives a signal to the whole group of processes for a while.

        The training process is to end in order, and may need this one's batch for that.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _leave_soon)


def _leave_soon(_number: int, _frame: object) -> None:
    leaving = threading.Timer(GRACE_SECONDS, os._exit, args=(0,))
    leaving.daemon = True
    leaving.start()


def make_dataloaders(
    frame: pd.DataFrame,
    labels: Sequence[str],
    *,
    folder: Path,
    cache: ImageCache | None,
    image_size: int,
    batch_size: int,
    mean: float,
    std: float,
    weights: NDArray[np.float64] | None,
    workers: int | None,
    device: torch.device,
    seed: int,
    ranges: NDArray[np.float32] | None = None,
    processes: Processes = ALONE,
) -> DataLoaders:
    """Training and validation loaders of one table.

    Args:
        frame: `path` (relative to `folder`), `is_valid`, and the labels' targets in 0..1 as
            float32, NaN where masked.
        labels: the names of the target columns, in the order of the network's logits.
        folder: the data folder.
        cache: where the images are read from instead of `folder`; its images are at least
            `image_size`.
        image_size: side of the network's square input, in pixels.
        batch_size: images in a batch, over all processes.
        mean: pixel mean of the training images, 0..1.
        std: pixel standard deviation of the training images, 0..1.
        weights: (training rows,) sampling weights, or None to draw each image once.
        workers: processes that decode; None: one a core, at most 8.
        device: where batches go.
        seed: of the sampler and the augmentation.
        ranges: (training rows, labels, 2) what the training targets are drawn from, instead of
            the frame's.
        processes: those that train together; each loads its share of a batch.

    Returns:
        Loaders of float batches (n, 3, size, size) and targets (n, labels).
    """
    augmentation = torch.Generator(device)
    augmentation.manual_seed(seed + processes.rank)
    made = []
    for training in (True, False):
        rows = frame[frame["is_valid"] != training]
        targets = rows[list(labels)].to_numpy(dtype=np.float32, copy=True)
        images = Images(
            _reader(rows["path"].tolist(), folder, cache, image_size, training=training),
            ranges if training and ranges is not None else targets,
            training=training,
        )
        loader = SampledLoader(
            images,
            bs=batch_size,
            weights=weights if training else None,
            seed=seed,
            processes=processes,
            shuffle=training,
            num_workers=worker_count(workers),
            pin_memory=device.type == "cuda",
            after_batch=[
                IntToFloatTensor(),
                Affine(image_size, generator=augmentation),
                DrawTargets(augmentation),
                Normalise(mean, std),
            ],
            device=device,
        )
        loader.augmentation = augmentation
        made.append(loader)
    return DataLoaders(*made, device=device)


def _reader(
    paths: Sequence[str],
    folder: Path,
    cache: ImageCache | None,
    image_size: int,
    *,
    training: bool,
) -> FromFiles | FromCache:
    """Reads images of the network's size; for training, from a cache that has it, with room for
    augmentation to sample from."""
    if cache is None:
        return FromFiles(folder, paths, image_size)
    room = min(cache.image_size, round(image_size * ROOM))
    read_at = room if training and cache.image_size > image_size else image_size
    return FromCache(cache, paths, read_at)
