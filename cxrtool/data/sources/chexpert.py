"""CheXpert's tables and folders to manifest rows (Irvin et al. 2019, arXiv 1901.07031).

Other data are laid out in the same way. Whether these are CheXpert's own, their counts say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.core.config import PrepareConfig
from cxrtool.core.csv_tables import read_header
from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.origin import CHEXPERT, Origin, labellers, own_origin, published_origin
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.published import ROWS, LabelledRows, is_chexperts
from cxrtool.data.sources.rows import (
    Source,
    SourceRows,
    all_of,
    label_cells,
    open_table,
    places,
    refuse_climbing,
    sexes,
    unused_columns,
    years,
)

NAME = "chexpert"
LOOKS_FOR = "train.csv"
FOLDERS = ("CheXpert-v1.0-small", "CheXpert-v1.0")
BATCHES = "CheXpert-v1.0 batch *"
"""Folders of the archives as they are handed out today; the tables are in one of them."""
LABELS_BY = {
    "train": "labeler of train.csv",
    "valid": "radiologists of valid.csv",
    "test": "five radiologists, the majority of their votes",
}
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
TEST_NAME = "chexlocalize"
TEST_TABLES = {"test": "test_labels.csv", "valid": "val_labels.csv"}
"""As CheXlocalize (Saporta et al. 2022) hands out the labels that radiologists gave; without sex,
age and views."""
VIEWS = {"frontal": "frontal", "lateral": "lateral"}
# The archive is unpacked anywhere: whatever stands before the table's own folder is not ours.
_PATH = (
    r"(?:^|/)(?P<path>(?:(?:train|valid|val|test)/)?(?P<patient_id>patient\d+)"
    r"/(?P<study>study\d+)/view\d+_(?P<view>frontal|lateral)\.[A-Za-z]+)$"
)


def holds(folder: Path) -> bool:
    """Whether a folder is a download of CheXpert; others have a train.csv, too."""
    table = _find(folder, "train.csv")
    return table is not None and "image_id" not in read_header(table)


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read train.csv and, where it is there, valid.csv. Nothing of `config` matters here.

    Raises:
        DataError: a table cannot be read or lacks columns, a path climbs out of the folder, or
            no path looks like CheXpert's; of both tables at once.
    """
    found = {name: _find(folder, f"{name}.csv") for name in ("train", "valid")}
    tables = {name: path for name, path in found.items() if path is not None}
    return _read_tables(folder, NAME, tables, COLUMNS, problems)


def holds_test(folder: Path) -> bool:
    """Whether a folder holds the labels that radiologists gave, and no train.csv."""
    there = any((folder / name).is_file() for name in TEST_TABLES.values())
    return there and not holds(folder)


def read_test(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read test_labels.csv, or val_labels.csv where that is alone. Raises as `read`."""
    tables = {source: folder / name for source, name in TEST_TABLES.items()}
    source = next((source for source, path in tables.items() if path.is_file()), None)
    if source is None:
        raise DataError(f"{folder} holds no {' or '.join(TEST_TABLES.values())}")
    rows = _read_tables(folder, TEST_NAME, {source: tables[source]}, COLUMNS[:1], problems)
    if source == "test" and tables["valid"].is_file():
        left = "val_labels.csv is not read: its labels are those of CheXpert's valid.csv"
        return replace(rows, notes=(left,))
    return rows


def _find(folder: Path, name: str) -> Path | None:
    """A table in the folder, or in one of its batches."""
    places = [folder, *sorted(folder.glob(BATCHES))]
    return next((place / name for place in places if (place / name).is_file()), None)


def _read_tables(
    folder: Path,
    dataset: str,
    tables: Mapping[str, Path],
    columns: Sequence[str],
    problems: Problems,
) -> SourceRows:
    """The rows of tables by the source (train, valid, test) that each is."""
    steps = [partial(_read_one, path, name, columns, problems) for name, path in tables.items()]
    parts = dict(zip(tables, all_of(steps), strict=True))
    origin = _origin(tables, {name: rows for name, (rows, _) in parts.items()})
    names = {name: path.name for name, path in tables.items()}
    return SourceRows(
        dataset=dataset,
        folder=folder,
        tables=tuple(names.values()),
        labels_by=labellers(origin, {name: LABELS_BY[name] for name in tables}, names),
        origin=origin,
        rows=pd.concat([rows for rows, _ in parts.values()], ignore_index=True),
        unused={name: names for _, unused in parts.values() for name, names in unused.items()},
    )


def _origin(tables: Mapping[str, Path], parts: Mapping[str, pd.DataFrame]) -> Origin:
    """CheXpert, where the counts of its tables say so; else whoever laid theirs out like it."""
    own = [name for name, rows in parts.items() if is_chexperts(name, _labelled(rows))]
    if len(own) == len(parts):
        return published_origin(CHEXPERT, own)
    others = [
        f"{tables[name].name}: {counted(len(rows), 'row')} where CheXpert's has {ROWS[name]:,}"
        if len(rows) != ROWS[name]
        else f"{tables[name].name}: other labels or patients"
        for name, rows in parts.items()
        if name not in own
    ]
    description = f"laid out as CheXpert, but not its published tables ({'; '.join(others)})"
    folder = next(iter(tables.values())).parent
    return own_origin(description, folder, tables.values(), published=own)


def _labelled(rows: pd.DataFrame) -> LabelledRows:
    numbers = pd.to_numeric(rows["patient_id"].str.removeprefix("patient"), errors="coerce")
    return LabelledRows(
        numbers=numbers.fillna(0).clip(0, 10**9).to_numpy().astype(np.int64),
        frontal=(rows["view"] == "frontal").to_numpy(dtype=bool),
        labels=CHEXPERT_LABELS,
        raw=rows[list(CHEXPERT_LABELS)].to_numpy(dtype=float),
    )


def _read_one(
    path: Path, name: str, columns: Sequence[str], problems: Problems
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The rows of a table, and which of its columns were not used."""
    frame = open_table(path, columns, problems, labels=CHEXPERT_LABELS)
    if ROWS[name] / 2 < len(frame) < ROWS[name]:
        few = f"{len(frame):,} of the {ROWS[name]:,} published rows: is the copy complete?"
        problems.add("rows missing", [path.name], few, kept=True)
    paths = frame["Path"].str.replace("\\", "/")
    refuse_climbing(paths, path)
    parts = paths.str.extract(_PATH)
    unreadable = parts["path"].isna().to_numpy(dtype=bool)
    if unreadable.all():
        raise DataError(
            f"{path}: no Path looks like train/patient00001/study1/view1_frontal.jpg "
            f"({first_few(frame['Path'].tolist())}): is this CheXpert's table?"
        )
    where = places(path, unreadable)
    problems.add("unreadable path", where, frame["Path"][unreadable].tolist(), kept=False)
    values, bad = label_cells(frame, CHEXPERT_LABELS, path, problems)
    rows = pd.DataFrame(
        {
            "path": parts["path"],
            "patient_id": parts["patient_id"],
            "study_id": parts["patient_id"] + "/" + parts["study"],
            "view": parts["view"],
            "source": name,
            **_about(frame, parts["view"].mask(unreadable), path, problems),
        },
        columns=list(ABOUT),
    )
    rows[list(CHEXPERT_LABELS)] = values
    good: pd.DataFrame = rows[~(unreadable | bad)]
    return good, unused_columns(frame, (*COLUMNS, *CHEXPERT_LABELS), path)


def _about(
    frame: pd.DataFrame, views: "pd.Series[str]", path: Path, problems: Problems
) -> dict[str, "pd.Series[str] | pd.Series[int]"]:
    """What the table says of each image, beside the path's view; the test table says nothing."""
    if "Frontal/Lateral" not in frame:
        blank = pd.Series("", index=frame.index)
        return {"orientation": blank, "sex": blank, "age": pd.Series(pd.NA, frame.index, "Int64")}
    view = frame["Frontal/Lateral"].str.strip().str.lower().map(VIEWS)
    other = (view.fillna("") != views).to_numpy(dtype=bool) & views.notna().to_numpy(dtype=bool)
    told = frame["Frontal/Lateral"] + " in the table, " + frame["Path"]
    problems.add("view contradicts path", places(path, other), told[other].tolist(), kept=True)
    numbers = pd.to_numeric(frame["Age"], errors="coerce")
    return {
        "view": view.fillna(views),
        "orientation": frame["AP/PA"].str.strip(),
        "sex": sexes(frame["Sex"], path, problems),
        "age": years(frame["Age"], numbers, path, problems),
    }


SOURCE = Source(name=NAME, looks_for=LOOKS_FOR, holds=holds, read=read)
TEST_SOURCE = Source(
    name=TEST_NAME, looks_for=TEST_TABLES["test"], holds=holds_test, read=read_test
)
