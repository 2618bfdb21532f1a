"""CheXpert's own tables and folders to manifest rows (Irvin et al. 2019, arXiv 1901.07031)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.errors import DataError, first_few
from cxrtool.labels import CHEXPERT_LABELS
from cxrtool.manifest import ABOUT, label_values, line_numbers, read_table

FOLDERS = ("CheXpert-v1.0-small", "CheXpert-v1.0")
OLDEST = 120
"""Ages beyond are none: the cell counts as blank."""
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
# The archive is unpacked anywhere: whatever stands before the table's own folder is not ours.
_PATH = (
    r"(?:^|/)(?P<path>(?:train|valid|test)/(?P<patient_id>patient\d+)"
    r"/(?P<study>study\d+)/view\d+_(?:frontal|lateral)\.[A-Za-z]+)$"
)


@dataclass(frozen=True)
class SourceRows:
    """A data set's tables as manifest rows, and the rows that could not be read as such."""

    folder: Path
    tables: tuple[str, ...]
    rows: pd.DataFrame
    """The manifest's columns, in the tables' order."""
    problems: pd.DataFrame
    """Columns `kind, where, detail`, a row a problem."""


def find_chexpert(given: Path | None, here: Path) -> Path:
    """The folder that holds train.csv: the given one, or one of CheXpert's names near `here`.

    Raises:
        DataError: there is none; the message says where was looked.
    """
    if given is not None:
        places = [given, *(given / name for name in FOLDERS)]
    else:
        places = [base / name for base in (here, here / "data") for name in FOLDERS]
    for place in places:
        if (place / "train.csv").is_file():
            return place
    if given is not None and not given.is_dir():
        raise DataError(f"{given} is not a folder: give the one that holds CheXpert's train.csv")
    looked = ", ".join(str(place / "train.csv") for place in places)
    raise DataError(
        f"no CheXpert data found (looked for {looked}): "
        "name its folder, `cxrtool prepare DATA`, or set CXRTOOL_DATA"
    )


def read_chexpert(folder: Path) -> SourceRows:
    """Read train.csv and, where it is there, valid.csv.

    Raises:
        DataError: a column is missing, or a label value is none of 1, 0, -1 and blank.
    """
    names = [name for name in ("train", "valid") if (folder / f"{name}.csv").is_file()]
    parts = [_read_one(folder / f"{name}.csv", name) for name in names]
    rows = pd.concat([rows for rows, _ in parts], ignore_index=True)
    problems = pd.concat([problems for _, problems in parts], ignore_index=True)
    twice = rows["path"].duplicated()
    problems = pd.concat(
        [problems, problem_rows("duplicate path", rows["path"][twice], "kept once")],
        ignore_index=True,
    )
    return SourceRows(folder, tuple(names), rows[~twice].reset_index(drop=True), problems)


def problem_rows(kind: str, where: "pd.Series[str]", detail: str) -> pd.DataFrame:
    """Some problems of one kind as rows of the table of problems."""
    return pd.DataFrame({"kind": kind, "where": where.astype(str), "detail": detail}, dtype=str)


def _read_one(path: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = read_table(path, (*COLUMNS, *CHEXPERT_LABELS))
    values = label_values(frame, CHEXPERT_LABELS, str(path))
    parts = frame["Path"].str.replace("\\", "/").str.extract(_PATH)
    unreadable = parts["path"].isna().to_numpy(dtype=bool)
    if unreadable.all():
        raise DataError(
            f"{path}: no Path looks like train/patient00001/study1/view1_frontal.jpg "
            f"({first_few(frame['Path'].tolist())}): is this CheXpert's table?"
        )
    age = pd.to_numeric(frame["Age"], errors="coerce")
    rows = pd.DataFrame(
        {
            "path": parts["path"],
            "patient_id": parts["patient_id"],
            "study_id": parts["patient_id"] + "/" + parts["study"],
            "view": frame["Frontal/Lateral"].str.strip().str.lower(),
            "orientation": frame["AP/PA"].str.strip(),
            "sex": frame["Sex"].str.strip(),
            "age": age.where(age.between(0, OLDEST)).round().astype("Int64"),
            "source": name,
        },
        columns=list(ABOUT),
    )
    rows[list(CHEXPERT_LABELS)] = values.astype(np.float32)
    lines = [f"{path.name} line {line}" for line in line_numbers(unreadable)]
    detail = frame["Path"][unreadable].to_numpy()
    problems = pd.DataFrame({"kind": "unreadable path", "where": lines, "detail": detail})
    return rows[~unreadable], problems
