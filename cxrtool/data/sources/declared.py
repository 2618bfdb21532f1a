"""A data set as a declaration: which tables, which columns, how findings are written.

What a declaration does not say is the same for all: tables are opened and checked, images found by
their stem, sexes and ages read, findings renamed to CheXpert's, rows that cannot be used counted.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.csv_tables import read_header
from cxrtool.core.errors import DataError
from cxrtool.core.origin import own_origin
from cxrtool.data.label_names import spelling
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.sources.findings import Findings, as_chexpert
from cxrtool.data.sources.rows import (
    NOT_MENTIONED,
    Lines,
    Source,
    SourceRows,
    ages_in_years,
    all_of,
    open_table,
    places,
    refuse_climbing,
    sexes,
    unused_columns,
    years,
)

Cells = Callable[[pd.DataFrame], "pd.Series[str]"]
"""What makes one of the manifest's columns of a table's."""
VIEWS: Mapping[str, str] = {
    **dict.fromkeys(("pa", "ap", "ap_horizontal", "ap horizontal", "frontal"), "frontal"),
    **dict.fromkeys(("l", "ll", "rl", "lateral", "lat"), "lateral"),
}
"""Of view positions as tables write them; an image of any other is neither."""


def column(name: str) -> Cells:
    """A column as it is, without the blanks around its cells."""
    return lambda frame: frame[name].str.strip()


def blank(frame: pd.DataFrame) -> "pd.Series[str]":
    """Nothing, for all rows."""
    return pd.Series("", index=frame.index, dtype="str")


def frontal(frame: pd.DataFrame) -> "pd.Series[str]":
    """All rows are frontal."""
    return pd.Series("frontal", index=frame.index, dtype="str")


@dataclass(frozen=True)
class Table:
    """A table of a data set: what its file may be called, and what it is recognised by."""

    name: str
    """With `*` for what differs between releases; it may be gzipped."""
    columns: tuple[str, ...]
    """Which it must have, and which are used."""
    optional: tuple[str, ...] = ()
    """Which are used where they are there."""

    def find(self, folder: Path) -> list[Path]:
        """The files in a folder that are this table, the last release first."""
        candidates = [path for glob in (self.name, f"{self.name}.gz") for path in folder.glob(glob)]
        return sorted((path for path in candidates if self._fits(path)), reverse=True)

    def open(self, path: Path, problems: Problems) -> "Opened":
        """Read one of the files that `find` found.

        Raises:
            DataError: it cannot be read.
        """
        return Opened(open_table(path, self.columns, problems), (path,), (path.name,))

    def _fits(self, path: Path) -> bool:
        if not path.is_file():
            return False
        there = {spelling(name) for name in read_header(path)}
        return there.issuperset(spelling(name) for name in self.columns)


@dataclass(frozen=True)
class Opened:
    """A table's rows, whatever they were read from."""

    frame: pd.DataFrame
    """Of text."""
    files: tuple[Path, ...]
    """Which were read."""
    names: tuple[str, ...]
    """What they are called."""
    unused: dict[str, list[str]] = field(default_factory=dict)
    """Columns of them that are not in the frame, by the files' names."""
    notes: tuple[str, ...] = ()
    """What a user should know of this copy."""
    places: NDArray[np.object_] | None = None
    """Where each row stands; None: in the line of its number."""


@dataclass(frozen=True)
class Kind:
    """Some rows of a table, by who made their labels."""

    labels_by: str
    rows: Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A data set in a table of its own, or in two: of `train`, and of `valid`."""

    name: str
    """As `--format` has it."""
    title: str
    """With the institution and the reference, for readers."""
    tables: Mapping[str, tuple[Table, ...]]
    """By source (train, valid), the forms of its table; the first that is there is read."""
    findings: Findings
    meaning: Mapping[str, Collection[str]]
    """For each of CheXpert's labels, which findings it is."""
    labels_by: Mapping[str, str]
    """Who made the labels of each source; of `valid` those who know better."""
    path: Cells
    patient: Cells
    study: Cells | None = None
    """Without it, an image is its own study."""
    view: Cells = frontal
    """The view position as the table writes it; see `VIEWS`."""
    sex: Cells = blank
    age: Cells = blank
    reader: Cells | None = None
    """Who gave a row's labels, where an image has several rows."""
    part: Cells | None = None
    """The data set's own part of each row: train, valid, test, or blank."""
    shape: Callable[[pd.DataFrame, Path], pd.DataFrame] | None = None
    """What makes one row an image (or an image and reader) of a table of boxes, say; the folder
    comes with it, for tables beside."""
    kinds: Mapping[str, "Kind"] = field(default_factory=dict)
    """By the names that `--labels-from` takes: whose labels alone are to be read."""
    blanks: str = NOT_MENTIONED
    """As in `SourceRows`."""
    notes: tuple[str, ...] = ()
    """What a user should know of every copy of these data."""

    @property
    def source(self) -> Source:
        """What the door to all data sets needs to know of it."""
        looks_for = next(iter(self.tables.values()))[0].name
        return Source(
            name=self.name,
            looks_for=looks_for,
            holds=self.holds,
            read=self.read,
            labels_from=tuple(self.kinds),
            own_names=any(set(own) != {label} for label, own in self.meaning.items()),
        )

    def holds(self, folder: Path) -> bool:
        """Whether a table of one of the names lies in a folder, and has the columns."""
        return bool(self._tables(folder))

    def _tables(self, folder: Path) -> dict[str, tuple[Table, Path]]:
        found = {}
        for source, tables in self.tables.items():
            there = [(table, path) for table in tables for path in table.find(folder)]
            if there:
                found[source] = there[0]
        return found

    def read(self, folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
        """The tables' rows. Of `config`, `label_names` and `labels_from` matter.

        Raises:
            DataError: a table cannot be read or lacks columns, of all tables at once; or a path
                climbs out of the folder.
        """
        found = self._tables(folder)
        if not found:
            looked = [
                f"{one.name} with {', '.join(one.columns)}"
                for tables in self.tables.values()
                for one in tables
            ]
            raise DataError(f"{folder} holds no {' or '.join(looked)}: is this {self.title}?")
        steps = [
            partial(self._read_one, source, table, path, config, problems)
            for source, (table, path) in found.items()
        ]
        parts = all_of(steps)
        kind = self.kinds.get(config.labels_from or "")
        files = [file for part in parts for file in part.files]
        origin = own_origin(f"laid out as {self.title}", folder, files)
        rows = pd.concat([part.rows for part in parts], ignore_index=True)
        return SourceRows(
            dataset=self.name,
            folder=folder,
            tables=tuple(name for part in parts for name in part.names),
            # A copy says who made its labels by its columns: no counts are known to tell it by.
            labels_by={
                source: self.labels_by[source] if kind is None else kind.labels_by
                for source in found
            },
            origin=origin,
            rows=rows,
            official=_joined([part.part for part in parts]),
            readers=_joined([part.reader for part in parts]),
            blank=self.blanks,
            unused={name: names for part in parts for name, names in part.unused.items()},
            notes=(*self.notes, *(note for part in parts for note in part.notes)),
        )

    def _read_one(
        self, source: str, table: Table, path: Path, config: PrepareConfig, problems: Problems
    ) -> "_Part":
        opened = table.open(path, problems)
        given = opened.frame
        kind = self.kinds.get(config.labels_from or "")
        of_kind = given if kind is None else given[kind.rows(given)]
        left = (
            f"{len(given) - len(of_kind):,} of {len(given):,} rows of {path.name} are left out: "
            f"their labels are not by {kind.labels_by}"
            if kind is not None
            else ""
        )
        frame = of_kind.reset_index(drop=True)
        if self.shape is not None:
            frame = self.shape(frame, path.parent)
        first = _first_rows(of_kind, frame, table.columns[0])
        lines = Lines(path, first, opened.places)
        found = self.findings.read(frame, lines, problems)
        if config.label_names != "own":
            found = as_chexpert(found, self.meaning)
        rows = self._about(source, frame, lines, problems)
        # All at once: PadChest has 190 of its own names.
        rows = rows.join(pd.DataFrame(found.values, index=rows.index, columns=list(found.names)))
        nameless = (rows[["path", "patient_id"]] == "").any(axis=1).to_numpy(dtype=bool)
        problems.add("unreadable path", places(lines, nameless), "no image or patient", kept=False)
        good = ~(found.bad | nameless)
        used = (*table.columns, *table.optional, *found.columns)
        return _Part(
            rows=rows[good].reset_index(drop=True),
            part=_chosen(self.part, frame, good),
            reader=_chosen(self.reader, frame, good),
            files=opened.files,
            names=opened.names,
            unused=unused_columns(given, used, path) | opened.unused,
            notes=(*opened.notes, left) if left else opened.notes,
        )

    def _about(
        self, source: str, frame: pd.DataFrame, lines: Lines, problems: Problems
    ) -> pd.DataFrame:
        paths = self.path(frame).str.replace("\\", "/")
        refuse_climbing(paths, lines.path)
        patients = self.patient(frame)
        studies = paths if self.study is None else self.study(frame)
        position = self.view(frame).str.strip()
        ages = self.age(frame)
        return pd.DataFrame(
            {
                "path": paths,
                "patient_id": patients,
                "study_id": patients + "/" + studies,
                "view": position.str.lower().map(VIEWS).fillna("other"),
                "orientation": position.where(position.str.lower() != "frontal", ""),
                "sex": sexes(self.sex(frame), lines, problems),
                "age": years(ages, ages_in_years(ages), lines, problems),
                "source": source,
            },
            columns=list(ABOUT),
        )


@dataclass(frozen=True)
class _Part:
    """The rows of one table."""

    rows: pd.DataFrame
    part: "pd.Series[str] | None"
    reader: "pd.Series[str] | None"
    files: tuple[Path, ...]
    names: tuple[str, ...]
    unused: dict[str, list[str]]
    notes: tuple[str, ...]


def _first_rows(given: pd.DataFrame, made: pd.DataFrame, image: str) -> NDArray[np.intp]:
    """Of each row that was made of a table's, the first of those: they are of one image."""
    if made[image].tolist() == given[image].tolist():
        return given.index.to_numpy(dtype=np.intp)
    ids = given[image].str.strip()
    first = pd.Series(given.index, index=ids)[~ids.duplicated().to_numpy()]
    rows: NDArray[np.intp] = first.loc[made[image].str.strip()].to_numpy(dtype=np.intp)
    return rows


def _chosen(
    cells: Cells | None, frame: pd.DataFrame, rows: NDArray[np.bool_]
) -> "pd.Series[str] | None":
    return None if cells is None else cells(frame)[rows].reset_index(drop=True)


def _joined(parts: "list[pd.Series[str] | None]") -> "pd.Series[str] | None":
    """The tables' cells, where any of them has some; those of the others are blank."""
    there = [part for part in parts if part is not None]
    return pd.concat(there, ignore_index=True) if there else None
