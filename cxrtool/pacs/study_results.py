"""All DICOM results of a study, one after another, as the bytes of files with names."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from cxrtool.pacs.instances import dicom_file
from cxrtool.pacs.presentation_state import presentation_states
from cxrtool.pacs.scored_study import ScoredStudy
from cxrtool.pacs.secondary_capture import secondary_captures
from cxrtool.pacs.structured_report import structured_report


@dataclass(frozen=True, kw_only=True)
class Result:
    """One DICOM result."""

    name: str
    """Of its file: `report.dcm`, `picture-1.dcm`, `marks-1.dcm`."""
    sop_class_uid: str
    sop_instance_uid: str
    content: bytes = field(repr=False)
    """Of the file (PS3.10)."""


def study_results(
    study: ScoredStudy,
    *,
    sr_class: str = "comprehensive-3d",
    captures: bool = True,
    presentation: bool = False,
) -> Iterator[Result]:
    """The report of a study, and pictures and marks of its positive findings, made one at a time.

    Done again they have the same UIDs, so that an archive has each of them once.

    Args:
        study: where no image of it was scored, there is the report alone.
        sr_class: of the report: one of `structured_report.CLASSES`.
        captures: whether there are pictures (Secondary Captures).
        presentation: whether there are marks (presentation states).

    Raises:
        DicomError: something of the study's cannot be copied.
    """
    yield _result("report.dcm", structured_report(study, sr_class))
    if captures:
        for number, picture in enumerate(secondary_captures(study), start=1):
            yield _result(f"picture-{number}.dcm", picture)
    if presentation:
        for number, marks in enumerate(presentation_states(study), start=1):
            yield _result(f"marks-{number}.dcm", marks)


def _result(name: str, made: Dataset) -> Result:
    return Result(
        name=name,
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
        content=dicom_file(made),
    )
