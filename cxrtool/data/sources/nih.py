"""ChestX-ray14's table and folders to manifest rows (Wang et al. 2017, arXiv 1705.02315)."""

import re
from collections.abc import Mapping, Sequence
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
from cxrtool.data.label_names import spelling
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.manifest import ABOUT, climbs
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import (
    ABSENT,
    Source,
    SourceRows,
    ages_in_years,
    open_table,
    places,
    sexes,
    unused_columns,
    years,
)

NAME = "nih"
LOOKS_FOR = "Data_Entry_2017*.csv"
TABLES = (LOOKS_FOR, LOOKS_FOR + ".gz", "sample_labels.csv")
"""The last is that of the sample of 5,606 images that Kaggle hands out."""
LABELS_BY = {"train": "text mining of reports by the NIH"}
IMAGE, LABELS, FOLLOW_UP, PATIENT = "Image Index", "Finding Labels", "Follow-up #", "Patient ID"
AGE, ORIENTATION = "Patient Age", "View Position"
COLUMNS = (IMAGE, LABELS, FOLLOW_UP, PATIENT, AGE, ORIENTATION)
SEX = ("Patient Gender", "Patient Sex")
"""The releases differ in what they call it."""
LISTS = {
    "train": ("train_val_list.txt", "train_val_list_NIH.txt"),
    "test": ("test_list.txt", "test_list_NIH.txt"),
}
"""The official parts, by the names in use; the NIH has none for validation."""
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
OTHER_SPELLINGS = {"infiltrate": "Infiltration"}
"""As in the boxes' table and some re-uploads."""
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
# People convert the images, and then the table's names with them; some write folders or no ending.
_NAME = r"^(?:.*[/\\])?(?P<patient>[0-9]{8})_(?P<study>[0-9]{3})(?:\.(?:png|jpg|jpeg|dcm))?$"


def holds(folder: Path) -> bool:
    """Whether a folder is a download of ChestX-ray14."""
    return bool(_tables(folder))


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read the table: of several releases the last. Of `config`, `label_names` matters.

    Raises:
        DataError: there is no table, it cannot be read or lacks columns, or no image's name in
            it looks like NIH's.
    """
    tables = _tables(folder)
    if not tables:
        raise DataError(f"{folder} holds no {LOOKS_FOR}: copy NIH's table there")
    path = tables[-1]
    frame, unused = _read_table(path, problems)
    rows, unreadable = _about(frame, path, problems)
    own = config.label_names == "own"
    labels = (NO_FINDING, *OWN_LABELS) if own else CHEXPERT_LABELS
    meaning = {name: name for name in labels} if own else TO_CHEXPERT
    values, unknown = _labels(frame[LABELS], labels, meaning, path, problems)
    official, notes = _official(rows["path"], folder, problems)
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
        blank=ABSENT,
        unused=unused,
        notes=notes,
    )


def _tables(folder: Path) -> list[Path]:
    """The tables that are there, the releases in their order."""
    found = [path for glob in TABLES for path in sorted(folder.glob(glob)) if path.is_file()]
    full = [path for path in found if path.name != TABLES[-1]]
    return full or found


def _origin(path: Path, rows: pd.DataFrame) -> Origin:
    """NIH's, where it is all of its table; a part of it has nothing to tell it from others by."""
    if is_whole(NIH, len(rows), rows["patient_id"].nunique()):
        return published_origin(NIH, LABELS_BY)
    few = f"{counted(len(rows), 'row')} where it has {WHOLE[NIH][0]:,}"
    description = f"laid out as ChestX-ray14, but not its whole table ({path.name}: {few})"
    return own_origin(description, path.parent, [path])


def _read_table(path: Path, problems: Problems) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The columns that are used, and the names of the others."""
    frame = open_table(path, COLUMNS, problems)
    sex = next((column for column in SEX if column in frame), None)
    if sex is None:
        raise DataError(
            f"{path} has no column {' or '.join(SEX)}: "
            f"its columns are {first_few(list(frame.columns), 30)}"
        )
    used = [*COLUMNS, sex]
    return frame[used].rename(columns={sex: SEX[0]}), unused_columns(frame, used, path)


def _about(
    frame: pd.DataFrame, path: Path, problems: Problems
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The rows without labels, and which have no readable name."""
    names = frame[IMAGE].str.strip().str.replace("\\", "/").str.rpartition("/")[2]
    parts = names.str.extract(_NAME, flags=re.IGNORECASE)
    climbing = frame[IMAGE].map(climbs)
    unreadable = (parts["patient"].isna() | climbing).to_numpy(dtype=bool)
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
            "age": years(frame[AGE], ages_in_years(frame[AGE]), path, problems),
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
    known = {spelling(name): name for name in (NO_FINDING, *OWN_LABELS)} | OTHER_SPELLINGS
    # 112,120 rows have some 800 different texts: each is looked up once.
    codes, distinct = pd.factorize(texts.to_numpy())
    listed = [[known.get(spelling(name)) for name in str(text).split("|")] for text in distinct]
    strange = np.array([None in names for names in listed])[codes]
    detail = [f"{LABELS}: {text!r}" for text in texts[strange]]
    problems.add("label value", places(path, strange), detail, kept=False)
    values = np.full((len(distinct), len(labels)), np.nan, dtype=np.float32)
    values[:, sorted(set(column.values()))] = 0
    for row, names in enumerate(listed):
        values[row, [column[name] for name in names if name is not None and name in column]] = 1
    return values[codes], strange


def _official(
    paths: "pd.Series[str]", folder: Path, problems: Problems
) -> tuple["pd.Series[str] | None", tuple[str, ...]]:
    """The part that NIH's two lists give each image, and notes of lists that are not used.

    One that is in both is a test image. Lists name images in other folders or with other endings.
    """
    there = {part: _list_of(folder, names) for part, names in LISTS.items()}
    lists = {part: path for part, path in there.items() if path is not None}
    if len(lists) < len(LISTS):
        alone = [f"{path.name} is alone, so there are no official parts" for path in lists.values()]
        return None, tuple(alone)
    listed = {part: _listed(path) for part, path in lists.items()}
    both = sorted(listed["train"] & listed["test"])
    told = f"in both {' and '.join(path.name for path in lists.values())}"
    problems.add("two official parts", both, told, kept=True)
    official = pd.Series("", index=paths.index, dtype="str")
    stems = paths.map(_stem)
    for part in LISTS:  # test comes last and wins: no test image is trained on
        official[stems.isin(listed[part])] = part
    return official, ()


def _list_of(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _listed(path: Path) -> set[str]:
    try:
        return {_stem(name) for name in path.read_text(encoding="utf-8-sig").split()}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a list of names: {error}") from None


def _stem(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].partition(".")[0]


SOURCE = Source(name=NAME, looks_for=LOOKS_FOR, holds=holds, read=read, own_names=True)
