"""Build a cache: check the disk first, and resume where an earlier build was interrupted."""

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
from cxrtool.core.files import fsync, names_file, open_regular, read_text, sha256, write_text
from cxrtool.core.json_files import read_json, write_json
from cxrtool.images.cache import COLUMNS, CachePaths, Measured
from cxrtool.images.depth import is_deep
from cxrtool.images.errors import ImageError
from cxrtool.images.files import file_state, is_dicom_file
from cxrtool.images.reading import read_header

MOST_INDEX = 2**31
"""Largest index or journal read, in bytes; those of CheXpert have 20 million."""
SPARE_BYTES = 200_000_000
"""Bytes left free on the disk for the workspace's other files."""

DEEP_GREYS = "by depth"
"""How deep pixels become grey; entries made in another way are decoded again."""
UPRIGHT, COLOUR_GREYS = "as its header and pixels say", "by depth"
"""The same of DICOM pictures, and of colours of 16 bits."""
COLOURED = ("RGB", "RGBA")
"""Modes in which caches before these may hold such pictures."""
DICOM_MODES = ("MONOCHROME", "PALETTE", "YBR")
"""How the modes of DICOM pictures begin which no other picture has."""
SIGNED = "I"
"""The mode of signed TIFFs."""
NUMBERS = len(COLUMNS) - len(("path", "row", "width", "height", "mode", "picture", "note"))
"""Numbers in a journal line after its first five columns."""


class CacheWriter:
    """Writes images into a cache that is being built; one for each process."""

    def __init__(self, folder: Path, image_size: int, n: int) -> None:
        self.image_size = image_size
        self._offset = len(_npy_header(n, image_size))
        self._path = CachePaths(folder).partial
        self._file: IO[bytes] = self._path.open("r+b", buffering=0)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> int:
        """Write (image_size, image_size) bytes and return their CRC-32."""
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
    """A cache that is being built, resuming where it was interrupted.

    Its rows are the images of `paths`, in order. An older cache in the folder stays intact until
    this one is sealed, if the disk has room for both.
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
        self._form = {"deep_greys": DEEP_GREYS, "dicom": UPRIGHT, "colour_greys": COLOUR_GREYS}
        self._header = _npy_header(len(paths), image_size)
        self.sealed = False
        """Whether it is finished and needs no writing."""
        self._reused = False
        self._held = 0
        """Images in the finished cache that was found."""

    @property
    def place(self) -> tuple[Path, int, int]:
        """Arguments for `CacheWriter` in other processes."""
        return self._paths.folder, self.image_size, len(self.paths)

    def begin(self) -> dict[int, Measured]:
        """Create the file, or find one that was begun or finished.

        Returns:
            Its images whose files have not changed, by row.

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
        """Reopen a finished cache for building, keeping only `fresh`."""
        self._write_journal(fresh)
        self._write_plan()
        self._paths.seal.unlink()
        self._paths.images.rename(self._paths.partial)
        self.sealed, self._reused = False, True

    def _settled(self, fresh: dict[int, Measured]) -> bool:
        """Whether nothing has to be written: missing images are gone, or unreadable as before.

        A drive that is briefly absent must not cost a cache.
        """
        known = read_json(self._paths.seal).get("unusable", {})
        absent = [row for row in range(len(self.paths)) if row not in fresh]
        states = {row: self._state(row) for row in absent}
        return all(state in (None, known.get(str(row))) for row, state in states.items())

    def _state(self, row: int) -> list[int] | None:
        """Length and time of an image's file; None if it is missing."""
        try:
            return list(file_state(self.data / self.paths[row]))
        except ImageError:
            return None

    def _is_ours(self, about: Path, images: Path) -> bool:
        """Whether a begun or finished cache is of these images at this size."""
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
        """The recorded images whose files, and conversion to grey, have not changed."""
        rows = {row.row: row for row in self._recorded(records)}
        before = read_json(about)
        if before.get("deep_greys") != DEEP_GREYS:
            rows = {n: row for n, row in rows.items() if not is_deep(row.mode)}
        if any(before.get(key) != self._form[key] for key in ("dicom", "colour_greys")):
            rows = {n: row for n, row in rows.items() if self._is_ordinary(row)}
        return {n: row for n, row in rows.items() if self._state(n) == [row.bytes, row.modified]}

    def _is_ordinary(self, row: Measured) -> bool:
        """Whether every version made the same of an image: no DICOM, signed, or of deep colours.

        The former are decoded again at once, since each may lie or be shown in another way.
        """
        if row.mode.startswith(DICOM_MODES) or row.mode == SIGNED:
            return False
        file = self.data / self.paths[row.row]
        try:
            return row.mode not in COLOURED or not (
                is_dicom_file(file) or read_header(file).mode != row.mode
            )
        except (OSError, ImageError):
            return False

    def _recorded(self, path: Path) -> list[Measured]:
        """The rows of a journal or index; lines that a kill cut off are skipped.

        Empty if it is no longer a table.
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
        """Whether the index is the one that was sealed; if not, nothing in it is trusted."""
        try:
            return bool(sha256(self._paths.index) == read_json(self._paths.seal)["index_sha256"])
        except (OSError, KeyError):
            return False

    def _touched(self) -> bool:
        """Whether the pixels were written or copied after the cache was sealed.

        Only then all of them are read, which may take minutes.
        """
        known = read_json(self._paths.seal).get("images_modified")
        return known != self._paths.images.stat().st_mtime_ns

    def _intact(self, done: dict[int, Measured], images: Path) -> dict[int, Measured]:
        """Those whose pixels are intact: a power cut may leave blank pages."""
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
        """Check that the disk has room; remove an older cache if both do not fit."""
        needed = self._length - done * self.image_size**2
        place = next(p for p in (self._paths.folder, *self._paths.folder.parents) if p.exists())
        free = shutil.disk_usage(place).free - SPARE_BYTES
        older = self._paths.images.stat().st_size if self._paths.images.exists() else 0
        if needed > free + older:
            raise DataError(
                f"the cache of {len(self.paths):,} images at {self.image_size}x{self.image_size} "
                f"needs {_size(needed)} more, and {place.resolve()} has "
                f"{_size(free + SPARE_BYTES)} free, of which {_size(SPARE_BYTES)} are reserved for "
                "other files: make room, pass a smaller --cache-size or --no-cache, or use a "
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
        """Record images whose pixels were written."""
        path = self._paths.journal
        with names_file(path), path.open("a", encoding="utf-8", newline="") as file:
            self._writer(file).writerows(self._lines(rows))

    def _lines(self, rows: Iterable[Measured]) -> list[tuple[object, ...]]:
        return [(self.paths[row.row], *row) for row in rows]

    @staticmethod
    def _writer(file: IO[str]) -> Any:
        return csv.writer(file, lineterminator="\n")

    def discard(self) -> None:
        """Remove what was begun; an older cache stays, and so does an earlier beginning."""
        if self._reused:
            return
        for path in (self._paths.plan, self._paths.partial, self._paths.journal):
            path.unlink(missing_ok=True)
        if self._paths.folder.is_dir() and not any(self._paths.folder.iterdir()):
            self._paths.folder.rmdir()

    def seal(self, rows: Sequence[Measured], pixels_sha256: str) -> None:
        """Finish the cache; `pixels_sha256` is the fingerprint of the table of its images."""
        text = io.StringIO()
        self._writer(text).writerows([COLUMNS, *self._lines(rows)])
        inside = {row.row for row in rows}
        absent = [row for row in range(len(self.paths)) if row not in inside]
        # Remove the old seal first: nothing may look complete until the end.
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
        # Also those of another cache that was begun.
        for path in (self._paths.plan, self._paths.journal, self._paths.partial):
            path.unlink(missing_ok=True)

    def _blank(self, inside: set[int]) -> None:
        """Clear rows that no longer hold an image."""
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
