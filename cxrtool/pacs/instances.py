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
    kept = study.images[0].header.get("SpecificCharacterSet")
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
        "specific_character_set": kept if "".join(texts).isascii() else UTF_8,
    }


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
