"""The header of an image as it was sent, from which its results take patient and study."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pydicom import dcmread
from pydicom.datadict import (
    dictionary_description,
    dictionary_has_tag,
    dictionary_VR,
    keyword_for_tag,
)
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from cxrtool.core.errors import CxrToolError
from cxrtool.images.decoder_warnings import QUIET
from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.reading import check_inflated_size
from cxrtool.images.dicom.stored import standard_name
from cxrtool.images.files import is_dicom

# Its log quotes names.
logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
"""What says which image of which study it is: nothing can refer to it without."""
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Elements of type 2 (PS3.5, 7.4.3): each result has them, empty where they are not known."""
SEXES = ("", "M", "F", "O")
AS_IF_NAMED = "film.dcm"
"""What is sent may have any name."""
NUMBERS = ("DS", "IS")
"""Kinds of numbers that are written as text."""
COPIED = (0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0040)
"""Groups whose elements are of patient, study and procedure, and may be copied."""


def read_header(content: bytes | BinaryIO, *, any_object: bool = False) -> Dataset:
    """All that a DICOM file says but for its pixels, so that results can copy it.

    Args:
        content: of the file, or the open file.
        any_object: take other objects than images too, such as reports and presentation states.

    Raises:
        DicomError: it is not a DICOM file, is damaged, or lacks what results need; the message
            names elements, never what they hold.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    if not is_dicom(file, AS_IF_NAMED):
        raise DicomError("not a DICOM file: only a DICOM's results can be DICOM")
    with nothing_private("its header cannot be read"):
        check_inflated_size(file)
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True, force=True)
        _check_identity(header)
        if not (any_object or is_image(header)):
            raise DicomError(f"its {_named('SOPClassUID')} is not one of the standard's images")
        kept = _readable(header)
        _check_values(kept)
        return kept


def is_image(header: Dataset) -> bool:
    """Whether its SOP class is one of the standard's images."""
    return "Image Storage" in standard_name(header.SOPClassUID)


@contextmanager
def nothing_private(what: str) -> Iterator[None]:
    """Replace errors of pydicom and highdicom, which may quote a patient, by `what` failed."""
    try:
        with QUIET:
            yield
    except (CxrToolError, MemoryError):
        raise
    except Exception as error:
        raise DicomError(f"{what} ({type(error).__name__})") from None


def _readable(header: Dataset) -> Dataset:
    """The elements that can be read; what results do not copy may be damaged.

    Devices write many a wrong value among settings of the tube.
    """
    kept = Dataset()
    for tag in sorted(header.keys()):
        if tag.is_private or not dictionary_has_tag(tag):
            continue
        element = _element(header, tag)
        if element is not None:
            kept.add(element)
        elif tag.group in COPIED:
            raise DicomError(f"its {_named(keyword_for_tag(tag))} cannot be read")
    for keyword in MAY_BE_EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, None)
    return kept


def _element(header: Dataset, tag: BaseTag) -> DataElement | None:
    """An element; None where its value is not of its kind, of which pydicom makes another."""
    try:
        element = header[tag]
        values = element.value if element.VM > 1 else [element.value]
    except Exception:
        return None
    no_number = element.VR in NUMBERS and any(isinstance(one, str) and one for one in values)
    return element if element.VR in dictionary_VR(tag).split(" or ") and not no_number else None


def _check_identity(header: Dataset) -> None:
    missing = [_named(keyword) for keyword in IDENTITY if not header.get(keyword)]
    if missing:
        raise DicomError(f"without {', '.join(missing)}: no result can refer to it")
    for keyword in IDENTITY:
        if not UID(str(header.get(keyword))).is_valid:
            raise DicomError(f"its {_named(keyword)} is not a UID")


def _check_values(header: Dataset) -> None:
    """Refuse what would be copied and is not what the standard allows."""
    for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(header.get(keyword))
        except (TypeError, ValueError):
            what = "a time" if kind is TM else "a date"
            raise DicomError(f"its {_named(keyword)} is not {what}") from None
    if str(header.get("PatientSex") or "") not in SEXES:
        raise DicomError(f"its {_named('PatientSex')} is none of M, F, O and empty")


def _named(keyword: str) -> str:
    """An element as people know it: `Study Instance UID (StudyInstanceUID)`."""
    return f"{dictionary_description(keyword)} ({keyword})" if keyword else "unknown element"
