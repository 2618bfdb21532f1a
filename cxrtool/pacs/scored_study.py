"""What DICOM results are made of: the images of one study, with what a model says of each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from PIL import Image
from pydicom.dataset import Dataset

from cxrtool.core.errors import DataError, counted, first_few
from cxrtool.evaluation.decisions import Finding
from cxrtool.images.heat_grid import HeatMap
from cxrtool.inference.model_facts import ModelFacts


@dataclass(frozen=True, kw_only=True)
class StudyImage:
    """One image of a study, and what a model says of it, or why it says nothing.

    Raises:
        ValueError: it has neither findings nor a reason, or both.
    """

    header: Dataset
    """Its own, of `read_header`."""
    findings: tuple[Finding, ...] = ()
    why_not: str = ""
    """Why it was not scored: `a lateral view by its View Position (LL)`, `cannot be decoded`."""
    failed: bool = False
    """Whether it should have been scored, and could not be."""
    warning: str = ""
    """Why its decisions may mean nothing."""
    grey: Image.Image | None = None
    """As it is shown, 8-bit; only for pictures of its findings."""
    heat: Mapping[str, HeatMap] = field(default_factory=dict)
    """What speaks for labels, where that is known."""

    def __post_init__(self) -> None:
        if bool(self.findings) == bool(self.why_not):
            raise ValueError("an image has findings, or a reason why it has none")

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return str(self.header.SOPInstanceUID)


@dataclass(frozen=True, kw_only=True)
class ScoredStudy:
    """The images of one study that a model has looked at, scored or not.

    Raises:
        DataError: no image, images of several studies or patients, or one that is there twice; the
            message quotes nothing of a patient.
    """

    images: tuple[StudyImage, ...]
    model: ModelFacts
    left_out: tuple[str, ...] = ()
    """Why files of the study are not among its images: a reason a file."""
    without_maps: str = ""
    """Why nothing is known of where the network looked; empty where that is known."""

    def __post_init__(self) -> None:
        if not self.images:
            why = f": {first_few(list(dict.fromkeys(self.left_out)))}" if self.left_out else ""
            raise DataError(f"the study has no image whose header can be read{why}")
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

    @property
    def not_scored(self) -> tuple[StudyImage, ...]:
        """The others."""
        return tuple(one for one in self.images if not one.findings)

    @property
    def uid(self) -> str:
        """Its Study Instance UID."""
        return str(self.images[0].header.StudyInstanceUID)

    @property
    def identity(self) -> tuple[str, ...]:
        """What its results are made of: see `work_identity`."""
        return work_identity(self.model, self.uid, (one.uid for one in self.images))


def work_identity(model: ModelFacts, study: str, images: Iterable[str]) -> tuple[str, ...]:
    """What makes results the same ones when the same work is done again, after a kill perhaps.

    That is the study with its images, by their UIDs, and all that the model's decisions rest on.
    Probabilities are not among it: their last digits differ between engines and batches.
    """
    rests_on = (model.name, model.fingerprint, model.decisions, model.operating_point)
    return (*rests_on, model.version, study, *sorted(images))
