"""CheXpert's own tables and folders to manifest rows (Irvin et al. 2019, arXiv 1901.07031)."""

from functools import partial
from pathlib import Path

import pandas as pd

from cxrtool.config import PrepareConfig
from cxrtool.errors import DataError, first_few
from cxrtool.findings import Findings
from cxrtool.labels import CHEXPERT_LABELS
from cxrtool.manifest import ABOUT
from cxrtool.sources.rows import (
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
PUBLISHED = {"train": 223_414, "valid": 234}
"""The rows of the published tables."""
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


def read(folder: Path, config: PrepareConfig, findings: Findings) -> SourceRows:
    """Read train.csv and, where it is there, valid.csv. Nothing of `config` matters here.

    Raises:
        DataError: a table cannot be read or lacks columns, a path climbs out of the folder, or
            no path looks like CheXpert's; of both tables at once.
    """
    names = [name for name in ("train", "valid") if (folder / f"{name}.csv").is_file()]
    parts = all_of([partial(_read_one, folder / f"{name}.csv", name, findings) for name in names])
    return SourceRows(
        dataset=NAME,
        folder=folder,
        tables=tuple(f"{name}.csv" for name in names),
        labels_by={name: LABELS_BY[name] for name in names},
        rows=pd.concat(parts, ignore_index=True),
    )


def _read_one(path: Path, name: str, findings: Findings) -> pd.DataFrame:
    frame = open_table(path, (*COLUMNS, *CHEXPERT_LABELS), findings)
    if PUBLISHED[name] / 2 < len(frame) < PUBLISHED[name]:
        few = f"{len(frame):,} of the {PUBLISHED[name]:,} published rows: is the copy complete?"
        findings.add("rows missing", [path.name], few, kept=True)
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
    findings.add("unreadable path", where, frame["Path"][unreadable].tolist(), kept=False)
    values, bad = label_cells(frame, CHEXPERT_LABELS, path, findings)
    view = frame["Frontal/Lateral"].str.strip().str.lower().map(VIEWS)
    other = (view.fillna("") != parts["view"]).to_numpy(dtype=bool) & ~unreadable
    told = frame["Frontal/Lateral"] + " in the table, " + frame["Path"]
    findings.add("view contradicts path", places(path, other), told[other].tolist(), kept=True)
    rows = pd.DataFrame(
        {
            "path": parts["path"],
            "patient_id": parts["patient_id"],
            "study_id": parts["patient_id"] + "/" + parts["study"],
            "view": view.fillna(parts["view"]),
            "orientation": frame["AP/PA"].str.strip(),
            "sex": sexes(frame["Sex"], path, findings),
            "age": years(
                frame["Age"], pd.to_numeric(frame["Age"], errors="coerce"), path, findings
            ),
            "source": name,
        },
        columns=list(ABOUT),
    )
    rows[list(CHEXPERT_LABELS)] = values
    good: pd.DataFrame = rows[~(unreadable | bad)]
    return good
