"""Which instance of which study a DICOM file is, so that a row can go back to its archive."""

from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset

from cxrtool.images.decoder_warnings import QUIET
from cxrtool.images.dicom import views
from cxrtool.images.files import is_dicom_file

TAGS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "AccessionNumber",
    "ViewPosition",
    "Modality",
)
"""Elements that stand in a row. With `views.TAGS` they are all that is read: neither name, number
nor birth date of the patient."""
NOT_KNOWN = ""


class InstanceIds(NamedTuple):
    """What an archive knows an instance by; empty where the file does not say it."""

    study: str
    """Study Instance UID."""
    series: str
    """Series Instance UID."""
    instance: str
    """SOP Instance UID."""
    accession: str
    """Accession Number: the order's, by which a hospital finds the patient."""
    view: str
    """View Position."""
    modality: str
    lateral: str
    """Why it is a lateral view; empty where it is none, or does not say."""


def read_instance_ids(path: Path | str) -> InstanceIds | None:
    """Read a file's identifiers and nothing else of it.

    Returns:
        None where the file is no DICOM, or its header cannot be read: scoring says why.
    """
    try:
        if not is_dicom_file(path):
            return None
        with QUIET:
            tags = [*TAGS, *views.TAGS]
            header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
            return _ids_of(header)
    except Exception:  # nearly anything may be wrong with a header, and its words quote it
        return None


def _ids_of(header: Dataset) -> InstanceIds:
    study, series, instance, accession, view, modality = (
        _word(header, keyword) for keyword in TAGS
    )
    return InstanceIds(study, series, instance, accession, view, modality, views.lateral(header))


def _word(header: Dataset, keyword: str) -> str:
    """A value on one line of a table."""
    text = str(header.get(keyword) or NOT_KNOWN)
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
