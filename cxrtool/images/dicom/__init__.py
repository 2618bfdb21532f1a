"""DICOM files as pictures. pydicom is imported only when one is met."""

from cxrtool.core.errors import DataError


class DicomError(DataError):
    """Why a DICOM file gives no picture, without the file's name; nothing of the patient in it."""
