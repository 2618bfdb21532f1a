"""Which image of which study a DICOM file is, without decoding it and without its patient."""

import hashlib
import io
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.uid import UID

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.reading import check_inflated_size
from cxrtool.images.dicom.stored import standard_name
from cxrtool.images.files import is_dicom
from cxrtool.pacs.headers import nothing_private

MANUFACTURER = "cxrtool"
"""Of all results."""
TAGS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Manufacturer")
"""All that is read."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
DEFERRED = 4096
"""Bytes of a value that is passed over instead of read."""
DIGITS = 32
"""Of a digest: enough that no two are the same by chance."""
SHORT = 10
"""Of a digest in a message."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What says which instance it is; nothing of the patient."""

    study_uid: str
    instance_uid: str
    class_uid: str
    is_image: bool
    """Else a report, a presentation state or another thing that nothing can be found in."""
    is_own: bool
    """Whether cxrtool made it: a result that its archive sent on."""

    @property
    def study(self) -> str:
        """The study's name in a spool."""
        return digest(self.study_uid)

    @property
    def name(self) -> str:
        """The instance's name there."""
        return digest(self.instance_uid)


def digest(text: str) -> str:
    """A name that says nothing: digits of the SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def identify(content: bytes) -> Identity:
    """Which instance the bytes of a DICOM file (PS3.10) are, all of which must be there.

    Raises:
        DicomError: it is not a DICOM file, ends too early, has no pixels though it is of a class of
            images, or does not say which instance of which study it is. Nothing that the file holds
            is quoted.
    """
    file = io.BytesIO(content)
    if not is_dicom(file, ""):
        raise DicomError("it is not a DICOM file")
    with nothing_private("it cannot be read as DICOM"):
        check_inflated_size(file)
        file.seek(0)
        header = dcmread(file, defer_size=DEFERRED, specific_tags=[*TAGS, *PIXELS], force=True)
        # A value of a known length is passed over, by more bytes than there are.
        # Of one that ends within a value of unknown length, pydicom keeps nothing.
        whole = file.tell() == len(content) and len(header) > 0
        study, instance, kind = (
            str(header.get(keyword) or "")
            for keyword in ("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID")
        )
        maker = str(header.get("Manufacturer") or "")
        pixels = any(keyword in header for keyword in PIXELS)
    is_image = "Image Storage" in standard_name(UID(kind))
    if not whole or (is_image and not pixels):
        raise DicomError("it ends before its last element")
    for keyword, value in (("StudyInstanceUID", study), ("SOPInstanceUID", instance)):
        if not UID(value).is_valid:
            raise DicomError(f"its {keyword} is missing or is not a UID")
    return Identity(
        study_uid=study,
        instance_uid=instance,
        class_uid=kind,
        is_image=is_image,
        is_own=maker == MANUFACTURER,
    )
