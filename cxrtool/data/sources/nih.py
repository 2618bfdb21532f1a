"""ChestX-ray14's table and folders to manifest rows (Wang et al. 2017, arXiv 1705.02315)."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.core.origin import (
    NIH,
    WHOLE,
    Origin,
    is_whole,
    labellers,
    own_origin,
    published_origin,
)
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import SourceRows, open_table, places, sexes, years

NAME = "nih"
LOOKS_FOR = "Data_Entry_2017*.csv"
LABELS_BY = {"train": "text mining of reports by the NIH"}
IMAGE, LABELS, FOLLOW_UP, PATIENT = "Image Index", "Finding Labels", "Follow-up #", "Patient ID"
AGE, ORIENTATION = "Patient Age", "View Position"
COLUMNS = (IMAGE, LABELS, FOLLOW_UP, PATIENT, AGE, ORIENTATION)
SEX = ("Patient Gender", "Patient Sex")
"""The releases differ in what they call it."""
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
"""The official parts; the NIH has none for validation."""
OWN_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings in NIH's order: the 8 of the paper, then the 6 that were added."""
# What a finding is called in CheXpert. The same word is taken for the same finding. The others
# lean on the phrases that CheXpert's own labeler (Irvin et al. 2019) looks for in a report:
# "infiltrate" and "infiltration" are Lung Opacity to it, "mass" and "nodule" Lung Lesion,
# "pleural thickening" Pleural Other. Emphysema and Hernia have no counterpart, and Fibrosis, which
# the labeler counts as of the pleura, is of the lung in NIH's table.
TO_CHEXPERT = {
    NO_FINDING: NO_FINDING,
    "Cardiomegaly": "Cardiomegaly",
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Edema": "Edema",
    "Consolidation": "Consolidation",
    "Pneumonia": "Pneumonia",
    "Atelectasis": "Atelectasis",
    "Pneumothorax": "Pneumothorax",
    "Effusion": "Pleural Effusion",
    "Pleural_Thickening": "Pleural Other",
}
UNITS = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}
"""How many of an age's unit make a year: the first release writes 058Y, 011M, 004D."""
# People convert the images, and then the table's names with them.
_NAME = r"^(?P<patient>[0-9]{8})_(?P<study>[0-9]{3})\.(?:png|jpg|jpeg)$"


def holds(folder: Path) -> bool:
    """Whether a folder is a download of ChestX-ray14."""
    return any(path.is_file() for path in folder.glob(LOOKS_FOR))


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read the table: of several releases the last. Of `config`, `label_names` matters.

    An image that is in none of the folders gets a path all the same, for others to miss it.

    Raises:
        DataError: there is no table, it cannot be read or lacks columns, or no image's name in
            it looks like NIH's.
    """
    tables = sorted(path for path in folder.glob(LOOKS_FOR) if path.is_file())
    if not tables:
        raise DataError(f"{folder} holds no {LOOKS_FOR}: copy NIH's table there")
    path = tables[-1]
    frame = _read_table(path, problems)
    rows, unreadable = _about(frame, path, problems)
    own = config.label_names == "own"
    labels = (NO_FINDING, *OWN_LABELS) if own else CHEXPERT_LABELS
    meaning = {name: name for name in labels} if own else TO_CHEXPERT
    values, unknown = _labels(frame[LABELS], labels, meaning, path, problems)
    official = _official(rows["path"], folder, problems)
    rows["path"] = _located(rows["path"], folder, problems)
    rows[list(labels)] = values
    good = ~(unreadable | unknown)
    origin = _origin(path, rows[good])
    return SourceRows(
        dataset=NAME,
        folder=folder,
        tables=(path.name,),
        labels_by=labellers(origin, LABELS_BY, {"train": path.name}),
        origin=origin,
        rows=rows[good].reset_index(drop=True),
        official=None if official is None else official[good].reset_index(drop=True),
    )


def _origin(path: Path, rows: pd.DataFrame) -> Origin:
    """NIH's, where it is all of its table; a part of it has nothing to tell it from others by."""
    if is_whole(NIH, len(rows), rows["patient_id"].nunique()):
        return published_origin(NIH, LABELS_BY)
    few = f"{counted(len(rows), 'row')} where it has {WHOLE[NIH][0]:,}"
    description = f"laid out as ChestX-ray14, but not its whole table ({path.name}: {few})"
    return own_origin(description, path.parent, [path])


def _read_table(path: Path, problems: Problems) -> pd.DataFrame:
    frame = open_table(path, COLUMNS, problems)
    sex = next((column for column in SEX if column in frame), None)
    if sex is None:
        raise DataError(
            f"{path} has no column {' or '.join(SEX)}: "
            f"its columns are {first_few(list(frame.columns), 30)}"
        )
    return frame[[*COLUMNS, sex]].rename(columns={sex: SEX[0]})


def _about(
    frame: pd.DataFrame, path: Path, problems: Problems
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The rows without labels, `path` as in the table; and which have no readable name."""
    names = frame[IMAGE].str.strip()
    parts = names.str.extract(_NAME, flags=re.IGNORECASE)
    unreadable = parts["patient"].isna().to_numpy(dtype=bool)
    if unreadable.all():
        raise DataError(
            f"{path}: no {IMAGE} looks like 00000001_000.png "
            f"({first_few(frame[IMAGE].tolist())}): is this NIH's table?"
        )
    where = places(path, unreadable)
    problems.add("unreadable path", where, frame[IMAGE][unreadable].tolist(), kept=False)
    _note_other_patients(frame[PATIENT], names, parts["patient"], path, problems)
    followed = frame[FOLLOW_UP].str.strip()
    study = followed.where(followed.str.fullmatch("[0-9]+"), parts["study"])
    rows = pd.DataFrame(
        {
            "path": names,
            "patient_id": parts["patient"],
            "study_id": parts["patient"] + "/study" + study.str.zfill(3),
            "view": "frontal",
            "orientation": frame[ORIENTATION].str.strip(),
            "sex": sexes(frame[SEX[0]], path, problems),
            "age": years(frame[AGE], _ages(frame[AGE]), path, problems),
            "source": "train",
        },
        columns=list(ABOUT),
    )
    return rows, unreadable


def _note_other_patients(
    stated: "pd.Series[str]",
    names: "pd.Series[str]",
    patients: "pd.Series[str]",
    path: Path,
    problems: Problems,
) -> None:
    differ = pd.to_numeric(stated, errors="coerce") != pd.to_numeric(patients)
    other = (differ & patients.notna()).to_numpy(dtype=bool)
    told = stated + " in the table, " + names
    problems.add("patient contradicts path", places(path, other), told[other].tolist(), kept=True)


def _ages(texts: "pd.Series[str]") -> "pd.Series[float]":
    """Ages in years, NaN where there is none; who is not a year old is 0."""
    bare = texts.str.strip().str.upper()
    parts = bare.str.extract(r"^(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[YMWD]?)$")
    ages = pd.to_numeric(parts["number"]) / parts["unit"].map(UNITS)
    return ages.where(parts["unit"].isin(["", "Y"]), np.floor(ages))


def _labels(
    texts: "pd.Series[str]",
    labels: Sequence[str],
    meaning: Mapping[str, str],
    path: Path,
    problems: Problems,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(rows, labels) numbers, and which rows have a finding that NIH does not know.

    In NIH's table a finding that is not listed is absent; NaN are only the labels that it has
    no finding for.
    """
    column = {finding: labels.index(label) for finding, label in meaning.items()}
    # 112,120 rows have some 800 different texts: each is looked up once.
    codes, distinct = pd.factorize(texts.to_numpy())
    listed = [[name.strip() for name in str(text).split("|")] for text in distinct]
    known = {NO_FINDING, *OWN_LABELS}
    strange = np.array([not known.issuperset(names) for names in listed])[codes]
    detail = [f"{LABELS}: {text!r}" for text in texts[strange]]
    problems.add("label value", places(path, strange), detail, kept=False)
    values = np.full((len(distinct), len(labels)), np.nan, dtype=np.float32)
    values[:, sorted(set(column.values()))] = 0
    for row, names in enumerate(listed):
        values[row, [column[name] for name in names if name in column]] = 1
    return values[codes], strange


def _located(names: "pd.Series[str]", folder: Path, problems: Problems) -> "pd.Series[str]":
    """Where each image is, from the data folder."""
    found: dict[str, str] = {}
    twice: dict[str, str] = {}
    for name, place in _images(folder):
        if found.setdefault(name, place) != place:
            twice[place] = f"{found[name]} is taken"
    problems.add("image twice", list(twice), list(twice.values()), kept=True)
    paths = [found.get(name, f"images/{name}") for name in names]
    return pd.Series(paths, index=names.index, dtype="str")


def _images(folder: Path) -> Iterator[tuple[str, str]]:
    """Each image's name and place: in images/, images_001/ or images_001/images/."""
    looks = re.compile(_NAME, re.IGNORECASE)
    for top in sorted(path for path in folder.glob("images*") if path.is_dir()):
        if top.name == "images" or top.name.startswith("images_"):
            for inner in (top, top / "images"):
                if inner.is_dir():
                    place = inner.relative_to(folder).as_posix()
                    with os.scandir(inner) as entries:
                        names = sorted(e.name for e in entries if looks.match(e.name))
                    yield from ((name, f"{place}/{name}") for name in names)


def _official(names: "pd.Series[str]", folder: Path, problems: Problems) -> "pd.Series[str] | None":
    """The part that NIH's two lists give each image; one that is in both is a test image."""
    if not all((folder / name).is_file() for name in LISTS.values()):
        return None
    listed = {part: _listed(folder / name) for part, name in LISTS.items()}
    both = sorted(listed["train"] & listed["test"])
    problems.add("two official parts", both, f"in both {' and '.join(LISTS.values())}", kept=True)
    official = pd.Series("", index=names.index, dtype="str")
    for part in LISTS:  # test comes last and wins: no test image is trained on
        official[names.isin(listed[part])] = part
    return official


def _listed(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8-sig").split())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a list of names: {error}") from None
