"""What every data set becomes: the manifest's rows; and what reading the tables has in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.csv_tables import FALLBACK, line_numbers, need_columns, read_foreign_table
from cxrtool.core.errors import DataError, first_few
from cxrtool.core.origin import Origin
from cxrtool.data.label_names import match_columns, match_labels
from cxrtool.data.manifest import climbs, parse_labels
from cxrtool.data.problems import Problems

OLDEST = 120
"""Ages beyond are none: the cell counts as blank."""
SEXES = {"male": "Male", "m": "Male", "female": "Female", "f": "Female", "unknown": "Unknown"}
"""What is written in `sex`; a blank stays one, and so does what is not known here."""
NOT_MENTIONED, ABSENT = "not mentioned", "absent"
"""What a blank cell of a label means: nobody spoke of it, or it is not there. A data set that
lists what is there (NIH, PadChest, VinDr-CXR) has no blanks: what it does not list is absent."""
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that can be read: how it is recognised, and by which function."""

    name: str
    """As `--format` has it."""
    looks_for: str
    """The table that it is recognised by, for messages."""
    holds: Callable[[Path], bool]
    """Whether it lies in a folder."""
    read: Callable[[Path, PrepareConfig, Problems], "SourceRows"]
    """Its rows, of the folder in which it lies."""


@dataclass(frozen=True, kw_only=True)
class SourceRows:
    """A data set's tables as manifest rows."""

    dataset: str
    """The format's name."""
    folder: Path
    """Where the rows' paths start."""
    tables: tuple[str, ...]
    """The names of the files that were read."""
    labels_by: dict[str, str]
    """Who made the labels of each `source` (train, valid) that occurs."""
    origin: Origin
    """Where the images are from, on evidence."""
    rows: pd.DataFrame
    """The manifest's columns, in the tables' order; the labels float32, NaN for a blank."""
    official: "pd.Series[str] | None" = None
    """The part (train, valid, test) that the data set itself gives each row, if it does."""
    blank: str = NOT_MENTIONED
    """What a label that the tables leave open means: `NOT_MENTIONED` or `ABSENT`."""
    unused: tuple[str, ...] = ()
    """Columns of the tables that nothing was made of."""
    readers: "pd.Series[str] | None" = None
    """Who gave each row's labels, where the data set has several rows an image; blank: unknown."""
    notes: tuple[str, ...] = ()
    """What was taken for granted, for the user to know."""

    def at(self, paths: "pd.Series[str]") -> "SourceRows":
        """The rows with other paths, without those whose path is blank."""
        kept = (paths != "").to_numpy(dtype=bool)
        official = None if self.official is None else self.official[kept].reset_index(drop=True)
        rows = self.rows.assign(path=paths)[kept].reset_index(drop=True)
        return replace(self, rows=rows, official=official)


def all_of(steps: Sequence[Callable[[], Made]]) -> list[Made]:
    """The results of all steps; where some fail, one DataError with all their messages."""
    made, errors = [], []
    for step in steps:
        try:
            made.append(step())
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError("\n".join(errors))
    return made


def open_table(
    path: Path, columns: Sequence[str], problems: Problems, *, labels: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a data set's table as text; note if its encoding had to be guessed.

    A column that is one of `columns` but for case, blanks, `_` and `-` gets that name, and so does
    one that is another name of one of the `labels`.

    Raises:
        DataError: see `tables.read_table`; or several columns could be the one.
    """
    frame, encoding, ended = read_foreign_table(path, ())
    there = match_columns(columns, frame.columns, str(path))
    there |= match_labels(labels, frame.columns, str(path))
    frame = frame.rename(columns={found: wanted for wanted, found in there.items()})
    need_columns(frame, (*columns, *labels), path)
    if encoding == FALLBACK:
        problems.add("encoding", [path.name], "not UTF-8: read as Windows-1252", kept=True)
    if not ended:
        told = "its last line has no end: if it is a copy, is it whole?"
        problems.add("no line end", [path.name], told, kept=True)
    return frame


def unused_columns(frame: pd.DataFrame, used: Sequence[str], path: Path) -> tuple[str, ...]:
    """The columns of a table beside those that were used: `train.csv: Report`."""
    return tuple(f"{path.name}: {name or 'unnamed'}" for name in frame if name not in used)


def places(path: Path, bad: NDArray[np.bool_]) -> list[str]:
    """`train.csv line 7` for each marked row of a table."""
    return [f"{path.name} line {line}" for line in line_numbers(bad)]


def label_cells(
    frame: pd.DataFrame, columns: Sequence[str], path: Path, problems: Problems
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Label columns of text as (rows, columns) numbers, NaN for a blank, and which rows are bad.

    A cell that is none of 1, 0, -1 and blank is noted; its row is to be left out.
    """
    values, wrong = parse_labels(frame, columns)
    for column, cells in zip(columns, wrong.T, strict=True):
        detail = [f"{column}: {cell!r}" for cell in frame[column].to_numpy()[cells]]
        problems.add("label value", places(path, cells), detail, kept=False)
    bad: NDArray[np.bool_] = np.any(wrong, axis=1)
    return values, bad


def years(
    texts: "pd.Series[str]", numbers: "pd.Series[float]", path: Path, problems: Problems
) -> "pd.Series[int]":
    """Ages in whole years; what is none becomes blank and is noted."""
    good = numbers.between(0, OLDEST)
    bad = (~good & (texts.str.strip() != "")).to_numpy(dtype=bool)
    problems.add("odd age", places(path, bad), texts[bad].tolist(), kept=True)
    ages: pd.Series[int] = numbers.where(good).round().astype("Int64")
    return ages


def sexes(texts: "pd.Series[str]", path: Path, problems: Problems) -> "pd.Series[str]":
    """`Male`, `Female`, `Unknown` or blank; what is none of these becomes blank and is noted."""
    bare = texts.str.strip()
    known = bare.str.lower().map(SEXES)
    bad = (known.isna() & (bare != "")).to_numpy(dtype=bool)
    problems.add("odd sex", places(path, bad), texts[bad].tolist(), kept=True)
    return known.fillna("")


def refuse_climbing(paths: "pd.Series[str]", path: Path) -> None:
    """Refuse a table with a path that climbs out of the data folder.

    Raises:
        DataError: it names the lines. Such a table was made by mistake or on purpose; either way
            none of it is to be trusted.
    """
    climbing = np.array([climbs(text) for text in paths.tolist()], dtype=bool)
    if climbing.any():
        raise DataError(
            f"{path}: {climbing.sum()} paths climb out of the data folder with `..` "
            f"(lines {first_few(line_numbers(climbing))}): nothing of the table is used"
        )
