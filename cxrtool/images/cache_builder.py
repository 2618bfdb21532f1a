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

from cxrtool.core.errors import DataError, RunError
from cxrtool.core.files import (
    fsync,
    names_file,
    open_regular,
    read_json,
    read_text,
    sha256,
    write_json,
    write_text,
)
from cxrtool.images.cache import COLUMNS, CachePaths, Measured
from cxrtool.images.depth import is_deep
from cxrtool.images.reading import ImageError, file_state

MOST_INDEX = 2**31
"""Bytes of an index or journal; those of CheXpert have 20 million."""
SPARE_BYTES = 200_000_000
"""What a cache leaves free on its disk, for the other files of the workspace."""

DEEP_GREYS = "by depth"
"""How pixels of more than 8 bits became greys; where another way stands, those are made anew."""
NUMBERS = len(COLUMNS) - len(("path", "row", "width", "height", "mode", "picture", "note"))
"""How many numbers stand in a line of the journal after the first five columns."""


class CacheWriter:
    """Writes images into the rows of a cache in the making; one for each process."""

    def __init__(self, folder: Path, image_size: int, n: int) -> None:
        self.image_size = image_size
        self._offset = len(_npy_header(n, image_size))
        self._path = CachePaths(folder).partial
        self._file: IO[bytes] = self._path.open("r+b", buffering=0)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> int:
        """Write (image_size, image_size) bytes; their CRC-32."""
        content = pixels.tobytes()
        # Written, not mapped: a full disk is then an OSError instead of a killed process.
        self._file.seek(self._offset + row * self.image_size**2)
        left = memoryview(content)
        with names_file(self._path):
            while left:
                left = left[self._file.write(left) :]
        return zlib.crc32(content)

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()


class NewCache:
    """A cache in the making, which goes on where it was interrupted.

    Its rows are the images of `paths`, in their order. Another cache in the folder, of other images
    or another size, stays whole until this one is sealed, if the disk has room for both.
    """

    def __init__(self, folder: Path, data: Path, paths: Sequence[str], image_size: int) -> None:
        """A cache in `folder` of the images at `paths`, relative to the folder `data`."""
        self._paths = CachePaths(folder)
        self.data, self.paths, self.image_size = data, paths, image_size
        self._identity = {
            "side": image_size,
            "rows": len(paths),
            "paths_sha256": hashlib.sha256("\n".join(paths).encode()).hexdigest(),
            # Copies of a data set may have files of the same names, lengths and times.
            "data": str(data.resolve()),
        }
        self._form = {"deep_greys": DEEP_GREYS}
        self._header = _npy_header(len(paths), image_size)
        self.sealed = False
        """Whether it is finished, and nothing has to be written into it."""
        self._reused = False
        self._held = 0
        """How many images a finished cache held when it was found."""

    @property
    def place(self) -> tuple[Path, int, int]:
        """What a `CacheWriter` needs to know, for other processes."""
        return self._paths.folder, self.image_size, len(self.paths)

    def begin(self) -> dict[int, Measured]:
        """Make the file, or find one that was begun or finished.

        Returns:
            The images in it that are still those of the data's files, by row.

        Raises:
            DataError: the disk has no room for it.
        """
        if self._is_ours(self._paths.seal, self._paths.images):
            self._held = len(self._recorded(self._paths.index))
            fresh = self._fresh(self._paths.index, self._paths.seal) if self._as_sealed() else {}
            if self._touched():
                fresh = self._intact(fresh, self._paths.images)
            self.sealed = self._settled(fresh)
            if not self.sealed:
                self.reopen(fresh)
            return fresh
        killed_at_the_end = not self._paths.partial.exists() and not self._paths.seal.exists()
        if killed_at_the_end and self._is_ours(self._paths.plan, self._paths.images):
            self._paths.images.rename(self._paths.partial)
        if self._is_ours(self._paths.plan, self._paths.partial):
            done = self._fresh(self._paths.journal, self._paths.plan)
            done = self._intact(done, self._paths.partial)
            self._make_room(done=len(done))
            self._write_journal(done)
            self._write_plan()
            self._reused = True
            return done
        self._make_room(done=0)
        self._start()
        return {}

    def reopen(self, fresh: dict[int, Measured]) -> None:
        """A finished cache becomes one in the making, in which only `fresh` is done."""
        self._write_journal(fresh)
        self._write_plan()
        self._paths.seal.unlink()
        self._paths.images.rename(self._paths.partial)
        self.sealed, self._reused = False, True

    def _settled(self, fresh: dict[int, Measured]) -> bool:
        """Whether there is nothing to write: what is not in it is gone, or as unreadable as before.

        A drive that is not there for a moment must not cost a cache.
        """
        known = read_json(self._paths.seal).get("unusable", {})
        absent = [row for row in range(len(self.paths)) if row not in fresh]
        states = {row: self._state(row) for row in absent}
        return all(state in (None, known.get(str(row))) for row, state in states.items())

    def _state(self, row: int) -> list[int] | None:
        """Length and time of an image's file; None where there is none."""
        try:
            return list(file_state(self.data / self.paths[row]))
        except ImageError:
            return None

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
        return len(self._header) + len(self.paths) * self.image_size**2

    def _fresh(self, records: Path, about: Path) -> dict[int, Measured]:
        """The recorded images whose files have not changed since, nor the way to their greys."""
        rows = {row.row: row for row in self._recorded(records)}
        if read_json(about).get("deep_greys") != DEEP_GREYS:
            rows = {n: row for n, row in rows.items() if not is_deep(row.mode)}
        return {n: row for n, row in rows.items() if self._state(n) == [row.bytes, row.modified]}

    def _recorded(self, path: Path) -> list[Measured]:
        """The rows of a journal or an index; a line that a kill cut off is none.

        None at all, where it is no table any more.
        """
        rows: list[Measured] = []
        try:
            table = list(csv.reader(read_text(path, MOST_INDEX).split("\n")[1:-1]))
        except (OSError, UnicodeDecodeError, csv.Error):
            return rows
        for fields in table:
            try:
                _, row, width, height, mode, *rest = fields
                # The fingerprint and the note come last, and version 0.1 wrote none.
                picture, note = (*rest[NUMBERS:], "", "")[:2]
                sums, squares, length, modified, crc32 = map(int, rest[:NUMBERS])
                facts = int(row), int(width), int(height), mode, sums, squares, length, modified
                measured = Measured(*facts, crc32, picture, note)
                if 0 <= measured.row < len(self.paths):
                    rows.append(measured)
            except (ValueError, TypeError):
                continue
        return rows

    def _as_sealed(self) -> bool:
        """Whether the index is the one that was sealed: if not, nothing in it can be believed."""
        try:
            return bool(sha256(self._paths.index) == read_json(self._paths.seal)["index_sha256"])
        except (OSError, KeyError):
            return False

    def _touched(self) -> bool:
        """Whether the finished cache's pixels were written after it was sealed, or copied.

        Only then all of them are read, which may be minutes.
        """
        known = read_json(self._paths.seal).get("images_modified")
        return known != self._paths.images.stat().st_mtime_ns

    def _intact(self, done: dict[int, Measured], images: Path) -> dict[int, Measured]:
        """Those whose pixels are there: after a power cut, blank pages may be in their place."""
        with open_regular(images) as file:
            kept = {}
            for number in sorted(done):
                file.seek(len(self._header) + number * self.image_size**2)
                if zlib.crc32(file.read(self.image_size**2)) == done[number].crc32:
                    kept[number] = done[number]
        return kept

    def _start(self) -> None:
        self._paths.folder.mkdir(parents=True, exist_ok=True)
        path = self._paths.partial
        with names_file(path), path.open("wb") as file:
            file.write(self._header)
            file.truncate(self._length)
        self._write_journal({})
        self._write_plan()

    def _write_plan(self) -> None:
        write_json(self._paths.plan, {**self._identity, **self._form})

    def _make_room(self, *, done: int) -> None:
        """Check that the disk has room; an older cache goes first if there is none beside it."""
        needed = self._length - done * self.image_size**2
        place = next(p for p in (self._paths.folder, *self._paths.folder.parents) if p.exists())
        free = shutil.disk_usage(place).free - SPARE_BYTES
        older = self._paths.images.stat().st_size if self._paths.images.exists() else 0
        if needed > free + older:
            raise DataError(
                f"the cache of {len(self.paths):,} images at {self.image_size}x{self.image_size} "
                f"needs {_size(needed)} more, and {place.resolve()} has "
                f"{_size(free + SPARE_BYTES)} free, of which {_size(SPARE_BYTES)} are kept for "
                "other files: make room, pass a smaller --cache-size or --no-cache, or take a "
                "workspace (-w) on another disk"
            )
        if needed > free:
            self._paths.seal.unlink(missing_ok=True)
            self._paths.images.unlink()

    def _write_journal(self, rows: dict[int, Measured]) -> None:
        path = self._paths.journal
        with names_file(path), path.open("w", encoding="utf-8", newline="") as file:
            self._writer(file).writerows([COLUMNS, *self._lines(rows.values())])

    def record(self, rows: Iterable[Measured]) -> None:
        """Note images whose pixels were written."""
        path = self._paths.journal
        with names_file(path), path.open("a", encoding="utf-8", newline="") as file:
            self._writer(file).writerows(self._lines(rows))

    def _lines(self, rows: Iterable[Measured]) -> list[tuple[object, ...]]:
        return [(self.paths[row.row], *row) for row in rows]

    @staticmethod
    def _writer(file: IO[str]) -> Any:
        return csv.writer(file, lineterminator="\n")

    def discard(self) -> None:
        """Give it up; an older cache stays, and so does what was found begun."""
        if self._reused:
            return
        for path in (self._paths.plan, self._paths.partial, self._paths.journal):
            path.unlink(missing_ok=True)
        if self._paths.folder.is_dir() and not any(self._paths.folder.iterdir()):
            self._paths.folder.rmdir()

    def seal(self, rows: Sequence[Measured], pixels_sha256: str) -> None:
        """Finish the cache, as one of the images that `pixels_sha256` is the table of."""
        text = io.StringIO()
        self._writer(text).writerows([COLUMNS, *self._lines(rows)])
        inside = {row.row for row in rows}
        absent = [row for row in range(len(self.paths)) if row not in inside]
        # An older cache's seal goes first: from here on, nothing looks whole until the end.
        if not self.sealed or len(rows) < self._held:
            self._paths.seal.unlink(missing_ok=True)
        if self._reused or (self.sealed and len(rows) < self._held):
            self._blank(inside)
        write_text(self._paths.index, text.getvalue())
        if not self.sealed:
            fsync(self._paths.partial)
            self._paths.partial.replace(self._paths.images)
        sealed = {
            **self._identity,
            **self._form,
            "pixels_sha256": pixels_sha256,
            "index_sha256": sha256(self._paths.index),
            "images_modified": self._paths.images.stat().st_mtime_ns,
            "unusable": {str(row): self._state(row) for row in absent},
        }
        write_json(self._paths.seal, sealed)
        # Also those of another cache that was begun and given up.
        for path in (self._paths.plan, self._paths.journal, self._paths.partial):
            path.unlink(missing_ok=True)

    def _blank(self, inside: set[int]) -> None:
        """Wipe what an earlier attempt left in rows that hold no image now."""
        nothing = bytes(self.image_size**2)
        images = self._paths.images if self.sealed else self._paths.partial
        with names_file(images), images.open("r+b") as file:
            for row in range(len(self.paths)):
                if row not in inside:
                    place = len(self._header) + row * self.image_size**2
                    file.seek(place)
                    if file.read(self.image_size**2) != nothing:
                        file.seek(place)
                        file.write(nothing)


def _npy_header(n: int, image_size: int) -> bytes:
    """The first bytes of a NumPy file of (n, image_size, image_size) bytes."""
    file = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (n, image_size, image_size)}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
