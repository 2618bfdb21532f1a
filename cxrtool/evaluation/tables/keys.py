"""Columns that say which image or study a table's row is of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.csv_tables import line_numbers
from cxrtool.core.errors import DataError, UsageError, counted, first_few, unknown_name
from cxrtool.core.unicode_forms import normal

IMAGE, STUDY = "image", "study"
IMAGES = (
    *("path", "imagepath", "filepath", "imgpath", "image", "img", "imagefile", "filename"),
    *("file", "imagename", "imageindex", "imageid", "dicomid", "dicom", "sopinstanceuid"),
)
STUDIES = (
    *("study", "studyid", "studyinstanceuid", "studyuid", "studypath"),
    *("accession", "accessionnumber", "exam", "examid"),
)
GENERIC = ("id", "uid", "key", "name")
"""These may name images or studies."""
KNOWN = (*IMAGES, *STUDIES, *GENERIC)
"""Names of columns, as `fold` writes them, that say what a row is of; the first the likeliest."""
PATIENTS = ("patientid", "patient", "subjectid", "subject")
ROW_NUMBER = 6
"""Up to so many digits, a number may be the row's own and say nothing about the image."""
# CheXpert's and MIMIC's folders. The archive is unpacked anywhere: what stands before is not ours.
_SHAPE = re.compile(r"(?:^|/)((?:patient\d+|p\d{8})/(?:study\d+|s\d{8}))(/[^/]+)?/?$")

Texts = NDArray[np.object_]
Rows = NDArray[np.int64]


def fold(name: str) -> str:
    """A name without what people write differently: case, blanks, `_` and `-`, Unicode's forms."""
    return normal(re.sub(r"[\s_-]+", "", name).lower())


@dataclass(frozen=True, kw_only=True)
class KeyColumn:
    """A column whose cells name the rows, or the study that each row is of."""

    name: str
    unit: str
    """What a cell names: an image or a study."""
    exact: Texts
    """(n,) the cells."""
    normal: Texts
    """(n,) the cells in one way of writing: of CheXpert's paths, from the patient on."""
    shaped: bool
    """Whether there is such a path among them."""
    images: Texts | None = None
    """(n,) the images' names, if the studies were read from these."""

    @property
    def rank(self) -> int:
        """The likeliest to name the rows first."""
        return KNOWN.index(fold(self.name)) if fold(self.name) in KNOWN else len(KNOWN)

    @property
    def filled(self) -> bool:
        """Whether no cell is blank."""
        return "" not in self.exact

    @property
    def unique(self) -> bool:
        """Whether no two cells are the same."""
        return pd.Index(self.exact, dtype=object).is_unique

    @property
    def names_rows(self) -> bool:
        """Whether each row has a key of its own."""
        return self.filled and self.unique

    @property
    def numbers_rows(self) -> bool:
        """Whether the cells may be the rows' own numbers."""
        return all(cell.isdigit() and len(cell) <= ROW_NUMBER for cell in self.exact)


def key_columns(frame: pd.DataFrame, names: Sequence[str]) -> list[KeyColumn]:
    """Columns that may say which row is which, the likeliest first.

    A path of an image in CheXpert's folders also gives the study's name. Where a study's name
    occurs under several patients (`study1`), the patient's is put in front.
    """
    found = []
    for name in names:
        cells = _cells(frame[name])
        found += _key_columns(name, cells, patient_cells(frame))
    return sorted(found, key=lambda column: (column.rank, column.name, column.unit))


def patient_cells(frame: pd.DataFrame) -> Texts | None:
    """The cells of the column that names the patients, if there is one."""
    for known in PATIENTS:
        for name in frame.columns:
            if fold(str(name)) == known:
                return _cells(frame[name])
    return None


def _key_columns(name: str, cells: Texts, patients: Texts | None) -> list[KeyColumn]:
    slashed = [re.sub(r"^(?:\./)+", "", cell.replace("\\", "/")) for cell in cells]
    found = [_SHAPE.search(cell) for cell in slashed]
    pairs = list(zip(slashed, found, strict=True))
    normal = _texts([at[1] + (at[2] or "") if at else cell for cell, at in pairs])
    shaped = any(found)
    named = any(at and at[2] for at in found)
    study = not named if shaped else fold(name) in STUDIES
    if study and not shaped and patients is not None and _shared(cells, patients):
        cells = normal = patients + "/" + cells
    unit = STUDY if study else IMAGE
    column = KeyColumn(name=name, unit=unit, exact=cells, normal=normal, shaped=shaped)
    if not named:
        return [column]
    studies = _texts([at[1] if at else cell for cell, at in pairs])
    derived = KeyColumn(
        name=name, unit=STUDY, exact=studies, normal=studies, shaped=True, images=normal
    )
    return [column, derived]


def _cells(column: "pd.Series[str]") -> Texts:
    return _texts([normal(cell) for cell in column.str.strip()])


def _texts(cells: Sequence[str]) -> Texts:
    return np.array(cells, dtype=object)


def _shared(studies: Texts, patients: Texts) -> bool:
    """Whether some study's name occurs under more than one patient."""
    pairs = pd.DataFrame({"study": studies, "patient": patients}).drop_duplicates()
    return bool(pairs["study"].duplicated().any())


def key_name(key: str | None, columns: Sequence[str], path: Path, *, truth: bool) -> str | None:
    """Which of a table's columns `--key` names: COLUMN, or PREDICTIONS_COLUMN=TRUTH_COLUMN.

    Raises:
        UsageError: the table has no such column.
    """
    if key is None or key in columns:
        return key
    mine, equals, theirs = (part.strip() for part in key.partition("="))
    name = theirs if truth and equals else mine
    if name not in columns:
        told = unknown_name(f"column of {path.name}", name, columns)
        raise UsageError(
            f"--key {key}: {told}. Where the names differ, give --key "
            "PREDICTIONS_COLUMN=TRUTH_COLUMN"
        )
    return name


def refuse_blank(column: KeyColumn, path: Path) -> None:
    """Raise DataError where a key is blank: it names the lines."""
    blank = column.exact == ""
    if blank.any():
        raise DataError(
            f"{path}: {blank.sum()} of {len(blank)} rows have no {column.name} "
            f"(lines {first_few(line_numbers(blank))}): give each one, or name another column "
            "with --key"
        )


def refuse_repeated(keys: Texts, name: str, path: Path) -> None:
    """Raise DataError where a key is given twice: it names some, and the lines."""
    twice = pd.Series(keys, dtype=object).duplicated(keep=False).to_numpy(dtype=bool)
    if twice.any():
        names = list(dict.fromkeys(keys[twice]))
        raise DataError(
            f"{path}: {counted(len(names), 'name')} in its column {name} given more than once "
            f"({first_few(names)}; lines {first_few(line_numbers(twice))}): keep one row of each, "
            "or name another column with --key"
        )
