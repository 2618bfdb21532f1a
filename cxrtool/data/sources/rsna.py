"""The tables of RSNA's pneumonia challenge to manifest rows (Shih et al. 2019).

doi 10.1148/ryai.2019180041. The images are NIH's (ChestX-ray14), labelled anew.
"""

from pathlib import Path

import pandas as pd

from cxrtool.core.csv_tables import read_table
from cxrtool.data.sources.declared import Declaration, Table, column
from cxrtool.data.sources.findings import FindingColumns
from cxrtool.data.sources.rows import ABSENT

IMAGE, TARGET = "patientId", "Target"
CLASSES = "stage_2_detailed_class_info.csv"
NORMAL = "Normal"


def _row_an_image(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Boxes, a row each, as a row an image: opacity where any row says so."""
    targets = frame[TARGET].str.strip().groupby(frame[IMAGE].str.strip(), sort=False).max()
    rows = targets.rename("Pneumonia").reset_index()
    classes = next((path for path in folder.glob(f"{CLASSES}*") if path.is_file()), None)
    if classes is not None:
        table = read_table(classes, (IMAGE, "class"))
        named = table.drop_duplicates(IMAGE).set_index(IMAGE)["class"].str.strip()
        found = rows[IMAGE].map(named)
        rows["No Finding"] = (found == NORMAL).astype(int).astype(str).where(found.notna(), "")
    return rows


RSNA = Declaration(
    name="rsna",
    title="RSNA Pneumonia Detection Challenge (NIH Clinical Center; Shih et al. 2019)",
    tables={
        "train": (
            Table("stage_2_train_labels.csv", (IMAGE, TARGET), ("x", "y", "width", "height")),
        )
    },
    path=column(IMAGE),
    patient=column(IMAGE),
    shape=_row_an_image,
    findings=FindingColumns(("Pneumonia", "No Finding")),
    meaning={"Pneumonia": ("Pneumonia",), "No Finding": ("No Finding",)},
    labels_by={"train": "radiologists of RSNA and STR: opacity that suggests pneumonia"},
    blanks=ABSENT,
    notes=(
        "patientId is the image's: every image counts as a patient, and the images are NIH's "
        "under other names (`split` keeps patients together only where pictures are shared)",
    ),
)
