"""From a row of a table to its image and its targets: one at a time, or a whole batch at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.config import ROOM
from cxrtool.data.labels import MAJORITY
from cxrtool.images.cache import ImageCache
from cxrtool.images.resizing import load_pixels, squish
from cxrtool.training.fastai_parts import EncodedMultiCategorize, TensorMultiCategory, Transform
from cxrtool.training.pictures import Findings, XRayImage
from cxrtool.training.targets import Targets


class FromFiles:
    """Reads images by decoding their files."""

    def __init__(self, folder: Path, paths: Sequence[str], *image_sizes: int) -> None:
        self.folder, self.paths, self.image_sizes = folder, paths, image_sizes

    def __call__(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """Grey bytes (n, image_size, image_size)."""
        files = [self.folder / self.paths[row] for row in rows]
        return np.stack([load_pixels(file, *self.image_sizes) for file in files])


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


class ReadXRay(Transform):  # type: ignore[misc]
    """A path to its image; of many paths, what reads them a batch at a time.

    Images come from the cache where it has them, otherwise from their files, resized the same way.
    A path is looked for in the data folder, and then where it says itself.
    """

    input_types = (str, Path)

    def __init__(
        self, folder: Path, image_size: int, cache: ImageCache | None, *, augmented: bool
    ) -> None:
        super().__init__()
        self.folder, self.image_size, self.cache = folder, image_size, cache
        self.cached_at = image_size if cache is None else cache.image_size
        self.augmented = augmented

    def __getstate__(self) -> dict[str, object]:
        # An exported learner must not hold the paths of all images, which the cache has.
        return {**vars(self), "cache": None}

    def reader(self, paths: Sequence[str], *, training: bool) -> FromFiles | FromCache:
        """Reads images of the network's size; for training, from a cache that has it, with room
        for augmentation to sample from.

        Raises:
            DataError: the cache has some of the images, and not all.
        """
        size = self.image_size
        if training and self.augmented and self.cached_at > size:
            size = min(self.cached_at, round(size * ROOM))
        # Other images than those that were prepared, as in a notebook: none of them is cached. If
        # some are, one that is not is an error: files would be read many times as slowly, unsaid.
        if self.cache is not None and any(path in self.cache for path in paths):
            return FromCache(self.cache, paths, size)
        sizes = dict.fromkeys((self.cached_at, size))
        return FromFiles(self.folder, paths, *sizes)

    def encodes(self, path: str | Path) -> XRayImage:
        """Grey bytes (1, image_size, image_size)."""
        pixels = self.reader([str(path)], training=False)([0])
        return XRayImage(torch.from_numpy(pixels))


class ReadTargets(Transform):  # type: ignore[misc]
    """A row of raw labels to its targets."""

    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self.targets = targets

    def of_table(self, table: pd.DataFrame, training: bool) -> NDArray[np.float32]:
        """Targets (n, labels), NaN where masked; or (n, labels, 2): what they are drawn from."""
        return self.targets.trained(table) if training else self.targets.scored(table)

    def encodes(self, row: pd.Series) -> TensorMultiCategory:
        """Targets (labels,), NaN where masked."""
        return TensorMultiCategory(self.targets.middle(pd.DataFrame([row]))[0])


class NamedFindings(EncodedMultiCategorize):  # type: ignore[misc]
    """Targets or probabilities to the names of the labels that are more likely than not."""

    def decodes(self, targets: TensorMultiCategory) -> Findings:
        """The names of the labels over one half."""
        return Findings(
            label for label, value in zip(self.vocab, targets, strict=True) if value > MAJORITY
        )
