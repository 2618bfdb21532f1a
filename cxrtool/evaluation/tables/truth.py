"""Anybody's table of truth: its labels, patients, studies, and what else it says of its rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError, first_few, unknown_name
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import holds_shares, label_values, parse_labels, readers_of
from cxrtool.data.published import PARTS, LabelledRows, is_chexperts
from cxrtool.data.sources.rows import SEXES
from cxrtool.evaluation.tables.columns import (
    MEANS,
    is_index,
    may_be_label,
    named_columns,
    other_names,
    read_columns,
)
from cxrtool.evaluation.tables.keys import (
    GENERIC,
    IMAGE,
    KNOWN,
    PATIENTS,
    STUDY,
    KeyColumn,
    Texts,
    fold,
    key_columns,
    key_name,
    patient_cells,
    refuse_blank,
    refuse_repeated,
)
from cxrtool.evaluation.tables.rows import Side

VIEWS = {
    **{"frontal": "frontal", "ap": "frontal", "pa": "frontal"},
    **{"lateral": "lateral", "ll": "lateral", "rl": "lateral"},
}
_PATIENT = re.compile(r"(?:^|/)(patient\d+|p\d{8})(?:/|_|$)|^(\d{8})_\d{3}(?:\.\w+)?$")
_PART = re.compile(r"(?:(?:^|/)(train|valid|test)/)?patient(\d{5})/study\d+(?:/|$)")
_VIEW = re.compile(r"/view\d+_(frontal|lateral)\.\w+$")


@dataclass(frozen=True, kw_only=True)
class TruthTable:
    """A table of truth: a row an image or a study."""

    path: Path
    unit: str
    """What a row is: "image" or "study"."""
    keys: list[str]
    """(n,) what names the rows, unique; CheXpert's paths from the patient on."""
    patients: NDArray[np.str_]
    """(n,) each row its own where none can be told."""
    patients_known: bool
    """Whether every row's patient could be told."""
    studies: NDArray[np.str_] | None
    """(n,) or None where they are not known."""
    labels: tuple[str, ...]
    raw: NDArray[np.float32]
    """(n, labels) 1, 0, -1, and NaN for a blank; of a soft workspace's manifest also shares."""
    about: pd.DataFrame
    """(n, *) the other columns: `sex`, `age` (float), `view` and `orientation` as the manifest
    names them, the rest as text under its own name."""
    views: tuple[str, ...]
    """Those that occur, () where they are not known."""
    dataset_part: str | None
    """The part of CheXpert whose own table this is, by its counts: train, valid, test."""
    laid_out: str | None
    """The part of CheXpert that all rows are of by their paths alone, as others' may be, too."""
    notes: tuple[str, ...]
    """What the user should know of how it was read."""
    side: Side
    """The columns by which rows can be found."""
    readers: str | None = None
    """The rule by which several readers became one, where it is a manifest that says so."""


def read_truth_table(
    path: Path, key: str | None = None, labels: Sequence[str] | None = None
) -> TruthTable:
    """Read a table of labels.

    Args:
        path: a CSV, or one that is gzipped.
        key: the column that names the rows, as `--key` takes it; found by its name if None.
        labels: the labels' columns. If None, those that are named as CheXpert's, and others with
            nothing but 1, 0, -1 and blanks.

    Raises:
        DataError: the file cannot be read, has no label or no key, label values are none of
            these, or keys are blank or given twice.
        UsageError: `key` or one of `labels` is no column.
    """
    frame, notes = read_columns(path)
    name = key_name(key, list(frame.columns), path, truth=True)
    named = _label_columns(frame, name, labels, path)
    notes += other_names(named, path)
    texts = frame[list(named.values())]
    raw = label_values(texts, list(named.values()), path)
    others = [column for column in frame.columns if column not in named.values()]
    columns = _truth_keys(frame[others], name)
    first = _first_key(columns, name, others, path)
    columns.sort(key=lambda column: column is not first)
    patients, patients_known = _patients(frame, columns)
    about = _about(frame[others], columns)
    laid_out, numbers = _laid_out(columns)
    rows = LabelledRows(
        numbers=numbers,
        frontal=about["view"].eq("frontal").to_numpy(dtype=bool)
        if "view" in about
        else np.ones(len(frame), bool),
        labels=tuple(named),
        raw=raw,
    )
    return TruthTable(
        path=path,
        unit=first.unit,
        keys=_unique_keys(first),
        patients=patients,
        patients_known=patients_known,
        studies=_studies(columns),
        labels=tuple(named),
        raw=raw,
        about=about,
        views=_views(about),
        dataset_part=None if laid_out is None or not is_chexperts(laid_out, rows) else laid_out,
        laid_out=laid_out,
        notes=tuple(notes),
        side=Side(path=path, columns=columns, key=name, names=list(frame.columns)),
        readers=readers_of(path),
    )


def _label_columns(
    frame: pd.DataFrame, key: str | None, labels: Sequence[str] | None, path: Path
) -> dict[str, str]:
    """Each label's column, in the table's order."""
    columns = [str(column) for column in frame.columns if column != key]
    if labels is not None:
        named = named_columns(labels, columns, path)
        for label in labels:
            if label not in named:
                raise UsageError(unknown_name(f"label of {path.name}", label, columns))
        return named
    named = named_columns(CHEXPERT_LABELS, columns, path)
    rest = [column for column in columns if column not in named.values() and may_be_label(column)]
    values, wrong = parse_labels(frame, rest, shares=holds_shares(path))
    good = ~wrong.any(axis=0) & ~np.isnan(values).all(axis=0)
    named |= {rest[at]: rest[at] for at in np.flatnonzero(good)}
    if not named:
        raise DataError(
            f"{path} has no label: no column is named as one of CheXpert's or holds only 1, 0, -1 "
            f"and blanks. Its columns are {first_few(list(frame.columns), 30)}"
        )
    return dict(sorted(named.items(), key=lambda pair: columns.index(pair[1])))


def _truth_keys(frame: pd.DataFrame, key: str | None) -> list[KeyColumn]:
    """Columns with a name that keys have, and others whose cells are all different."""
    names = [str(column) for column in frame.columns]
    known = [name for name in names if fold(name) in KNOWN or name == key]
    rest = [name for name in names if name not in known and may_be_label(name)]
    other = [name for name in rest if frame[name].is_unique and (frame[name] != "").all()]
    return key_columns(frame, known + other)


def _first_key(
    columns: Sequence[KeyColumn], key: str | None, names: Sequence[str], path: Path
) -> KeyColumn:
    """The column that names the truth's rows."""
    own = [column for column in columns if column.images is None]
    if not own:
        raise DataError(
            f"{path} has no column that names its images or studies, such as path, Path, image or "
            f"Study: its other columns are {first_few(names, 30)}: name it with --key COLUMN"
        )
    good = [column for column in own if column.names_rows]
    named = [column for column in own if column.name == key]
    if named and named[0].unit == STUDY and any(column.unit == IMAGE for column in good):
        named = []  # a row an image, and the predictions name studies
    first = (named or [column for column in good if fold(column.name) not in GENERIC] or good)[:1]
    for column in first or own[:1]:
        refuse_blank(column, path)
        refuse_repeated(column.exact, column.name, path)
    return first[0]


def _unique_keys(column: KeyColumn) -> list[str]:
    """In one way of writing, unless that makes two of them the same."""
    normal = pd.Index(column.normal, dtype=object)
    return list(column.normal if normal.is_unique else column.exact)


def _patients(frame: pd.DataFrame, columns: Sequence[KeyColumn]) -> tuple[NDArray[np.str_], bool]:
    """Each row's patient by a column of their names, else by the key; else its own."""
    cells = patient_cells(frame)
    if cells is None:
        cells = _patients_of_keys(columns)
    known = cells != ""
    own = np.array([f"row {row}" for row in range(len(frame))], dtype=object)
    return np.where(known, cells, own).astype(np.str_), bool(known.all())


def _patients_of_keys(columns: Sequence[KeyColumn]) -> Texts:
    for column in columns:
        found = [_PATIENT.search(cell) for cell in column.normal]
        if any(found):
            return np.array([at[1] or at[2] if at else "" for at in found], dtype=object)
    return np.full(len(columns[0].exact), "", dtype=object)


def _studies(columns: Sequence[KeyColumn]) -> NDArray[np.str_] | None:
    if columns[0].unit == STUDY:
        return np.array(_unique_keys(columns[0]), dtype=np.str_)
    for column in columns:
        if column.unit == STUDY and column.filled:
            return np.asarray(column.normal, dtype=np.str_)
    return None


def _about(frame: pd.DataFrame, columns: Sequence[KeyColumn]) -> pd.DataFrame:
    """The columns that are neither label nor key, under the manifest's names."""
    about: dict[str, NDArray[np.object_]] = {}
    for column in map(str, frame.columns):
        folded = fold(column)
        if folded in (*PATIENTS, *KNOWN) or column == columns[0].name or is_index(column):
            continue
        name = MEANS.get(folded, column)
        cells: Texts = frame[column].str.strip().to_numpy(dtype=object)
        about[column if name in about else name] = cells
    result = pd.DataFrame(about, index=frame.index)
    if "sex" in result:
        result["sex"] = [SEXES.get(cell.lower(), cell) for cell in result["sex"]]
    if "age" in result:
        # NIH's first release writes 058Y.
        years = [cell.upper().removesuffix("Y") for cell in result["age"]]
        result["age"] = pd.to_numeric(pd.Series(years), errors="coerce").astype(float)
    views = _each_view(result, columns)
    return result if views is None else result.assign(view=views)


def _each_view(about: pd.DataFrame, columns: Sequence[KeyColumn]) -> list[str] | None:
    """Each row's view by its column, else by how the patient stood, else by the image's name."""
    for name in ("view", "orientation"):
        if name in about:
            views = [VIEWS.get(cell.lower(), cell.lower()) for cell in about[name]]
            if name == "view" or set(views) & set(VIEWS.values()):
                return views
    for column in columns:
        found = [_VIEW.search(cell) for cell in column.normal]
        if any(found):
            return [at[1] if at else "" for at in found]
    return None


def _views(about: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted(set(about["view"]) - {""})) if "view" in about else ()


def _laid_out(columns: Sequence[KeyColumn]) -> tuple[str | None, NDArray[np.int64]]:
    """The part of CheXpert that all rows are of, by the patients' numbers and the folders.

    Also the numbers: (n,), 0 where there is none; of no rows, where none is CheXpert's.
    """
    folders: set[str] = set()
    numbers = np.zeros(0, np.int64)
    for column in columns:
        if column.shaped:
            found = [_PART.search(cell.replace("\\", "/")) for cell in column.exact]
            folders |= {at[1] for at in found if at and at[1]}
            of_column = np.array([int(at[2]) if at else 0 for at in found], np.int64)
            numbers = of_column if not len(numbers) else np.minimum(numbers, of_column)
    for part, (low, high) in PARTS.items():
        inside = len(numbers) and low <= numbers.min() and numbers.max() <= high
        if inside and folders <= {part}:
            return part, numbers
    return None, numbers
