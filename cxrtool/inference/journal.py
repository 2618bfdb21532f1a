"""The rows of a table that is being made, so that it can be resumed after a kill.

Not in sqlite3: it survives a SIGKILL as well, and writes a third to a half as many rows a second
(8,000 to 15,000 against 22,000 to 44,000); synchronised to the disk it writes 300. Tables that
version 0.1 began have these lines.
"""

import errno
import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from cxrtool.core.errors import DataError
from cxrtool.core.files import open_regular
from cxrtool.core.json_files import FORMAT
from cxrtool.data.prediction_rows import Row, json_line, row_of


def files_of(output: Path) -> list[Path]:
    """The files of a table that was begun and not finished."""
    return sorted(output.parent.glob(f"{glob.escape(output.name)}.rows-*"))


def check_begun(output: Path, *, force: bool, resume: bool) -> None:
    """Refuse to replace what is there, before anything is done for it.

    Raises:
        DataError: the table is there, or was begun, and neither `force` nor `resume` is given.
    """
    if force or resume:
        return
    if output.exists():
        raise DataError(f"{output} exists: --resume resumes it, --force replaces it")
    if found := files_of(output):
        raise DataError(
            f"{output} was begun and not finished ({found[0].name} is there): --resume resumes "
            "it, --force begins anew"
        )


class Journal:
    """The rows that are done, in files beside the table that they will be: a line of JSON each.

    A line that is not a row, as after a kill or a power cut, is not counted. The first one says
    what the rows were made with, so that no others get among them. Each of several processes
    writes its own file.
    """

    def __init__(self, output: Path, made_with: Mapping[str, Any], labels: Sequence[str]) -> None:
        self.output, self.labels = output, tuple(labels)
        self.made_with = {"format": FORMAT, **made_with}
        self._places: dict[str, tuple[Path, int]] = {}
        """Where the last row of each path begins."""
        self._failed: set[str] = set()
        """Those that could not be read, and are tried again."""

    @property
    def files(self) -> list[Path]:
        """All processes' files."""
        return files_of(self.output)

    def read(self) -> None:
        """Learn which rows are done.

        Raises:
            DataError: they were made with something else, or a file cannot be read.
        """
        for file in self.files:
            with _opened(file) as lines:
                place = 0
                for number, line in enumerate(lines):
                    if number == 0 and line.endswith(b"\n"):  # else a kill cut it off
                        self._compare(_parsed(line), file)
                    elif number and (row := self._row(line)) is not None:
                        self._know(row.path, bool(row.error), (file, place))
                    place += len(line)

    def _row(self, line: bytes) -> Row | None:
        """The row that a line is, if it is one."""
        try:
            row = row_of(_parsed(line), self.labels)
        except (LookupError, TypeError, ValueError, AttributeError):
            return None
        whole = isinstance(row.path, str) and all(0 <= score <= 1 for score in row.scores or ())
        return row if whole else None

    def _know(self, path: str, failed: bool, place: tuple[Path, int]) -> None:
        if failed and path in self._places and path not in self._failed:
            return
        self._places[path] = place
        (self._failed.add if failed else self._failed.discard)(path)

    def _compare(self, found: Mapping[str, Any], file: Path) -> None:
        for key, value in self.made_with.items():
            if found.get(key) != value:
                raise DataError(
                    f"{file}: its rows were made with another {key} ({found.get(key)}, and now "
                    f"{value}): --resume needs the same, --force begins anew"
                )

    def done(self, path: str) -> bool:
        """Whether there is a row of this path, and it is no failure."""
        return path in self._places and path not in self._failed

    def failed(self, path: str) -> bool:
        """Whether there is a row of this path that only says why there are no scores."""
        return path in self._failed

    def __len__(self) -> int:
        """How many rows are done."""
        return len(self._places) - len(self._failed)

    @contextmanager
    def writing(self, process: int | str = 0) -> Iterator[Callable[[Row], None]]:
        """A function that adds a row to this process's own file.

        Raises:
            DataError: the disk is full, or the folder is gone; the rows before it are kept.
        """
        file = self.output.with_name(f"{self.output.name}.rows-{process}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                _cut_last(file)
            with FileIO(file, "ab") as stream:
                if stream.seek(0, 2) == 0:
                    _append(stream, json.dumps(self.made_with).encode() + b"\n")

                def write(row: Row) -> None:
                    place = _append(stream, json_line(row, self.labels).encode())
                    self._know(row.path, bool(row.error), (file, place))

                yield write
        except OSError as error:
            raise DataError(
                f"{file}: {error.strerror}; the {len(self):,} rows before it are kept, and "
                "--resume continues from them"
            ) from None

    def rows(self, paths: Iterable[str]) -> Iterator[Row]:
        """The rows of paths, in that order.

        Raises:
            DataError: one of them is missing.
        """
        with ExitStack() as stack:
            open_files = {file: stack.enter_context(_opened(file)) for file in self.files}
            for path in paths:
                if path not in self._places:
                    raise DataError(f"{self.output}: the row of {path} is missing")
                file, place = self._places[path]
                open_files[file].seek(place)
                yield row_of(_parsed(open_files[file].readline()), self.labels)

    def remove(self) -> None:
        """Forget all of it."""
        self._places.clear()
        self._failed.clear()
        for file in self.files:
            file.unlink(missing_ok=True)


def _parsed(line: bytes) -> dict[str, Any]:
    """A whole line's object; an empty one for a line that was cut off, or holds something else."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


@contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    try:
        opened = open_regular(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; --force begins anew") from None
    with opened:
        yield opened


def _append(stream: FileIO, line: bytes) -> int:
    """Add a line to a file, whole or not at all; the place where it begins.

    Raises:
        OSError: there is no room for it.
    """
    place = stream.seek(0, 2)
    try:
        if stream.write(line) != len(line):  # the last bytes of a disk
            raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        stream.truncate(place)
        raise
    return place


def _cut_last(file: Path) -> None:
    """Remove what a kill left of a last line."""
    with open_regular(file) as lines:
        whole = place = 0
        for line in lines:
            place += len(line)
            whole = place if line.endswith(b"\n") else whole
    if whole < place:
        with file.open("r+b") as stream:
            stream.truncate(whole)
