"""The image cache: every image decoded once and resized, in one file that all processes map.

`images.npy` is a plain NumPy file, (images, image_size, image_size) grey bytes; `index.csv` says
which row is which image, and what was measured of it; `cache.json` is written last and seals the
two. While it is made, the file is called `images.npy.partial`, and `journal.csv` has what is done.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.csv_tables import read_table
from cxrtool.core.errors import DataError, RunError
from cxrtool.core.files import open_regular, sha256
from cxrtool.core.schemas import CacheFacts, read_as


class Measured(NamedTuple):
    """What was measured of a decoded image file."""

    row: int
    """Its row in the cache."""
    width: int
    height: int
    mode: str
    """Pillow's name for the pixels' form in the file: L, RGB, I;16 ..."""
    pixel_sum: int
    pixel_square_sum: int
    bytes: int
    """The file's length."""
    modified: int
    """The file's modification time, nanoseconds since 1970."""
    crc32: int = 0
    """Of the image's pixels in the cache."""
    picture: str = ""
    """Its `pictures.fingerprint`; "": of version 0.1, which made none."""
    note: str = ""
    """What reading lost, or damage that the decoder reported."""


COLUMNS = ("path", *Measured._fields)
"""Columns of index.csv and journal.csv; version 0.1 lacks the last two."""


class CachePaths:
    """Where each file of a cache is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images.npy"
        self.index = folder / "index.csv"
        self.seal = folder / "cache.json"
        self.partial = folder / "images.npy.partial"
        self.journal = folder / "journal.csv"
        self.plan = folder / "building.json"


class ImageCache:
    """A finished cache, for reading. Pickled, it carries its path, not its pixels."""

    def __init__(self, folder: Path) -> None:
        """Open the cache in `folder`.

        Raises:
            DataError: it is missing, unfinished or altered.
        """
        self._paths = CachePaths(folder)
        try:
            values = read_as(self._paths.seal, CacheFacts)
            self.image_size, n = values.side, values.rows
            self.fingerprint = values.pixels_sha256
            if sha256(self._paths.index) != values.index_sha256:
                raise ValueError(f"{self._paths.index.name} was altered")
            index = read_table(self._paths.index, COLUMNS[:-2])  # 0.1 had no more
            rows = index["row"].astype(int).tolist()
            self._pixels: NDArray[np.uint8] | None = self._map()
            if self._pixels.shape != (n, self.image_size, self.image_size) or max(rows) >= n:
                raise ValueError(f"{self._paths.images.name} has shape {self._pixels.shape}")
        except (RunError, DataError, OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{folder} is not a complete cache ({error}): run `cxrtool prepare` again"
            ) from None
        self._rows = dict(zip(index["path"], rows, strict=True))
        self._sums = np.zeros(n, np.int64)
        self._sums[rows] = index["crc32"].astype(np.int64)
        self._checked = np.zeros(n, bool)
        """Rows whose pixels this process has compared with their CRC-32."""

    def _map(self) -> NDArray[np.uint8]:
        with open_regular(self._paths.images):  # a pipe would block
            pass
        # A plain array over the map: np.memmap's own indexing is several times slower.
        try:
            return np.asarray(np.load(self._paths.images, mmap_mode="r"))
        except (EOFError, ValueError) as error:
            raise ValueError(f"{self._paths.images.name} is not an array: {error}") from None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_pixels": None, "_checked": np.zeros_like(self._checked)}

    def __contains__(self, path: str) -> bool:
        """Whether the image of this path is cached."""
        return path in self._rows

    def rows_of(self, paths: Iterable[str]) -> NDArray[np.int64]:
        """The row of each image.

        Raises:
            DataError: an image is not in the cache.
        """
        try:
            return np.array([self._rows[path] for path in paths], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"{self._paths.folder} lacks {error}: run `cxrtool prepare` again"
            ) from None

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pixels (n, image_size, image_size) of some rows, copied from the map.

        An image is compared with its CRC-32 when a process first reads it: checking a large cache
        at once would take minutes, and this is a hundredth of a training step.

        Raises:
            DataError: the cache was rebuilt while in use, or altered.
        """
        if self._pixels is None:
            # Another process: the cache may have been rebuilt since its path was sent here.
            if ImageCache(self._paths.folder).fingerprint != self.fingerprint:
                raise DataError(f"{self._paths.folder} was rebuilt while it was in use")
            self._pixels = self._map()
        pixels: NDArray[np.uint8] = self._pixels[rows]
        self._check(rows, pixels)
        return pixels

    def _check(self, rows: NDArray[np.int64], pixels: NDArray[np.uint8]) -> None:
        for place in np.flatnonzero(~self._checked[rows]):
            if zlib.crc32(pixels[place]) != self._sums[rows[place]]:
                path = next(path for path, row in self._rows.items() if row == rows[place])
                raise DataError(
                    f"{self._paths.images}: the pixels of {path} are not those that prepare wrote "
                    f"(their CRC-32 differs): remove {self._paths.folder} and run "
                    "`cxrtool prepare` again"
                )
        self._checked[rows] = True
