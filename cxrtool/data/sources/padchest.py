"""PadChest's table to manifest rows (Bustos et al. 2020, doi 10.1016/j.media.2020.101797)."""

import ast
from collections.abc import Sequence

import pandas as pd

from cxrtool.data.sources.declared import Declaration, Kind, Table, column
from cxrtool.data.sources.findings import FindingList
from cxrtool.data.sources.rows import ABSENT

COLUMNS = (
    "ImageID",
    "ImageDir",
    "StudyDate_DICOM",
    "StudyID",
    "PatientID",
    "PatientBirth",
    "PatientSex_DICOM",
    "Projection",
    "MethodLabel",
    "Labels",
)
NO_FINDINGS = ("", "unchanged", "exclude", "suboptimal study")
"""Names in the lists that say nothing of what is there."""
# Names are taken whole: "pseudonodule" is no nodule, and "hiatal hernia" no "hernia". The same word
# is taken for the same finding, kinds of one for it; the others go by the phrases of CheXpert's own
# labeler (Irvin et al. 2019).
CHEXPERT_NAMES = {
    "No Finding": ("normal",),
    "Enlarged Cardiomediastinum": ("mediastinal enlargement", "superior mediastinal enlargement"),
    "Cardiomegaly": ("cardiomegaly",),
    "Lung Opacity": (
        "infiltrates",
        "alveolar pattern",
        "interstitial pattern",
        "reticular interstitial pattern",
        "reticulonodular interstitial pattern",
        "ground glass pattern",
        "increased density",
        "miliary opacities",
    ),
    "Lung Lesion": (
        "nodule",
        "multiple nodules",
        "pulmonary mass",
        "lung metastasis",
        "lepidic adenocarcinoma",
    ),
    "Edema": ("pulmonary edema",),
    "Consolidation": ("consolidation",),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Atelectasis": (
        "atelectasis",
        "atelectasis basal",
        "laminar atelectasis",
        "lobar atelectasis",
        "segmental atelectasis",
        "total atelectasis",
        "round atelectasis",
    ),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Pleural Effusion": (
        "pleural effusion",
        "loculated pleural effusion",
        "loculated fissural effusion",
        "hydropneumothorax",
    ),
    "Pleural Other": (
        "pleural thickening",
        "apical pleural thickening",
        "calcified pleural thickening",
        "pleural plaques",
        "calcified pleural plaques",
        "pleural mass",
    ),
    "Fracture": (
        "fracture",
        "rib fracture",
        "callus rib fracture",
        "clavicle fracture",
        "humeral fracture",
        "vertebral fracture",
    ),
    "Support Devices": (
        "NSG tube",
        "endotracheal tube",
        "tracheostomy tube",
        "chest drain tube",
        "gastrostomy tube",
        "ventriculoperitoneal drain tube",
        "central venous catheter",
        "central venous catheter via jugular vein",
        "central venous catheter via subclavian vein",
        "central venous catheter via umbilical vein",
        "reservoir central venous catheter",
        "catheter",
        "pacemaker",
        "single chamber device",
        "dual chamber device",
        "dai",
        "electrical device",
        "artificial heart valve",
        "artificial mitral heart valve",
        "artificial aortic heart valve",
    ),
}


def _listed(text: str) -> Sequence[str] | None:
    """The names in a list as Python writes it; 103 cells hold `nan`, and name none."""
    if text.lower() in ("", "nan"):
        return []
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names


def _paths(frame: pd.DataFrame) -> "pd.Series[str]":
    """Where the archives put each image: in a folder of its number."""
    return frame["ImageDir"].str.strip() + "/" + frame["ImageID"].str.strip()


def _ages(frame: pd.DataFrame) -> "pd.Series[str]":
    """Years between birth and study: all that is known of the birth is its year."""
    study = pd.to_numeric(frame["StudyDate_DICOM"].str[:4], errors="coerce")
    ages = study - pd.to_numeric(frame["PatientBirth"], errors="coerce")
    return ages.map("{:.0f}".format).where(ages.notna(), "")


def _sexes(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["PatientSex_DICOM"].str.strip().replace({"nan": ""})


PADCHEST = Declaration(
    name="padchest",
    title="PadChest (Hospital San Juan de Alicante; Bustos et al. 2020)",
    tables={"train": (Table("PADCHEST_chest_x_ray_images_labels_160K*.csv", COLUMNS),)},
    path=_paths,
    patient=column("PatientID"),
    study=column("StudyID"),
    view=column("Projection"),
    sex=_sexes,
    age=_ages,
    findings=FindingList(
        column="Labels",
        split=_listed,
        always=tuple(name for names in CHEXPERT_NAMES.values() for name in names),
        none=NO_FINDINGS,
    ),
    meaning=CHEXPERT_NAMES,
    labels_by={
        "train": "physicians (MethodLabel Physician) and a recurrent network trained on their "
        "labels (RNN_model)"
    },
    kinds={
        "physician": Kind("physicians", lambda frame: frame["MethodLabel"] == "Physician"),
        "rnn": Kind(
            "a recurrent network trained on physicians' labels",
            lambda frame: frame["MethodLabel"] == "RNN_model",
        ),
    },
    blanks=ABSENT,
)
