"""fastai DataLoaders that draw an epoch at once and read a batch at once.

fastai's own way, a pipeline of transforms an item, takes longer than the reading: it halves what
a cache brings (tests/benchmarks/bench_cache.py). The item pipeline of `block` is still there, for
`dls.train_ds[0]` and whatever else asks for one item.
"""

import os
import signal
import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrtool.core.processes import ALONE, Processes
from cxrtool.training.augmentation import TargetRanges
from cxrtool.training.fastai_parts import Datasets, TensorMultiCategory, TfmdDL, TfmdLists
from cxrtool.training.pictures import XRayImage
from cxrtool.training.reading import ReadTargets, ReadXRay

GRACE_SECONDS = 8.0
"""How long a worker process goes on after it was asked to end."""


class SampledLoader(TfmdDL):  # type: ignore[misc]
    """Draws an epoch's batches at once, and yields those in a window of them.

    With weights an epoch is as many samples as the data set has, drawn with replacement; without,
    each once in a random order. A last batch that leaves a process fewer than two images is left
    out, since batch normalisation needs two; no other is, whatever `drop_last` says. An epoch that
    was begun can be walked in several windows, so that a training is validated, or resumed, in the
    middle of one; otherwise each walk is an epoch of its own.
    Several processes draw the same epoch and take every world-th sample of each batch.
    """

    def __init__(
        self,
        dataset: Any = None,
        bs: int = 64,
        weights: NDArray[np.float64] | None = None,
        seed: int | None = None,
        processes: Processes = ALONE,
        **options: Any,
    ) -> None:
        super().__init__(dataset, bs=bs // processes.world, **options)
        self.drop_last = False
        self.weights = None if weights is None else weights / weights.sum()
        # Without a seed of its own it follows fastai's `set_seed`, as every DataLoader does.
        self.generator = np.random.default_rng(self.rng.getrandbits(32) if seed is None else seed)
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


class XRayLoader(SampledLoader):
    """Batches of a table of images: an item is its row's number, and a batch is read at once.

    Paths and targets of the whole table are looked up when the loader is made.
    """

    targets: Tensor | None = None
    """All targets (n, labels), NaN where masked, or their ranges (n, labels, 2); None: without."""
    augmentation: torch.Generator | None = None
    """What augmentation and drawn targets are drawn by; None: torch's global generator."""

    def __init__(self, dataset: Datasets = None, **options: Any) -> None:
        training = dataset.split_idx == 0
        images, *labels = dataset.tls
        items = dataset.items
        if len(items) and not isinstance(items, pd.DataFrame) and isinstance(items[0], pd.Series):
            items = pd.DataFrame(list(items))  # `predict` gives one row
        self.paths = [str(one) for one in (items["path"] if hasattr(items, "columns") else items)]
        self.read = _one_of(ReadXRay, images).reader(self.paths, training=training)
        if labels and len(items):
            targets = torch.from_numpy(_one_of(ReadTargets, labels[0]).of_table(items, training))
            self.targets = TargetRanges(targets) if targets.dim() == 3 else targets
        # fastai would find out by reading an image and sending it through all transforms.
        self._n_inp, self._types = 1, {tuple: [XRayImage, TensorMultiCategory]}
        super().__init__(dataset, **options)

    def do_item(self, row: int | None) -> int:
        """An item is its row's number."""
        return row or 0

    def create_batch(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Bytes (n, 1, height, width) and, if there are any, targets."""
        images = XRayImage(torch.from_numpy(self.read(rows))[:, None])
        return (images,) if self.targets is None else (images, self.targets[list(rows)])

    def retain(self, batch: tuple[Tensor, ...], _rows: Sequence[int]) -> tuple[Tensor, ...]:
        """A batch has its types already."""
        return batch


Kind = TypeVar("Kind")


def _one_of(kind: type[Kind], transformed: TfmdLists) -> Kind:
    return next(transform for transform in transformed.tfms.fs if isinstance(transform, kind))
