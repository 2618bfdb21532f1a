"""What every data set becomes: the manifest's rows; and what reading the tables has in common."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.csv_tables import (
    FALLBACK,
    FIRST_ROW,
    line_numbers,
    need_columns,
    read_foreign_table,
)
from cxrtool.core.errors import DataError, first_few
from cxrtool.core.files import read_text
from cxrtool.core.origin import Origin
from cxrtool.data.label_names import match_columns, match_labels
from cxrtool.data.manifest import climbs, parse_labels
from cxrtool.data.problems import Problems

JSON_LINES = (".json", ".jsonl")
OLDEST = 120
"""Ages beyond are none: the cell counts as blank."""
SEXES = {
    "male": "Male",
    "m": "Male",
    "female": "Female",
    "f": "Female",
    "unknown": "Unknown",
    "o": "Unknown",
}
"""What is written in `sex`; DICOM has an O for other. A blank stays one, and so does what is not
known here."""
BOX_COLUMNS = ("path", "label", "x0", "y0", "x1", "y1", "width", "height", "reader")
"""Of boxes: corners in pixels of a picture of that width and height (NaN: not known), and who drew
it, blank where one alone did or nobody says."""
NOT_MENTIONED, ABSENT = "not mentioned", "absent"
"""What a blank cell of a label means: nobody spoke of it, or it is not there. A data set that
lists what is there (NIH, PadChest, VinDr-CXR) has no blanks: what it does not list is absent."""
UNITS = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}
"""How many of an age's unit make a year: DICOM and NIH's first release write 058Y, 011M, 004D."""
Labels = NDArray[np.float32]
"""(rows, labels) 1, 0, -1, and NaN for a blank."""
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
    labels_from: tuple[str, ...] = ()
    """What `--labels-from` may name, beside a table."""
    own_names: bool = False
    """Whether its findings have names of their own, which `--label-names own` keeps."""


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
    readers: "pd.Series[str] | None" = None
    """Who gave each row's labels, where the data set has several rows an image; blank: unknown."""
    blank: str = NOT_MENTIONED
    """What a label that the tables leave open means: `NOT_MENTIONED` or `ABSENT`."""
    unused: dict[str, list[str]] = field(default_factory=dict)
    """Columns that nothing was made of, by the tables' names."""
    boxes: pd.DataFrame | None = None
    """Where findings are, as `BOX_COLUMNS`; None: the data set has nothing of the kind."""
    notes: tuple[str, ...] = ()
    """What was taken for granted, for the user to know."""

    def at(self, paths: "pd.Series[str]") -> "SourceRows":
        """The rows with other paths, without those whose path is blank."""
        kept = (paths != "").to_numpy(dtype=bool)
        official = None if self.official is None else self.official[kept].reset_index(drop=True)
        readers = None if self.readers is None else self.readers[kept].reset_index(drop=True)
        rows = self.rows.assign(path=paths)[kept].reset_index(drop=True)
        return replace(self, rows=rows, official=official, readers=readers)


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
    """Read a data set's table as text, a CSV or JSON lines; note if its encoding was guessed.

    A column that is one of `columns` but for case, blanks, `_` and `-` gets that name, and so does
    one that is another name of one of the `labels`.

    Raises:
        DataError: see `tables.read_table`; or several columns could be the one.
    """
    if path.suffix in JSON_LINES:
        frame, encoding, ended = _read_json_lines(path), "utf-8", True
    else:
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


def _read_json_lines(path: Path) -> pd.DataFrame:
    """A table with an object on each line, as text; null is blank."""
    try:
        rows = [json.loads(line) for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON lines: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f"{path} cannot be read as JSON lines: a line is no object, or none is there"
        )
    cells = pd.DataFrame(rows, dtype=object)
    blank = cells.isna()
    return cells.astype(str).mask(blank, "")


def unused_columns(frame: pd.DataFrame, used: Sequence[str], path: Path) -> dict[str, list[str]]:
    """The columns of a table beside those that were used, under its name, if there are any."""
    names = [str(name) or "one without a name" for name in frame if name not in used]
    return {path.name: names} if names else {}


@dataclass(frozen=True)
class Lines:
    """A table of which only some rows are read, or several as one."""

    path: Path
    rows: NDArray[np.intp]
    """Of each row that is read, the (first) row of the table, from 0."""
    places: NDArray[np.object_] | None = None
    """Where each row of the table stands, if it is no text of lines."""

    @property
    def name(self) -> str:
        """The table's."""
        return self.path.name


def places(path: Path | Lines, bad: NDArray[np.bool_]) -> list[str]:
    """`train.csv line 7` for each marked row of a table."""
    if isinstance(path, Lines) and path.places is not None:
        return [str(place) for place in path.places[path.rows[bad]]]
    lines = [row + FIRST_ROW for row in path.rows[bad]] if isinstance(path, Lines) else None
    return [f"{path.name} line {line}" for line in lines or line_numbers(bad)]


def label_cells(
    frame: pd.DataFrame, columns: Sequence[str], path: Path | Lines, problems: Problems
) -> tuple[Labels, NDArray[np.bool_]]:
    """Label columns of text as (rows, columns) numbers, NaN for a blank, and which rows are bad.

    A cell that is none of 1, 0, -1 and blank is noted; its row is to be left out.
    """
    values, wrong = parse_labels(frame, columns)
    for column, cells in zip(columns, wrong.T, strict=True):
        detail = [f"{column}: {cell!r}" for cell in frame[column].to_numpy()[cells]]
        problems.add("label value", places(path, cells), detail, kept=False)
    bad: NDArray[np.bool_] = np.any(wrong, axis=1)
    return values, bad


def ages_in_years(texts: "pd.Series[str]") -> "pd.Series[float]":
    """Ages as tables write them in years, NaN where there is none; who is not a year old is 0."""
    bare = texts.str.strip().str.upper()
    parts = bare.str.extract(r"^(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[YMWD]?)$")
    ages = pd.to_numeric(parts["number"]) / parts["unit"].map(UNITS)
    return ages.where(parts["unit"].isin(["", "Y"]), np.floor(ages))


def years(
    texts: "pd.Series[str]", numbers: "pd.Series[float]", path: Path | Lines, problems: Problems
) -> "pd.Series[int]":
    """Ages in whole years; what is none becomes blank and is noted."""
    good = numbers.between(0, OLDEST)
    bad = (~good & (texts.str.strip() != "")).to_numpy(dtype=bool)
    problems.add("odd age", places(path, bad), texts[bad].tolist(), kept=True)
    ages: pd.Series[int] = numbers.where(good).round().astype("Int64")
    return ages


def sexes(texts: "pd.Series[str]", path: Path | Lines, problems: Problems) -> "pd.Series[str]":
    """`Male`, `Female`, `Unknown` or blank; what is none of these becomes blank and is noted."""
    bare = texts.str.strip()
    known = bare.str.lower().map(SEXES)
    bad = (known.isna() & (bare != "")).to_numpy(dtype=bool)
    problems.add("odd sex", places(path, bad), texts[bad].tolist(), kept=True)
    return known.fillna("")


def one_spelling(ids: "pd.Series[str]", path: Path | Lines, problems: Problems) -> "pd.Series[str]":
    """Patients' ids, where they are all numbers each in the first of its spellings.

    `17`, `17.0` and `017` are one patient to whoever wrote numbers, and a spreadsheet or pandas
    changed some. Ids that are not all numbers are names, and stay. What a spreadsheet has rounded
    (`1.23457E+12`) is noted.
    """
    rounded = ids.str.fullmatch(r"[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]+").to_numpy(dtype=bool)
    told = (ids[rounded] + ": rounded by a spreadsheet? Several patients may share it").tolist()
    problems.add("rounded patient", places(path, rounded), told, kept=True)
    numbers = ids.str.extract(r"^0*([0-9]+)(?:\.0*)?$")[0]
    if (numbers.isna() & (ids != "")).any():
        return ids
    first = ids.groupby(numbers).transform("first").fillna("")
    other = (first != ids).to_numpy(dtype=bool)
    told = (ids[other] + " is taken for " + first[other]).tolist()
    problems.add("patient spelled otherwise", places(path, other), told, kept=True)
    return first


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
