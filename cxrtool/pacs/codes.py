"""Coded concepts of what a model finds: one table for the labels of CheXpert.

SNOMED CT where a concept means what the label means, and DICOM's own code where SNOMED CT is less
exact. A wider concept would be wrong: "absent" would then deny too much. Such a label has a private
code, with the label as its meaning.
"""

import hashlib
import re
from dataclasses import dataclass

from pydicom.sr.coding import Code

from cxrtool.data.labels import NO_FINDING, SUPPORT_DEVICES
from cxrtool.data.prediction_rows import READ_FIRST, RULE_IN, RULE_OUT

PRIVATE = "99CXRTOOL"
"""The scheme of codes that are cxrtool's own (99: private, PS3.16, 8.2)."""
PRIVATE_NAME = "Labels and operating points of cxrtool"
MOST_VALUE, MOST_LONG = 16, 64
"""Characters of a Code Value (SH) and of a Long String (LO), such as a Code Meaning."""
PLAIN = re.compile(r"[A-Za-z0-9 .:=_-]+")
SNOMED = "SNOMED CT, International Edition"

LUNG = Code("39607008", "SCT", "Lung")
MEDIASTINUM = Code("72410000", "SCT", "Mediastinum")
PLEURA = Code("3120008", "SCT", "Pleura")
CHEST_X_RAY = Code("399208008", "SCT", "Plain X-ray of chest")
"""The procedure that is reported; SNOMED CT."""
TRIAGE_VERDICT = Code("TRIAGE-VERDICT", PRIVATE, "Triage verdict")
VERDICTS = {
    RULE_OUT: "Ruled out: below the certified lower threshold",
    READ_FIRST: "Read first: between the two certified thresholds",
    RULE_IN: "Ruled in: at or over the certified upper threshold",
}


@dataclass(frozen=True, kw_only=True)
class Coded:
    """What a label is called in a coded report."""

    code: Code
    site: Code | None = None
    """Where it is, for a concept that does not say so itself (PS3.16, CID 6100 and CID 4)."""
    source: str
    """Whose list has the code, and why it was chosen where none is exact."""


LABELS = {
    NO_FINDING: Coded(
        code=Code("NO-FINDING", PRIVATE, NO_FINDING),
        source="own: none of the other labels, devices apart; SNOMED CT's 168733007, standard "
        "chest X-ray normal, says more than that",
    ),
    "Enlarged Cardiomediastinum": Coded(
        code=Code("ENLARGED-CM", PRIVATE, "Enlarged Cardiomediastinum"),
        site=MEDIASTINUM,
        source="own: heart or mediastinum; concepts of a wide mediastinum leave out the heart",
    ),
    "Cardiomegaly": Coded(code=Code("8186001", "SCT", "Cardiomegaly"), source=SNOMED),
    "Lung Opacity": Coded(
        code=Code("112001", "DCM", "Opacity"), site=LUNG, source="DICOM PS3.16, CID 6102"
    ),
    "Lung Lesion": Coded(
        code=Code("52988006", "SCT", "Lesion"),
        site=LUNG,
        source="DICOM PS3.16, CID 7151, at a site: the label holds nodules, masses and cavities",
    ),
    "Edema": Coded(
        code=Code("19242006", "SCT", "Pulmonary edema"), source="DICOM PS3.16, CID 3700"
    ),
    "Consolidation": Coded(code=Code("95436008", "SCT", "Lung consolidation"), source=SNOMED),
    "Pneumonia": Coded(code=Code("233604007", "SCT", "Pneumonia"), source=SNOMED),
    "Atelectasis": Coded(code=Code("46621007", "SCT", "Atelectasis"), source=SNOMED),
    "Pneumothorax": Coded(
        code=Code("36118008", "SCT", "Pneumothorax"), source="DICOM PS3.16, CID 6102"
    ),
    "Pleural Effusion": Coded(
        code=Code("60046008", "SCT", "Pleural effusion"), source="DICOM PS3.16, CID 645"
    ),
    "Pleural Other": Coded(
        code=Code("PLEURAL-OTHER", PRIVATE, "Pleural Other"),
        site=PLEURA,
        source="own: changes of the pleura other than effusion and pneumothorax; SNOMED CT's "
        "88075009, disorder of pleura, holds these two as well",
    ),
    "Fracture": Coded(code=Code("125605004", "SCT", "Fracture of bone"), source=SNOMED),
    SUPPORT_DEVICES: Coded(
        code=Code("49062001", "SCT", "Device"),
        source=f"{SNOMED}: the nearest concept that holds lines, tubes, pacemakers and drains",
    ),
}
"""The labels of CheXpert (Irvin et al. 2019, Table 1)."""


def coded(label: str) -> Coded:
    """A label's concept: of the table, by its exact name, or a private one."""
    found = LABELS.get(label)
    return found or Coded(code=_private(label, label), source="own: a label of the model's own")


def coded_rule(operating_point: str, side: str = "") -> Code:
    """The rule that a threshold was chosen by, as a method of measurement.

    Args:
        operating_point: the rule.
        side: of a triage's two thresholds, which: `rule-out` or `rule-in`.
    """
    if side:
        return _private(f"{side}:{operating_point}", f"To {side}: {operating_point}")
    return _private(f"op:{operating_point}", f"Operating point {operating_point}")


def coded_verdict(verdict: str) -> Code:
    """A triage's verdict: `rule-out`, `read-first` or `rule-in`."""
    return _private(f"tv:{verdict}", VERDICTS[verdict])


def _private(name: str, meaning: str) -> Code:
    """A private code: the name itself where it can be a Code Value, else digits of its SHA-256."""
    fits = len(name) <= MOST_VALUE and PLAIN.fullmatch(name) and name == name.strip()
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return Code(name if fits else digits[:MOST_VALUE], PRIVATE, long_string(meaning))


def long_string(text: str) -> str:
    """A text as one value of a Long String: a backslash would part it (PS3.5, 6.2)."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = " ".join(line.replace("\\", "/").split())
    # Of 64 characters; some readers count bytes.
    return plain.encode()[:MOST_LONG].decode(errors="ignore").rstrip() or "unnamed"
