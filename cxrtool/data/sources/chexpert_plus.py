"""CheXpert Plus's tables to manifest rows (Chambon et al. 2024, arXiv 2405.19538).

The images are CheXpert's, as DICOM or PNG, and so are the patients' numbers; the labels are apart,
a file for each section of the reports that they were read off.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.core.origin import CHEXPERT, own_origin
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT
from cxrtool.data.problems import Problems
from cxrtool.data.repeated_rows import refuse_different_labels
from cxrtool.data.sources.rows import (
    Source,
    SourceRows,
    label_cells,
    open_table,
    places,
    refuse_climbing,
    sexes,
    unused_columns,
    years,
)

NAME = "chexpert-plus"
LOOKS_FOR = "df_chexpert_plus_*.csv"
PATH, PATIENT, ORDER = "path_to_image", "deid_patient_id", "patient_report_date_order"
COLUMNS = (PATH, PATIENT, ORDER, "frontal_lateral", "ap_pa", "age", "sex", "race", "split")
SECTIONS = ("impression", "findings", "report")
"""What of a report the labels are read off; the first is what CheXpert's own labels are of."""
LABELS = "chexbert_labels"
VIEWS = {"frontal": "frontal", "lateral": "lateral"}
PARTS = {"train": "train", "valid": "valid", "validate": "valid", "test": "test"}


def holds(folder: Path) -> bool:
    """Whether a folder is a download of CheXpert Plus."""
    return bool(_tables(folder))


def _tables(folder: Path) -> list[Path]:
    globs = (LOOKS_FOR, LOOKS_FOR + ".gz")
    return sorted(path for glob in globs for path in folder.glob(glob) if path.is_file())


def read(folder: Path, config: PrepareConfig, problems: Problems) -> SourceRows:
    """Read the last release's table, and the labels of a section (`labels_from` of `config`).

    Raises:
        DataError: a table is missing, cannot be read or lacks columns, or a path climbs out of
            the folder.
    """
    tables = _tables(folder)
    if not tables:
        raise DataError(f"{folder} holds no {LOOKS_FOR}: copy CheXpert Plus's table there")
    path = tables[-1]
    section = config.labels_from if config.labels_from in SECTIONS else SECTIONS[0]
    table = _label_table(folder, section)
    frame = open_table(path, COLUMNS, problems)
    refuse_climbing(frame[PATH].str.replace("\\", "/"), path)
    rows = _about(frame, path, problems)
    labels = open_table(table, (PATH,), problems, labels=CHEXPERT_LABELS)
    values, bad = label_cells(labels, CHEXPERT_LABELS, table, problems)
    names = labels[PATH].str.strip()
    refuse_different_labels(names[~bad], values[~bad], CHEXPERT_LABELS, table)
    usable = ~(bad | _twice(labels[PATH], table, problems))
    at = pd.Index(labels[PATH][usable].str.strip()).get_indexer(pd.Index(rows["path"]))
    rows[list(CHEXPERT_LABELS)] = np.where((at >= 0)[:, None], values[usable][at], np.nan)
    rows[list(CHEXPERT_LABELS)] = rows[list(CHEXPERT_LABELS)].astype(np.float32)
    nameless = (rows[["path", "patient_id"]] == "").any(axis=1).to_numpy(dtype=bool)
    problems.add("unreadable path", places(path, nameless), "no image or patient", kept=False)
    missing = (at < 0) & ~nameless
    told = f"no usable row in {table.name}"
    problems.add("image without labels", places(path, missing), told, kept=False)
    good = ~(nameless | missing)
    parts = frame["split"].str.strip().str.lower().map(PARTS).fillna("")
    origin = own_origin("laid out as CheXpert Plus (Chambon et al. 2024)", folder, [path])
    return SourceRows(
        dataset=NAME,
        folder=folder,
        tables=(path.name, table.name),
        labels_by={"train": f"CheXbert on the {section} of the reports"},
        # The patients' numbers are CheXpert's: who was trained on there is the same person here.
        origin=replace(origin, registers=(*origin.registers, CHEXPERT)),
        rows=rows[good].reset_index(drop=True),
        official=parts[good].reset_index(drop=True),
        unused=unused_columns(frame, COLUMNS, path),
    )


def _label_table(folder: Path, section: str) -> Path:
    name = f"{section}_fixed.json"
    found = [path for path in (folder / LABELS / name, folder / name) if path.is_file()]
    if not found:
        raise DataError(
            f"{folder} holds no {LABELS}/{name}: copy the labels there, or name another section "
            f"with --labels-from ({', '.join(SECTIONS)})"
        )
    return found[0]


def _about(frame: pd.DataFrame, path: Path, problems: Problems) -> pd.DataFrame:
    """The rows without labels."""
    patients = frame[PATIENT].str.strip()
    ages = pd.to_numeric(frame["age"], errors="coerce")
    return pd.DataFrame(
        {
            "path": frame[PATH].str.strip().str.replace("\\", "/"),
            "patient_id": patients,
            "study_id": patients + "/study" + frame[ORDER].str.strip(),
            "view": frame["frontal_lateral"].str.strip().str.lower().map(VIEWS).fillna("other"),
            "orientation": frame["ap_pa"].str.strip(),
            "sex": sexes(frame["sex"], path, problems),
            "age": years(frame["age"], ages, path, problems),
            "source": "train",
            "race": frame["race"].str.strip(),
        },
        columns=[*ABOUT, "race"],
    )


def _twice(names: "pd.Series[str]", path: Path, problems: Problems) -> NDArray[np.bool_]:
    """Which rows name what an earlier one has named: the first counts."""
    twice = names.str.strip().duplicated().to_numpy(dtype=bool)
    problems.add("image twice", places(path, twice), "the first counts", kept=True)
    return twice


SOURCE = Source(name=NAME, looks_for=LOOKS_FOR, holds=holds, read=read, labels_from=SECTIONS)
