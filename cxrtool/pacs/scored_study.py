"""What DICOM results are made of: the images of one study, with what a model says of each."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image
from pydicom.dataset import Dataset

from cxrtool.core.errors import DataError, counted
from cxrtool.evaluation.decisions import Finding
from cxrtool.images.heat_grid import HeatMap
from cxrtool.inference.model_facts import ModelFacts


@dataclass(frozen=True, kw_only=True)
class StudyImage:
    """One image of a study, and what a model says of it."""

    header: Dataset
    """Its own, of `read_header`."""
    findings: tuple[Finding, ...]
    """None where the image could not be scored."""
    warning: str = ""
    """Why its decisions may mean nothing."""
    grey: Image.Image | None = None
    """As it is shown, 8-bit; only for pictures of its findings."""
    heat: Mapping[str, HeatMap] = field(default_factory=dict)
    """What speaks for labels, where that is known."""

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return str(self.header.SOPInstanceUID)


@dataclass(frozen=True, kw_only=True)
class ScoredStudy:
    """The images of one study that a model has scored.

    Raises:
        DataError: no image, none with findings, images of several studies or patients, or one that
            is there twice; the message quotes nothing of a patient.
    """

    images: tuple[StudyImage, ...]
    model: ModelFacts

    def __post_init__(self) -> None:
        if not any(one.findings for one in self.images):
            raise DataError("no image of the study has findings: there is nothing to report")
        studies = {str(one.header.StudyInstanceUID) for one in self.images}
        if len(studies) > 1:
            raise DataError(
                f"the images are of {counted(len(studies), 'study')} (StudyInstanceUID): "
                "give those of one study at a time"
            )
        # A name may be written in several ways, but a number may not.
        if len({str(one.header.get("PatientID") or "") for one in self.images}) > 1:
            raise DataError(
                "the images are of one study and of several patients (PatientID): "
                "one of them was filed wrongly"
            )
        twice = sum(count > 1 for count in Counter(one.uid for one in self.images).values())
        if twice:
            raise DataError(f"{counted(twice, 'image')} given more than once (SOPInstanceUID)")

    @property
    def scored(self) -> tuple[StudyImage, ...]:
        """The images with findings."""
        return tuple(one for one in self.images if one.findings)
