"""VinDr-CXR's tables to manifest rows (Nguyen et al. 2022, doi 10.1038/s41597-022-01498-w).

PhysioNet hands out a table of findings by image and reader, Kaggle one of boxes; images are named
by an id, and lie as DICOM, or as PNG in the copies that people made.
"""

from pathlib import Path

import pandas as pd

from cxrtool.data.sources.declared import Declaration, Table, column
from cxrtool.data.sources.findings import FindingColumns
from cxrtool.data.sources.rows import ABSENT

NO_FINDING = "No finding"
LOCAL = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
)
"""What the readers drew boxes around."""
GLOBAL = (
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other disease",
    "Other diseases",
    NO_FINDING,
)
"""What they said of the whole image."""
# The same word is taken for the same finding; the others go by the phrases of CheXpert's labeler,
# as NIH's do (nih.py).
CHEXPERT_NAMES = {
    "No Finding": (NO_FINDING,),
    "Cardiomegaly": ("Cardiomegaly",),
    "Lung Opacity": ("Lung Opacity", "Infiltration"),
    "Lung Lesion": ("Nodule/Mass", "Lung tumor"),
    "Edema": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Pleural effusion",),
    "Pleural Other": ("Pleural thickening",),
    "Fracture": ("Clavicle fracture", "Rib fracture"),
}
IMAGE, READER, CLASS = "image_id", "rad_id", "class_name"


def _row_an_image_and_reader(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Boxes, a row each, as a column for each finding; other tables are in that form."""
    if CLASS not in frame:
        return frame
    keys = [name for name in (IMAGE, READER) if name in frame]
    named = frame[CLASS].str.strip()
    known = [name for name in (*LOCAL, *GLOBAL) if (named == name).any()]
    there = {name: (named == name).groupby([frame[key] for key in keys]).any() for name in known}
    return pd.DataFrame(there).astype(int).astype(str).reset_index()


def _readers(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame[READER] if READER in frame else pd.Series("", index=frame.index, dtype="str")


VINDR = Declaration(
    name="vindr",
    title="VinDr-CXR (two hospitals in Hanoi; Nguyen et al. 2022)",
    tables={
        "train": (
            Table("image_labels_train.csv", (IMAGE, READER)),
            Table("annotations_train.csv", (IMAGE, READER, CLASS)),
            Table("train.csv", (IMAGE, READER, CLASS)),
        ),
        "valid": (
            Table("image_labels_test.csv", (IMAGE,), (READER,)),
            Table("annotations_test.csv", (IMAGE, CLASS), (READER,)),
        ),
    },
    path=column(IMAGE),
    patient=column(IMAGE),
    reader=_readers,
    shape=_row_an_image_and_reader,
    findings=FindingColumns((*LOCAL, *GLOBAL)),
    meaning=CHEXPERT_NAMES,
    labels_by={
        "train": "three radiologists an image, of 17",
        "valid": "the consensus of five radiologists",
    },
    blanks=ABSENT,
    notes=(
        "VinDr-CXR names no patients: every image counts as one, and a patient with several "
        "images may be in several parts",
    ),
)
