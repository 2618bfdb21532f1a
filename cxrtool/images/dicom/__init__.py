"""DICOM files as pictures. pydicom is imported only when one is met."""

from cxrtool.core.errors import DataError


class DicomError(DataError):
    """Why a DICOM file cannot be read; names neither the file nor the patient."""
