"""Why a DICOM may not be a frontal chest X-ray, by its header."""

from pydicom.dataset import Dataset

from cxrtool.images.blanks import BY_MODALITY, BY_PART
from cxrtool.images.dicom.views import OBLIQUE, lateral, position

OTHER_MODALITIES = {
    "BMD": "densitometry",
    "CT": "computed tomography",
    "ES": "endoscopy",
    "IO": "an X-ray of the mouth",
    "MG": "mammography",
    "MR": "magnetic resonance",
    "NM": "nuclear medicine",
    "OP": "ophthalmic photography",
    "PT": "positron emission tomography",
    "PX": "a panoramic X-ray",
    "US": "ultrasound",
    "XA": "angiography",
    "XC": "photography",
}
"""Modalities other than radiography of the body (PS3.3, C.7.3.1.1.1)."""
OTHER_PARTS = frozenset(
    (
        "ABDOMEN",
        "ANKLE",
        "ARM",
        "BREAST",
        "CALCANEUS",
        "CLAVICLE",
        "COCCYX",
        "CSPINE",
        "ELBOW",
        "EXTREMITY",
        "FEMUR",
        "FINGER",
        "FOOT",
        "FOREARM",
        "HAND",
        "HEAD",
        "HIP",
        "HUMERUS",
        "JAW",
        "KNEE",
        "LEG",
        "LSPINE",
        "NECK",
        "PELVIS",
        "SHOULDER",
        "SKULL",
        "SSPINE",
        "THIGH",
        "TOE",
        "TSPINE",
        "WRIST",
    )
)
"""Body Parts Examined (PS3.16, annex L) other than the chest."""


def implausible(dataset: Dataset) -> list[str]:
    """The reasons; they quote only terms of the standard, never other content of the file."""
    view = position(dataset)
    oblique = f"an oblique view by its View Position ({view})" if view in OBLIQUE else ""
    reasons = [*filter(None, [oblique or lateral(dataset)])]
    modality = _word(dataset, "Modality")
    if modality in OTHER_MODALITIES:
        reasons.append(f"{OTHER_MODALITIES[modality]}{BY_MODALITY}{modality})")
    part = _word(dataset, "BodyPartExamined")
    if part in OTHER_PARTS:
        reasons.append(f"{part}{BY_PART}")
    if _word(dataset, "PresentationIntentType") == "FOR PROCESSING":
        reasons.append("raw pixels, intended for processing and not for presentation")
    return reasons


def _word(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip().upper()
