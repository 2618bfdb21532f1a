"""Results as DICOM: a coded report of a study, and pictures of where its findings are.

All that copies a patient is here. Nothing of a patient is logged, or quoted by a message.
"""

from importlib.util import find_spec

DICOM_MARK = ".cxrtool-dicom"
"""Says that a folder is one of DICOM results, which --force may empty."""


def why_absent() -> str:
    """Why there are no DICOM results here, and what to do; empty where there are."""
    if find_spec("highdicom") is not None:
        return ""
    return "DICOM results need highdicom: pip install 'cxrtool[dicom]'"
