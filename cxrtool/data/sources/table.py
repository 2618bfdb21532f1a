"""A table of one's own to manifest rows: the options say which column is what."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, UsageError, first_few, unknown_name
from cxrtool.core.origin import own_origin
from cxrtool.core.unicode_forms import normal
from cxrtool.data.label_names import match_columns, match_labels
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT, DESCRIBING, RESERVED
from cxrtool.data.prediction_rows import SEPARATOR
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import (
    Source,
    SourceRows,
    ages_in_years,
    label_cells,
    one_spelling,
    open_table,
    places,
    refuse_climbing,
    sexes,
    unused_columns,
    years,
)

NAME = "csv"
LOOKS_FOR = "*.csv[.gz]"
READER = "reader"
"""Who gave a row's labels: a manifest has no such column."""
COLUMNS = (*(name for name in DESCRIBING if name != "source"), READER)
"""What a table's column can be."""
FRONTAL = ("AP", "PA")
VIEWS = dict.fromkeys(("FRONTAL", *FRONTAL), "frontal") | dict.fromkeys(
    ("LATERAL", "LL", "RL"), "lateral"
)
# Nothing, a folder, or an absolute path (Windows' way too).
_NO_IMAGE = r"^\.?$|/$|^/|^[A-Za-z]:"


def holds(folder: Path) -> bool:
    """Whether this is a CSV, or a folder with exactly one."""
    return len(_tables(folder)) == 1


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read a CSV, or the only one in a folder, as `columns` and `label_columns` of `config` say.

    Paths start at `images` of `config`; where that is None, at the table's own folder.

    Raises:
        DataError: there is not one table, it cannot be read, it has no column for the path, the
            patient or any label, or a path in it climbs out of the folder.
        UsageError: an option that cannot be understood, or names a column that is not there.
    """
    path = folder if folder.is_file() else _only_table(folder)
    images = path.parent if config.images is None else config.images
    if not images.is_dir():
        raise DataError(f"--images {images} is not a folder: name the one where the paths start")
    columns = _pairs("--columns", config.columns)
    labels = _pairs("--label-columns", config.label_columns, alone=True)
    _check_names(columns, labels)
    frame = open_table(path, (), problems)
    frame.columns = pd.Index([normal(str(column)) for column in frame.columns])
    columns, labels = _found(columns, labels, frame, path)
    used = tuple(columns.values())
    reader = columns.pop(READER, None)
    rows = _about(frame, columns, images, path, problems)
    values, bad = label_cells(frame, list(labels.values()), path, problems)
    rows[list(labels)] = values
    bad |= (rows[["path", "patient_id"]] == "").any(axis=1).to_numpy(dtype=bool)
    return SourceRows(
        dataset=NAME,
        folder=images,
        tables=(path.name,),
        labels_by={"train": f"the table {path.name}"},
        origin=own_origin(f"the table {path.name}", images, [path]),
        rows=rows[~bad].reset_index(drop=True),
        readers=None if reader is None else frame[reader].str.strip()[~bad].reset_index(drop=True),
        unused=unused_columns(frame, (*used, *labels.values()), path),
        notes=() if "view" in columns else (f"{path.name} names no views: all count as frontal",),
    )


def _tables(place: Path) -> list[Path]:
    # Not the `._name.csv` that macOS leaves beside a file.
    inside = [path for path in place.glob("*") if not path.name.startswith(".")]
    candidates = sorted(inside) if place.is_dir() else [place]
    ends = (".csv", ".csv.gz")
    return [path for path in candidates if path.name.lower().endswith(ends) and path.is_file()]


def _only_table(folder: Path) -> Path:
    tables = _tables(folder)
    if not tables:
        raise DataError(f"{folder} holds no CSV: name the table, `cxrtool prepare TABLE.csv`")
    if len(tables) > 1:
        raise DataError(
            f"{folder} holds {len(tables)} CSVs ({first_few([path.name for path in tables], 10)}): "
            f"name one, such as `cxrtool prepare {tables[0]}`"
        )
    return tables[0]


def _pairs(option: str, text: str | None, *, alone: bool = False) -> dict[str, str]:
    """`a=x,b=y` as {a: x, b: y}; where it may stand `alone`, `a` is `a=a`."""
    pairs: dict[str, str] = {}
    for pair in [] if text is None else _cells(text):
        name, mark, column = (part.strip() for part in pair.partition("="))
        if not name or not (column or (alone and not mark)):
            raise UsageError(f"{option} {text}: {pair!r} is not {'NAME or ' * alone}NAME=COLUMN")
        if name in pairs:
            raise UsageError(f"{option} {text}: {name} is given twice")
        pairs[name] = column or name
    return pairs


def _cells(line: str) -> list[str]:
    """An option's parts; as in a line of CSV, a name that holds a comma can stand in quotes."""
    return next(csv.reader([normal(line)], skipinitialspace=True)) or [""]


def _check_names(columns: Mapping[str, str], labels: Mapping[str, str]) -> None:
    for name in columns:
        if name not in COLUMNS:
            raise UsageError("--columns: " + unknown_name("manifest column", name, COLUMNS))
    taken = (*DESCRIBING, *RESERVED)
    for label in labels:
        # Labels are columns of the manifest and of other tables, beside these.
        if label in taken or SEPARATOR in label:
            raise UsageError(
                f"--label-columns: a label cannot be named {label!r} (none of {', '.join(taken)}, "
                f"no {SEPARATOR!r}): give NAME={labels[label]}"
            )


def _found(
    columns: Mapping[str, str], labels: Mapping[str, str], frame: pd.DataFrame, path: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """The columns that are named and those of the very name; what is missing is told at once."""
    there = [str(column) for column in frame.columns]
    for option, named in (("--columns", columns), ("--label-columns", labels)):
        for column in named.values():
            if column not in there:
                told = unknown_name(f"column of {path.name}", column, there)
                raise UsageError(f"{option}: {told}")
    found = match_columns(COLUMNS, there, str(path)) | dict(columns)
    labels = labels or match_labels(CHEXPERT_LABELS, there, str(path))
    _refuse_missing(found, labels, there, path)
    return found, dict(labels)


def _refuse_missing(
    columns: Mapping[str, str], labels: Mapping[str, str], there: list[str], path: Path
) -> None:
    missing = []
    if "path" not in columns:
        missing.append("no column path: `--columns path=COLUMN` says which names the images")
    if "patient_id" not in columns:
        missing.append(
            "no column patient_id, and images of one patient must stay together: `--columns "
            "patient_id=COLUMN` says which names the patient, `--columns "
            f"patient_id={columns.get('path', 'path')}` declares every image its own patient"
        )
    if not labels:
        missing.append(
            "no column that is named as a CheXpert label: `--label-columns NAME,NAME=COLUMN` says "
            "which are labels"
        )
    if missing:
        told = "\n".join(f"{path} has {what}" for what in missing)
        raise DataError(f"{told}\nThe table's columns are {first_few(there, 30)}")


def _about(
    frame: pd.DataFrame, columns: Mapping[str, str], images: Path, path: Path, problems: Problems
) -> pd.DataFrame:
    """The rows without labels; `path` or `patient_id` is blank in those that cannot be used."""
    cells = pd.DataFrame("", index=frame.index, columns=list(ABOUT), dtype="str")
    for name, column in columns.items():
        cells[name] = frame[column].str.strip()
    cells["source"] = "train"
    cells["patient_id"] = one_spelling(cells["patient_id"], path, problems)
    cells["path"] = _paths(frame[columns["path"]], images, path, problems)
    nobody = ((cells["patient_id"] == "") & (cells["path"] != "")).to_numpy(dtype=bool)
    problems.add("no patient", places(path, nobody), cells["path"][nobody].tolist(), kept=False)
    cells["study_id"] = _studies(cells, path, problems, given="study_id" in columns)
    if "view" in columns:
        if "orientation" not in columns:
            upper = cells["view"].str.upper()
            cells["orientation"] = upper.where(upper.isin(FRONTAL), "")
        cells["view"] = _views(cells["view"], path, problems)
    else:
        cells["view"] = "frontal"
    cells["sex"] = sexes(cells["sex"], path, problems)
    return cells.assign(age=years(cells["age"], ages_in_years(cells["age"]), path, problems))


def _paths(
    given: "pd.Series[str]", images: Path, path: Path, problems: Problems
) -> "pd.Series[str]":
    """Paths from the images' folder, each written in one way only; blank where it is none."""
    paths = given.str.strip().str.replace("\\", "/")
    refuse_climbing(paths, path)
    paths = paths.str.replace(r"/(?:\.?/)+", "/", regex=True)
    for folder in (images.absolute(), images.resolve()):
        paths = paths.str.removeprefix(folder.as_posix().rstrip("/") + "/")
    paths = paths.str.removeprefix("./")
    bad = paths.str.contains(_NO_IMAGE, regex=True).to_numpy(dtype=bool)
    problems.add("unreadable path", places(path, bad), given[bad].tolist(), kept=False)
    return paths.mask(bad, "")


def _studies(
    cells: pd.DataFrame, path: Path, problems: Problems, *, given: bool
) -> "pd.Series[str]":
    """The studies' names, each beginning with the patient's; without a name an image is its own."""
    patients, studies = cells["patient_id"], cells["study_id"]
    # Numbered by path: another order of the rows gives the same names.
    order = pd.Series(pd.factorize(cells["path"], sort=True)[0], index=cells.index)
    ranks = order.where(cells["path"] != "").groupby(patients).rank(method="dense")
    number = ranks.fillna(0).astype(int).astype(str)
    if not given:
        return patients + "/study" + number
    blank = (studies == "").to_numpy(dtype=bool)
    problems.add("no study", places(path, blank), cells["path"][blank].tolist(), kept=True)
    pairs = zip(patients, studies, strict=True)
    whole = np.array([study.startswith(f"{patient}/") for patient, study in pairs])
    return studies.where(whole, patients + "/" + studies.mask(blank, "unnamed" + number))


def _views(given: "pd.Series[str]", path: Path, problems: Problems) -> "pd.Series[str]":
    views = given.str.upper().map(VIEWS)
    other = views.isna().to_numpy(dtype=bool)
    problems.add("odd view", places(path, other), given[other].tolist(), kept=True)
    return views.fillna("other")


SOURCE = Source(name=NAME, looks_for=LOOKS_FOR, holds=holds, read=read)
