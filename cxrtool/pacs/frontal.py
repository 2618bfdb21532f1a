"""Which objects of a study are frontal chest X-rays, by their headers; each other one has a reason.

Stricter than the warnings that `predict` gives: nobody looks at an image before it is scored here.
"""

from pydicom.dataset import Dataset

from cxrtool.images.dicom.orientation import put_upright
from cxrtool.images.dicom.plausible import implausible
from cxrtool.images.dicom.stored import standard_name
from cxrtool.images.dicom.views import TAGS as VIEW_TAGS
from cxrtool.images.dicom.views import is_frontal
from cxrtool.pacs.headers import is_image

RADIOGRAPHY = ("CR", "DX", "RG")
"""Modalities (PS3.3, C.7.3.1.1.1) of single X-rays; fluoroscopy (RF) is a series of many."""
LOOKED_AT = (
    "SOPClassUID",
    "Modality",
    "BodyPartExamined",
    "PresentationIntentType",
    *VIEW_TAGS,
)
OTHER_OBJECTS = {
    "Presentation State": "a presentation state",
    "SR Storage": "a structured report",
    "Encapsulated": "a document",
    "Key Object Selection": "a key object selection",
    "Segmentation": "a segmentation",
}
"""What objects other than images are, by what stands in their class's name."""


def why_not_frontal(header: Dataset) -> str:
    """Why an object is not scored; empty for a frontal chest X-ray, and where it may be one.

    It quotes only terms of the standard, never other content of the file.
    """
    if not is_image(header):
        name = standard_name(header.get("SOPClassUID"))
        kinds = (what for part, what in OTHER_OBJECTS.items() if part in name)
        return f"not an image: {next(kinds, 'another kind of object')}"
    looked_at = Dataset()
    for keyword in LOOKED_AT:
        if keyword in header:
            looked_at.add(header[keyword])
    put_upright(looked_at)
    reasons = implausible(looked_at)
    if not reasons:
        modality = str(header.get("Modality") or "").strip().upper()
        if modality and modality not in RADIOGRAPHY:
            reasons = [_other_modality(modality)]
        elif (header.get("SamplesPerPixel") or 1) != 1:
            reasons = ["a picture in colour"]
        elif (header.get("NumberOfFrames") or 1) != 1:
            reasons = ["several pictures in one"]
    return "; ".join(reasons)


def unsaid(header: Dataset) -> str:
    """What the header of a scored image leaves open; empty where it says all."""
    missing = []
    if not str(header.get("BodyPartExamined") or "").strip():
        missing.append("which part of the body")
    if not is_frontal(header):
        missing.append("which view")
    return f"its header does not say {' and '.join(missing)} it shows" if missing else ""


def _other_modality(modality: str) -> str:
    if modality == "RF":
        return "fluoroscopy by its Modality (RF)"
    shown = f" ({modality})" if modality in ("OT", "SC", "DOC") else ""
    return f"not an X-ray by its Modality{shown}"
