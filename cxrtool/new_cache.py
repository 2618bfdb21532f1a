"""A cache in the making: it checks the disk first, and goes on where it was interrupted."""

import csv
import hashlib
import io
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.cache import COLUMNS, CachePaths, Measured, remove_cache
from cxrtool.errors import DataError, RunError
from cxrtool.files import fsync, read_json, write_json, write_text

SPARE_BYTES = 200_000_000
"""What a cache leaves free on its disk, for the other files of the workspace."""


class CacheWriter:
    """Writes images into the rows of a cache in the making; one for each process."""

    def __init__(self, folder: Path, side: int, n: int) -> None:
        self.side = side
        self._offset = len(_npy_header(n, side))
        self._file: IO[bytes] = CachePaths(folder).partial.open("r+b", buffering=0)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> int:
        """Write (side, side) bytes; their CRC-32."""
        content = pixels.tobytes()
        # Written, not mapped: a full disk is then an OSError instead of a killed process.
        self._file.seek(self._offset + row * self.side**2)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]
        return zlib.crc32(content)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()


class NewCache:
    """A cache in the making, which goes on where it was interrupted.

    Its rows are the images of `paths`, in their order.
    """

    def __init__(self, folder: Path, paths: Sequence[str], side: int) -> None:
        self._paths = CachePaths(folder)
        self.paths, self.side = paths, side
        listing = hashlib.sha256("\n".join(paths).encode()).hexdigest()
        self._identity = {"side": side, "rows": len(paths), "paths_sha256": listing}
        self._header = _npy_header(len(paths), side)

    @property
    def place(self) -> tuple[Path, int, int]:
        """What a `CacheWriter` needs to know, for other processes."""
        return self._paths.folder, self.side, len(self.paths)

    def begin(self, data: Path) -> dict[int, Measured]:
        """Make the file, or find one that was begun; the images in it that are still those of
        the files below `data`.

        Raises:
            DataError: the disk has no room for it.
        """
        if self._is_ours(self._paths.seal, self._paths.images):
            fresh = self._fresh(self._paths.index, data)
            if len(fresh) < len(self.paths):
                self._reopen(fresh)
            return fresh
        if self._paths.images.exists() and not self._paths.partial.exists():
            # It was killed between its two last steps, or its seal was lost.
            self._paths.images.rename(self._paths.partial)
        if self._is_ours(self._paths.plan, self._paths.partial):
            done = self._intact(self._fresh(self._paths.journal, data))
            self._need_room(done=len(done))
            self._write_journal(done)
            return done
        remove_cache(self._paths.folder)
        self._need_room(done=0)
        self._start()
        return {}

    def _is_ours(self, about: Path, images: Path) -> bool:
        """Whether a cache, begun or finished, is one of these images at this size."""
        try:
            values = read_json(about)
            length = images.stat().st_size
        except (RunError, OSError):
            return False
        same = {key: values.get(key) for key in self._identity} == self._identity
        return same and length == self._length

    @property
    def _length(self) -> int:
        return len(self._header) + len(self.paths) * self.side**2

    def _fresh(self, records: Path, data: Path) -> dict[int, Measured]:
        """The recorded images whose files have not changed since."""
        rows = {row.row: row for row in self._recorded(records)}
        return {number: row for number, row in rows.items() if self._unchanged(row, data)}

    def _recorded(self, path: Path) -> list[Measured]:
        """The rows of a journal or an index; a line that a kill cut off is none."""
        rows: list[Measured] = []
        try:
            lines = path.read_text(encoding="utf-8").split("\n")[1:-1]
        except OSError:
            return rows
        for fields in csv.reader(lines):
            try:
                name, row, width, height, mode, *numbers = fields
                measured = Measured(int(row), int(width), int(height), mode, *map(int, numbers))
                if self.paths[measured.row] == name:
                    rows.append(measured)
            except (ValueError, TypeError, IndexError):
                continue
        return rows

    def _unchanged(self, measured: Measured, data: Path) -> bool:
        try:
            found = (data / self.paths[measured.row]).stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (measured.bytes, measured.modified)

    def _intact(self, done: dict[int, Measured]) -> dict[int, Measured]:
        """Those whose pixels reached the disk: after a power cut, blank pages may be there."""
        with self._paths.partial.open("rb") as file:
            kept = {}
            for number in sorted(done):
                file.seek(len(self._header) + number * self.side**2)
                if zlib.crc32(file.read(self.side**2)) == done[number].crc32:
                    kept[number] = done[number]
        return kept

    def _reopen(self, fresh: dict[int, Measured]) -> None:
        """A finished cache becomes one in the making; what changed since is done again."""
        self._paths.seal.unlink()
        self._paths.images.rename(self._paths.partial)
        self._write_journal(fresh)
        self._paths.index.unlink(missing_ok=True)
        write_json(self._paths.plan, self._identity)

    def _start(self) -> None:
        self._paths.folder.mkdir(parents=True, exist_ok=True)
        with self._paths.partial.open("wb") as file:
            file.write(self._header)
            file.truncate(self._length)
        self._write_journal({})
        write_json(self._paths.plan, self._identity)

    def _need_room(self, *, done: int) -> None:
        needed = self._length - done * self.side**2
        place = next(p for p in (self._paths.folder, *self._paths.folder.parents) if p.exists())
        free = shutil.disk_usage(place).free - SPARE_BYTES
        if needed > free:
            raise DataError(
                f"the cache of {len(self.paths):,} images at {self.side}x{self.side} needs "
                f"{_gigabytes(needed)} more, and {_gigabytes(max(free, 0))} are free at "
                f"{place.resolve()}: make room, pass a smaller --cache-size or --no-cache, "
                "or take a workspace (-w) on another disk"
            )

    def _write_journal(self, rows: dict[int, Measured]) -> None:
        with self._paths.journal.open("w", encoding="utf-8", newline="") as file:
            self._writer(file).writerows([COLUMNS, *self._lines(rows.values())])

    def record(self, rows: Iterable[Measured]) -> None:
        """Note images whose pixels were written."""
        with self._paths.journal.open("a", encoding="utf-8", newline="") as file:
            self._writer(file).writerows(self._lines(rows))

    def _lines(self, rows: Iterable[Measured]) -> list[tuple[object, ...]]:
        return [(self.paths[row.row], *row) for row in rows]

    @staticmethod
    def _writer(file: IO[str]) -> Any:
        return csv.writer(file, lineterminator="\n")

    def discard(self) -> None:
        """Give it up, and leave nothing of it behind."""
        remove_cache(self._paths.folder)
        if self._paths.folder.is_dir() and not any(self._paths.folder.iterdir()):
            self._paths.folder.rmdir()

    def seal(self, rows: Iterable[Measured], pixels_sha256: str) -> None:
        """Finish the cache, as one of the images that `pixels_sha256` is the table of."""
        text = io.StringIO()
        self._writer(text).writerows([COLUMNS, *self._lines(rows)])
        write_text(self._paths.index, text.getvalue())
        if self._paths.partial.exists():
            fsync(self._paths.partial)
            self._paths.partial.rename(self._paths.images)
        write_json(self._paths.seal, {**self._identity, "pixels_sha256": pixels_sha256})
        self._paths.plan.unlink(missing_ok=True)
        self._paths.journal.unlink(missing_ok=True)


def _npy_header(n: int, side: int) -> bytes:
    """The first bytes of a NumPy file of (n, side, side) bytes."""
    file = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (n, side, side)}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
