"""Which view of the body a DICOM header says that an image is."""

import re

from pydicom.dataset import Dataset

LATERAL = {"LL", "RL", "LAT", "LATERAL"}
OBLIQUE = {"LLO", "RLO"}
"""View Positions (PS3.3, C.8.11.5.1.1, and what is often written)."""
FRONTAL = {"AP", "PA"}
LATERAL_CODES = {
    "399067008": "lateral",
    "399173006": "left lateral",
    "399198007": "right lateral",
    "399352003": "lateral-medial",
    "399260004": "medial-lateral",
    "30730003": "sagittal",
}
"""View Codes of SNOMED CT (PS3.16, CID 4010)."""
FRONTAL_CODES = {
    "399348003": "antero-posterior",
    "272479007": "postero-anterior",
    "399033003": "frontal",
}
DESCRIBED = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolDescription")
"""What devices write of a view in words, where they leave out its View Position."""
LATERAL_WORD = re.compile(r"\b(LAT|LATERAL|LL|RL)\b")
FRONTAL_WORD = re.compile(r"\b(AP|PA|FRONTAL|DECUB\w*)\b")
"""A lateral decubitus is a frontal view of somebody who lies on the side."""
TAGS = ("ViewPosition", "PatientOrientation", "ViewCodeSequence", *DESCRIBED)
"""The elements that are looked at, where a header has them; nothing of what they hold is told."""


def lateral(header: Dataset) -> str:
    """Why an image is a lateral view; empty where it is none, or the header does not say.

    It quotes only terms of the standard, never other content of the file.
    """
    view = position(header)
    if view in LATERAL:
        return f"a lateral view by its View Position ({view})"
    if view in OBLIQUE or is_frontal(header):
        return ""
    if _is_sagittal(header):
        return "a lateral view by its Patient Orientation"
    if _codes(header) & set(LATERAL_CODES):
        return "a lateral view by its View Code"
    for keyword in DESCRIBED:
        words = str(header.get(keyword) or "").upper().replace("_", " ")
        if LATERAL_WORD.search(words) and not FRONTAL_WORD.search(words):
            return "a lateral view by its description"
    return ""


def is_frontal(header: Dataset) -> bool:
    """Whether the header says that an image is a frontal view."""
    return position(header) in FRONTAL or bool(_codes(header) & set(FRONTAL_CODES))


def position(header: Dataset) -> str:
    """The View Position; empty where there is none."""
    return str(header.get("ViewPosition") or "").strip().upper()


def _is_sagittal(header: Dataset) -> bool:
    """Whether the picture has front and back, and head and feet (PS3.3, C.7.6.1.1.1)."""
    orientation = list(header.get("PatientOrientation") or ())
    axes = {str(one)[:1] for one in orientation[:2]}
    return len(orientation) > 1 and bool(axes & {"A", "P"}) and bool(axes & {"H", "F"})


def _codes(header: Dataset) -> set[str]:
    return {
        str(item.get("CodeValue") or "")
        for item in header.get("ViewCodeSequence") or ()
        if item.get("CodingSchemeDesignator") == "SCT"
    }
