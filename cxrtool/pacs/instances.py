"""What all DICOM results share: who made them, their UIDs, how they are described, their bytes."""

import io
import json
import uuid
from collections.abc import Iterable
from typing import Any

from highdicom import UID, ContributingEquipment
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from cxrtool.inference.model_facts import ModelFacts
from cxrtool.pacs.codes import PRIVATE, PRIVATE_NAME, long_string
from cxrtool.pacs.headers import nothing_private
from cxrtool.pacs.identity import MANUFACTURER as MANUFACTURER
from cxrtool.pacs.scored_study import ScoredStudy

MODELS = uuid.UUID("5b0d4f0a-9f4e-5f6c-8a55-7d2f1c7a3e10")
"""The name space of the UIDs of models."""
RESULTS = uuid.UUID("0f6c3d52-7b1e-5c0a-9d83-4f5e2a86b1c7")
"""The name space of the UIDs of results."""
UTF_8 = "ISO_IR 192"
PLAIN_SETS = (
    "",
    *(f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166)),
)
"""Character sets without code extensions, by which alone values can be written (PS3.3, C.12.1.1.2).
"""
CHEST = "CHEST"


def device_uid(model: ModelFacts) -> str:
    """The UID of a model: the same for the same weights, another one for others.

    A UUID of its fingerprint (RFC 9562, version 5) as a UID (PS3.5, B.2).
    """
    return f"2.25.{uuid.uuid5(MODELS, model.fingerprint).int}"


def result_uid(study: ScoredStudy, *what: str) -> UID:
    """The UID of one thing of a study's results: the same whenever the same work is done again.

    So what is sent to an archive twice is there once. A name-based UUID of the work and of `what`
    the thing is (RFC 9562, version 5), as a UID (PS3.5, B.2).
    """
    name = json.dumps([study.identity, what])
    return UID(f"2.25.{uuid.uuid5(RESULTS, name).int}")


def finding_uid(study: ScoredStudy, image: str, label: str) -> UID:
    """What ties a finding in the report and the marks of it together: its tracking UID."""
    return result_uid(study, "finding", label, image)


def common_attributes(
    study: ScoredStudy,
    *what: str,
    series_number: int,
    description: str,
    texts: Iterable[str],
) -> dict[str, Any]:
    """What the constructor of each result is given.

    Args:
        study: whose result it is.
        what: tells it from the study's other results.
        series_number: of the result's own series.
        description: of that series, for the lists of viewers.
        texts: all of ours that the result holds: what the study's own character set may lack
            makes it UTF-8.
    """
    model = study.model
    return {
        "series_instance_uid": result_uid(study, "series", str(series_number)),
        "sop_instance_uid": result_uid(study, "instance", str(series_number), *what),
        "series_number": series_number,
        "series_description": description,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": long_string(model.name),
        "software_versions": long_string(model.version),
        "device_serial_number": long_string(model.fingerprint),
        "contributing_equipment": [_equipment(model)],
        "coding_schemes": [CodingSchemeIdentificationItem(designator=PRIVATE, name=PRIVATE_NAME)],
        "specific_character_set": _character_set(study, texts),
    }


def _character_set(study: ScoredStudy, texts: Iterable[str]) -> str | None:
    """The study's own character set, where it is one of the standard's and suffices, else UTF-8.

    Sets that change within a text (ISO 2022) end in UTF-8 too: values are decoded before they are
    copied.
    """
    own = study.images[0].header.get("SpecificCharacterSet") or ""
    alone = isinstance(own, str) and own in PLAIN_SETS
    return (own or None) if alone and "".join(texts).isascii() else UTF_8


def copy_body_part(header: Dataset, made: Dataset) -> None:
    """Let the series of a result say of which part of the body it is, as its film does.

    Without that a laterality is asked for (PS3.3, C.7.3.1), which a chest, not being paired, has
    mostly none of.
    """
    made.BodyPartExamined = header.get("BodyPartExamined") or CHEST
    if header.get("Laterality"):
        made["Laterality"] = header["Laterality"]


def dicom_file(result: Dataset) -> bytes:
    """A result as the bytes of a file (PS3.10)."""
    file = io.BytesIO()
    with nothing_private("its patient and study cannot be written"):
        result.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _equipment(model: ModelFacts) -> ContributingEquipment:
    """The model as equipment that contributed, with the UID that changes with it (IHE AIR)."""
    made = ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=long_string(model.name),
        software_versions=long_string(model.version),
        device_serial_number=long_string(model.fingerprint),
        contribution_description="Findings of a neural network, for research only",
    )
    made.DeviceUID = device_uid(model)
    return made
