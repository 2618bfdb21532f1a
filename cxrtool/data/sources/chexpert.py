"""CheXpert's tables and folders to manifest rows (Irvin et al. 2019, arXiv 1901.07031).

Other data are laid out in the same way. Whether these are CheXpert's own, their counts say.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.origin import CHEXPERT, Origin, labellers, own_origin, published_origin
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.published import ROWS, LabelledRows, is_chexperts
from cxrtool.data.sources.rows import (
    SourceRows,
    all_of,
    label_cells,
    open_table,
    places,
    refuse_climbing,
    sexes,
    years,
)

NAME = "chexpert"
LOOKS_FOR = "train.csv"
FOLDERS = ("CheXpert-v1.0-small", "CheXpert-v1.0")
LABELS_BY = {"train": "labeler of train.csv", "valid": "radiologists of valid.csv"}
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
VIEWS = {"frontal": "frontal", "lateral": "lateral"}
# The archive is unpacked anywhere: whatever stands before the table's own folder is not ours.
_PATH = (
    r"(?:^|/)(?P<path>(?:train|valid|test)/(?P<patient_id>patient\d+)"
    r"/(?P<study>study\d+)/view\d+_(?P<view>frontal|lateral)\.[A-Za-z]+)$"
)


def holds(folder: Path) -> bool:
    """Whether a folder is a download of CheXpert."""
    return (folder / "train.csv").is_file()


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read train.csv and, where it is there, valid.csv. Nothing of `config` matters here.

    Raises:
        DataError: a table cannot be read or lacks columns, a path climbs out of the folder, or
            no path looks like CheXpert's; of both tables at once.
    """
    names = [name for name in ("train", "valid") if (folder / f"{name}.csv").is_file()]
    parts = all_of([partial(_read_one, folder / f"{name}.csv", name, problems) for name in names])
    tables = {name: f"{name}.csv" for name in names}
    origin = _origin(folder, dict(zip(names, parts, strict=True)))
    return SourceRows(
        dataset=NAME,
        folder=folder,
        tables=tuple(tables.values()),
        labels_by=labellers(origin, {name: LABELS_BY[name] for name in names}, tables),
        origin=origin,
        rows=pd.concat(parts, ignore_index=True),
    )


def _origin(folder: Path, parts: Mapping[str, pd.DataFrame]) -> Origin:
    """CheXpert, where the counts of its tables say so; else whoever laid theirs out like it."""
    own = [name for name, rows in parts.items() if is_chexperts(name, _labelled(rows))]
    if len(own) == len(parts):
        return published_origin(CHEXPERT, own)
    others = [
        f"{name}.csv: {counted(len(rows), 'row')} where CheXpert's has {ROWS[name]:,}"
        if len(rows) != ROWS[name]
        else f"{name}.csv: other labels or patients"
        for name, rows in parts.items()
        if name not in own
    ]
    description = f"laid out as CheXpert, but not its published tables ({'; '.join(others)})"
    tables = [folder / f"{name}.csv" for name in parts]
    return own_origin(description, folder, tables, published=own)


def _labelled(rows: pd.DataFrame) -> LabelledRows:
    numbers = pd.to_numeric(rows["patient_id"].str.removeprefix("patient"), errors="coerce")
    return LabelledRows(
        numbers=numbers.fillna(0).clip(0, 10**9).to_numpy().astype(np.int64),
        frontal=(rows["view"] == "frontal").to_numpy(dtype=bool),
        labels=CHEXPERT_LABELS,
        raw=rows[list(CHEXPERT_LABELS)].to_numpy(dtype=float),
    )


def _read_one(path: Path, name: str, problems: Problems) -> pd.DataFrame:
    frame = open_table(path, (*COLUMNS, *CHEXPERT_LABELS), problems)
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
    view = frame["Frontal/Lateral"].str.strip().str.lower().map(VIEWS)
    other = (view.fillna("") != parts["view"]).to_numpy(dtype=bool) & ~unreadable
    told = frame["Frontal/Lateral"] + " in the table, " + frame["Path"]
    problems.add("view contradicts path", places(path, other), told[other].tolist(), kept=True)
    rows = pd.DataFrame(
        {
            "path": parts["path"],
            "patient_id": parts["patient_id"],
            "study_id": parts["patient_id"] + "/" + parts["study"],
            "view": view.fillna(parts["view"]),
            "orientation": frame["AP/PA"].str.strip(),
            "sex": sexes(frame["Sex"], path, problems),
            "age": years(
                frame["Age"], pd.to_numeric(frame["Age"], errors="coerce"), path, problems
            ),
            "source": name,
        },
        columns=list(ABOUT),
    )
    rows[list(CHEXPERT_LABELS)] = values
    good: pd.DataFrame = rows[~(unreadable | bad)]
    return good
