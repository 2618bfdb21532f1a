"""BRAX's table to manifest rows (Reis et al. 2022, doi 10.1038/s41597-022-01608-8)."""

import pandas as pd

from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.sources.declared import Declaration, Table, column
from cxrtool.data.sources.findings import FindingColumns


def _ages(frame: pd.DataFrame) -> "pd.Series[str]":
    """The oldest are written `85 or more`."""
    return frame["PatientAge"].str.strip().str.replace(" or more", "", regex=False)


BRAX = Declaration(
    name="brax",
    title="BRAX (Hospital Israelita Albert Einstein; Reis et al. 2022)",
    tables={
        "train": (
            Table(
                "master_spreadsheet*.csv",
                ("PngPath", "PatientID", "AccessionNumber", "ViewPosition"),
                ("PatientSex", "PatientAge"),
            ),
        )
    },
    path=column("PngPath"),
    patient=column("PatientID"),
    study=column("AccessionNumber"),
    view=column("ViewPosition"),
    sex=column("PatientSex"),
    age=_ages,
    findings=FindingColumns(CHEXPERT_LABELS),
    meaning={label: (label,) for label in CHEXPERT_LABELS},
    labels_by={"train": "CheXpert labeler on reports translated from Portuguese"},
)
