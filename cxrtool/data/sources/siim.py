"""The table of the SIIM-ACR pneumothorax challenge (2019) to manifest rows.

The images are NIH's (ChestX-ray14), labelled anew; pneumothoraces are outlined by run lengths.
"""

from pathlib import Path

import pandas as pd

from cxrtool.data.sources.declared import Declaration, Table, column
from cxrtool.data.sources.findings import FindingColumns
from cxrtool.data.sources.rows import ABSENT

IMAGE, MASK = "ImageId", "EncodedPixels"
NOTHING = "-1"
"""In place of a mask, where there is no pneumothorax."""


def _row_an_image(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Masks, a row each, as a row an image: there is a pneumothorax where there is any mask."""
    outlined = frame[MASK].str.strip() != NOTHING
    there = outlined.groupby(frame[IMAGE].str.strip(), sort=False).any()
    return there.astype(int).astype(str).rename("Pneumothorax").reset_index()


SIIM = Declaration(
    name="siim",
    title="SIIM-ACR Pneumothorax Segmentation Challenge (NIH Clinical Center; 2019)",
    tables={
        "train": tuple(
            Table(name, (IMAGE, MASK)) for name in ("*train-rle.csv", "stage_2_train.csv")
        )
    },
    path=column(IMAGE),
    patient=column(IMAGE),
    shape=_row_an_image,
    findings=FindingColumns(("Pneumothorax",)),
    meaning={"Pneumothorax": ("Pneumothorax",)},
    labels_by={"train": "radiologists of SIIM and STR"},
    blanks=ABSENT,
    notes=(
        "SIIM-ACR names no patients: every image counts as one, and the images are NIH's under "
        "other names",
    ),
)
