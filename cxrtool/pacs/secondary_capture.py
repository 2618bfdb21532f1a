"""Pictures of a study's positive findings as Secondary Captures: any viewer shows these."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from cxrtool.evaluation.decisions import POSITIVE, Finding
from cxrtool.images.dicom.orientation import upright
from cxrtool.pacs.capture_picture import draw_capture
from cxrtool.pacs.codes import long_string
from cxrtool.pacs.headers import nothing_private
from cxrtool.pacs.instances import common_attributes, copy_body_part
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage

SERIES, DESCRIPTION = 9002, "AI heat maps, research only"
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Once lossy, always lossy (PS3.3, C.7.6.1.1.5)."""


def secondary_captures(study: ScoredStudy) -> Iterator[SCImage]:
    """A picture of each positive finding of a study's images, all in one series, one at a time.

    Images without `grey` have none.

    Raises:
        DicomError: something of the study's cannot be copied.
    """
    positive = [
        (image, finding)
        for image in study.scored
        for finding in image.findings
        if finding.decision == POSITIVE and image.grey is not None
    ]
    labels = [finding.label for _, finding in positive]
    for number, (image, finding) in enumerate(positive, start=1):
        shared = common_attributes(
            study,
            image.uid,
            finding.label,
            series_number=SERIES,
            description=DESCRIPTION,
            texts=(study.model.name, study.model.version, *labels),
        )
        with nothing_private("no picture can be made of its header"):
            yield _capture(study, image, finding, number, shared)


def _capture(
    study: ScoredStudy,
    image: StudyImage,
    finding: Finding,
    number: int,
    shared: dict[str, Any],
) -> SCImage:
    assert image.grey is not None
    heat = image.heat.get(finding.label)
    pixels = draw_capture(image.grey, heat, finding, study.model, study.without_maps)
    made = _image(image.header, pixels, number, shared)
    made.ConversionType = "WSD"  # of a workstation
    made.BurnedInAnnotation = "YES"
    made.DerivationDescription = (
        f"The film in 8-bit grey, what speaks for {finding.label} laid over it, and words"
    )
    made.ImageComments = long_string(f"{finding.label}: probability {finding.shown}")
    made.SourceImageSequence = [_reference(image.header)]
    return made


def _image(
    header: Dataset, pixels: NDArray[np.uint8], number: int, shared: dict[str, Any]
) -> SCImage:
    """A Secondary Capture of the same view of the same body as a film."""
    made = SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # replaced: it takes none that is not known
        instance_number=number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **shared,
    )
    made.copy_patient_and_study_information(header)
    # Of the film, which was put upright.
    orientation = upright(header).orientation
    made.PatientOrientation = list(orientation or header.get("PatientOrientation") or [])
    copy_body_part(header, made)
    for keyword in LOSSY if header.get("LossyImageCompression") == "01" else ():
        if header.get(keyword):
            made[keyword] = header[keyword]
    return made


def _reference(header: Dataset) -> Dataset:
    """The film that a picture was made of."""
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    purpose = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
