"""MIMIC-CXR-JPG's tables to manifest rows (Johnson et al. 2019, arXiv 1901.07042)."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.origin import (
    MIMIC,
    WHOLE,
    Origin,
    is_whole,
    labellers,
    own_origin,
    published_origin,
)
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.repeated_rows import refuse_different_labels
from cxrtool.data.sources.labels_from import relabel
from cxrtool.data.sources.rows import Source, SourceRows, all_of, label_cells, open_table, places

NAME = "mimic"
LOOKS_FOR = "mimic-cxr-*-metadata.csv[.gz]"
METADATA, LABELS, SPLIT = "metadata", "chexpert", "split"
LABELERS = {
    "chexpert": "CheXpert labeler on MIMIC's reports",
    "negbio": "NegBio labeler on MIMIC's reports",
}
"""Whose labels there are, by their tables' names; the first is taken where it is there."""
TEST_LABELS = "test-set-labeled"
"""What a radiologist read off the reports of the test part, since release 2.1."""
COLUMNS: dict[str, tuple[str, ...]] = {
    METADATA: ("dicom_id", "subject_id", "study_id", "ViewPosition"),
    LABELS: ("subject_id", "study_id"),
    SPLIT: ("dicom_id", "split"),
}
VIEWS = {"AP": "frontal", "PA": "frontal", "LATERAL": "lateral", "LL": "lateral", "RL": "lateral"}
"""Of DICOM's view positions; an image of any other is neither frontal nor lateral."""
PARTS = {"train": "train", "validate": "valid", "test": "test"}
# Nothing else may stand in a path: `..` would lead out of the data folder.
_NUMBER, _DICOM = "[0-9]{2,}", "[0-9A-Za-z-]+"


def holds(folder: Path) -> bool:
    """Whether a folder is a download of MIMIC-CXR-JPG."""
    return _find(folder, METADATA) is not None


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read the tables, each of the last release that is there.

    Of `config`, `labels_from` matters. Studies of the test part that a radiologist labelled have
    those labels, where that table is there. The table of the official parts may be missing. Sex
    and age are in MIMIC-IV's tables, not in these: they are blank.

    Raises:
        DataError: a table is missing, cannot be read or lacks columns, of all tables at once; or
            no row of the metadata has MIMIC's numbers.
    """
    names = [name for name in COLUMNS if name != SPLIT or _find(folder, name)]
    labeler = _labeler(folder, config.labels_from)
    opened = all_of([partial(_open, folder, name, labeler, problems) for name in names])
    tables = dict(zip(names, opened, strict=True))
    path, images = tables[METADATA]
    unreadable = _unreadable(images, path, problems)
    rows = _about(images)
    values, missing = _labels(rows["study_id"], *tables[LABELS], problems)
    rows[list(CHEXPERT_LABELS)] = values
    missing &= ~unreadable
    detail = (rows["study_id"][missing] + f": no usable row in {tables[LABELS][0].name}").tolist()
    problems.add("study without labels", places(path, missing), detail, kept=False)
    good = ~(unreadable | missing)
    dicoms = images["dicom_id"]
    official = _official(dicoms, *tables[SPLIT], problems) if SPLIT in tables else None
    origin = _origin(folder, path, rows, [table for table, _ in opened])
    labels_by = {"train": LABELERS[labeler]}
    source = SourceRows(
        dataset=NAME,
        folder=folder,
        tables=tuple(table.name for table, _ in opened),
        labels_by=labellers(origin, labels_by, {"train": tables[LABELS][0].name}),
        origin=origin,
        rows=rows[good].reset_index(drop=True),
        official=None if official is None else official[good].reset_index(drop=True),
    )
    by_hand = _find(folder, TEST_LABELS)
    return source if by_hand is None else relabel(source, by_hand, problems, needed=False)


def _labeler(folder: Path, asked: str | None) -> str:
    """The one that is asked for; otherwise the first whose table is there."""
    if asked in LABELERS:
        return asked
    return next((name for name in LABELERS if _find(folder, name) is not None), LABELS)


def _origin(folder: Path, path: Path, rows: pd.DataFrame, tables: Sequence[Path]) -> Origin:
    """MIMIC's, where it is all of its metadata; a part has nothing to tell it from others by."""
    if is_whole(MIMIC, len(rows), rows["patient_id"].nunique()):
        return published_origin(MIMIC, ["train"])
    few = f"{counted(len(rows), 'row')} where it has {WHOLE[MIMIC][0]:,}"
    description = f"laid out as MIMIC-CXR-JPG, but not its whole table ({path.name}: {few})"
    return own_origin(description, folder, tables)


def _find(folder: Path, name: str) -> Path | None:
    """The table of that name; of several releases the last."""
    # Not a glob's `*`, which could take in a table with a longer name.
    looks = re.compile(rf"mimic-cxr-[0-9.]+-{name}\.csv(?:\.gz)?")
    found = [path for path in folder.glob("mimic-cxr-*") if looks.fullmatch(path.name)]
    return max((path for path in found if path.is_file()), default=None)


def _open(folder: Path, name: str, labeler: str, problems: Problems) -> tuple[Path, pd.DataFrame]:
    called = labeler if name == LABELS else name
    path = _find(folder, called)
    if path is None:
        raise DataError(
            f"{folder} holds no mimic-cxr-*-{called}.csv[.gz]: copy it there from PhysioNet"
        )
    labels = CHEXPERT_LABELS if name == LABELS else ()
    frame = open_table(path, COLUMNS[name], problems, labels=labels)
    return path, frame[[*COLUMNS[name], *labels]].apply(lambda cells: cells.str.strip())


def _unreadable(images: pd.DataFrame, path: Path, problems: Problems) -> NDArray[np.bool_]:
    """Which rows have no numbers to make a path of."""
    good = images["dicom_id"].str.fullmatch(_DICOM)
    for column in ("subject_id", "study_id"):
        good &= images[column].str.fullmatch(_NUMBER)
    bad = (~good).to_numpy(dtype=bool)
    told = images["subject_id"] + ", " + images["study_id"] + ", " + images["dicom_id"]
    if bad.all():
        raise DataError(
            f"{path}: no row has a subject, a study and a dicom like 10000032, 50414267, "
            f"02aa804e-bde0afdd ({first_few(told.tolist())}): is this MIMIC's table?"
        )
    problems.add("unreadable path", places(path, bad), told[bad].tolist(), kept=False)
    return bad


def _about(images: pd.DataFrame) -> pd.DataFrame:
    """The rows without labels."""
    patients, studies = "p" + images["subject_id"], _studies(images)
    return pd.DataFrame(
        {
            "path": "files/" + patients.str[:3] + "/" + studies + "/" + images["dicom_id"] + ".jpg",
            "patient_id": patients,
            "study_id": studies,
            "view": images["ViewPosition"].str.upper().map(VIEWS).fillna("other"),
            "orientation": images["ViewPosition"],
            "sex": "",
            "age": pd.array([pd.NA] * len(images), dtype="Int64"),
            "source": "train",
        },
        columns=list(ABOUT),
    )


def _studies(frame: pd.DataFrame) -> "pd.Series[str]":
    return "p" + frame["subject_id"] + "/s" + frame["study_id"]


def _labels(
    studies: "pd.Series[str]", path: Path, frame: pd.DataFrame, problems: Problems
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Each image's (rows, labels) numbers, those of its study; and which have none."""
    values, bad = label_cells(frame, CHEXPERT_LABELS, path, problems)
    keys = _studies(frame)
    refuse_different_labels(keys[~bad], values[~bad], CHEXPERT_LABELS, path)
    usable = ~(_twice("study twice", keys, path, problems) | bad)
    at = pd.Index(keys[usable]).get_indexer(pd.Index(studies))
    found = np.full((len(studies), len(CHEXPERT_LABELS)), np.nan, dtype=np.float32)
    found[at >= 0] = values[usable][at[at >= 0]]
    return found, at < 0


def _official(
    dicoms: "pd.Series[str]", path: Path, frame: pd.DataFrame, problems: Problems
) -> "pd.Series[str]":
    """The part that MIMIC's own split gives each image; blank where it has none."""
    parts = frame["split"].map(PARTS)
    unknown = parts.isna().to_numpy(dtype=bool)
    problems.add(
        "official part", places(path, unknown), frame["split"][unknown].tolist(), kept=True
    )
    usable = ~(_twice("dicom twice", frame["dicom_id"], path, problems) | unknown)
    known = pd.Series(parts[usable].to_numpy(), index=frame["dicom_id"][usable])
    return dicoms.map(known).fillna("")


def _twice(kind: str, keys: "pd.Series[str]", path: Path, problems: Problems) -> NDArray[np.bool_]:
    """Which rows name what an earlier one has named: the first counts."""
    twice = keys.duplicated().to_numpy(dtype=bool)
    problems.add(
        kind, places(path, twice), (keys[twice] + ": the first counts").tolist(), kept=True
    )
    return twice


SOURCE = Source(name=NAME, looks_for=LOOKS_FOR, holds=holds, read=read, labels_from=tuple(LABELERS))
