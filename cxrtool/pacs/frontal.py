"""Which objects of a study are frontal chest X-rays, by their headers; each other one has a reason.

Stricter than the warnings that `predict` gives: nobody looks at an image before it is scored here.
"""

import re

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from cxrtool.images.dicom.orientation import put_upright
from cxrtool.images.dicom.plausible import FRONTAL, implausible
from cxrtool.images.dicom.stored import standard_name
from cxrtool.pacs.headers import is_image

RADIOGRAPHY = ("CR", "DX", "RG")
"""Modalities (PS3.3, C.7.3.1.1.1) of single X-rays; fluoroscopy (RF) is a series of many."""
LOOKED_AT = (
    "SOPClassUID",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PresentationIntentType",
)
OTHER_OBJECTS = {
    "Presentation State": "a presentation state",
    "SR Storage": "a structured report",
    "Encapsulated": "a document",
    "Key Object Selection": "a key object selection",
    "Segmentation": "a segmentation",
}
"""What objects other than images are, by what stands in their class's name."""
LATERAL_CODES = {
    (code.value, code.scheme_designator)
    for code in (
        codes.cid4010.LateralProjection,
        codes.cid4010.LeftLateral,
        codes.cid4010.RightLateral,
        codes.cid4010.LateralMedial,
        codes.cid4010.MedioLateralProjection,
        codes.cid4010.Sagittal,
    )
}
FRONTAL_CODES = {
    (code.value, code.scheme_designator)
    for code in (
        codes.cid4010.AnteroPosterior,
        codes.cid4010.Frontal,
        codes.cid4010.PosteroAnterior,
    )
}
"""View Codes (PS3.16, CID 4010)."""
DESCRIBED = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolDescription")
"""What devices write of a view in words, where they leave out its View Position."""
LATERAL_WORD = re.compile(r"\b(LAT|LATERAL|LL|RL)\b")
FRONTAL_WORD = re.compile(r"\b(AP|PA|FRONTAL|DECUB\w*)\b")
"""A lateral decubitus is a frontal view of somebody who lies on the side."""


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
        elif not _is_frontal(header) and (where := _said_lateral(header)):
            reasons = [f"a lateral view by its {where}"]
    return "; ".join(reasons)


def unsaid(header: Dataset) -> str:
    """What the header of a scored image leaves open; empty where it says all."""
    missing = []
    if not str(header.get("BodyPartExamined") or "").strip():
        missing.append("which part of the body")
    if not _is_frontal(header):
        missing.append("which view")
    return f"its header does not say {' and '.join(missing)} it shows" if missing else ""


def _other_modality(modality: str) -> str:
    if modality == "RF":
        return "fluoroscopy by its Modality (RF)"
    shown = f" ({modality})" if modality in ("OT", "SC", "DOC") else ""
    return f"not an X-ray by its Modality{shown}"


def _is_frontal(header: Dataset) -> bool:
    view = str(header.get("ViewPosition") or "").strip().upper()
    return view in FRONTAL or bool(_view_codes(header) & FRONTAL_CODES)


def _said_lateral(header: Dataset) -> str:
    """Where the header calls it a lateral view; empty where it does not, or frontal too."""
    if _view_codes(header) & LATERAL_CODES:
        return "View Code"
    for keyword in DESCRIBED:
        words = str(header.get(keyword) or "").upper().replace("_", " ")
        if LATERAL_WORD.search(words) and not FRONTAL_WORD.search(words):
            return "description"
    return ""


def _view_codes(header: Dataset) -> set[tuple[str, str]]:
    return {
        (str(item.get("CodeValue") or ""), str(item.get("CodingSchemeDesignator") or ""))
        for item in header.get("ViewCodeSequence") or ()
    }
