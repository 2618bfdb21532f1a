"""A study's findings as a coded report: Comprehensive 3D SR after TID 1500.

As IHE's profile AI Results asks it of findings of whole images: each a measurement group (TID 1501)
with a reference to its image, and the algorithm as device, with a UID that changes with the model.
"""

from collections.abc import Iterator

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from cxrtool.evaluation.decisions import NEGATIVE, NO, POSITIVE, YES, Finding
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.pacs.codes import CHEST_X_RAY, coded, coded_rule
from cxrtool.pacs.headers import nothing_private
from cxrtool.pacs.instances import MANUFACTURER, common_attributes, device_uid
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage

SERIES, DESCRIPTION = 9001, "AI findings, research only"
DECISIONS: dict[str, Code] = {
    POSITIVE: codes.SCT.Present,
    YES: codes.SCT.Present,
    NEGATIVE: codes.SCT.Absent,
    NO: codes.SCT.Absent,
}
"""Of CID 240; anything else is undetermined."""


def structured_report(study: ScoredStudy) -> Comprehensive3DSR:
    """One report of a study, in a series of its own, not verified by anybody.

    Patient and study are those of the study's first image.

    Raises:
        DicomError: something of the study's cannot be copied.
    """
    with nothing_private("no report can be made of its header"):
        return Comprehensive3DSR(
            evidence=[one.header for one in study.scored],
            content=report_content(study),
            instance_number=1,
            is_complete=True,
            is_final=False,
            is_verified=False,
            **common_attributes(
                study, series_number=SERIES, description=DESCRIPTION, texts=_texts(study)
            ),
        )


def report_content(study: ScoredStudy) -> MeasurementReport:
    """What a study's report says, for any class of SR that may hold TID 1500."""
    algorithm = _algorithm(study.model)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(study.model)),
        procedure_reported=CHEST_X_RAY,
        imaging_measurements=[
            _group(finding, image, study.model, algorithm)
            for image in study.scored
            for finding in image.findings
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(
    finding: Finding, image: StudyImage, model: ModelFacts, algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations:
    """One finding of one image (TID 1501)."""
    concept = coded(finding.label)
    made = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(UID(), finding.label),
        finding_type=concept.code,
        finding_sites=[FindingSite(concept.site)] if concept.site else None,
        algorithm_id=algorithm,
        source_images=[
            SourceImageForMeasurementGroup(image.header.SOPClassUID, image.header.SOPInstanceUID)
        ],
        measurements=list(_measurements(finding, model)),
        qualitative_evaluations=[
            QualitativeEvaluation(
                codes.DCM.PresenceOfProperty,
                DECISIONS.get(finding.decision, codes.SCT.Undetermined),
            )
        ],
    )
    for remark in _remarks(finding, image):
        made[0].ContentSequence.append(
            TextContentItem(
                name=CodedConcept.from_code(codes.DCM.Comment),
                value=remark,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    return made


def _measurements(finding: Finding, model: ModelFacts) -> Iterator[Measurement]:
    one = codes.UCUM.NoUnits
    yield Measurement(codes.DCM.Probability, _short(finding.probability), one)
    if finding.threshold is not None:
        yield Measurement(
            codes.DCM.ThresholdValue,
            _short(finding.threshold),
            one,
            method=coded_rule(model.operating_point),
        )


def _short(value: float) -> float:
    """With as many digits as tell float32s apart: a Decimal String has 16 characters."""
    return float(f"{value:.9g}")


def _remarks(finding: Finding, image: StudyImage) -> Iterator[str]:
    """What a reader of a decision must know."""
    if image.warning:
        yield f"The image: {image.warning}"
    if finding.why_none:
        yield f"The threshold: {finding.why_none}"


def _algorithm(model: ModelFacts) -> AlgorithmIdentification:
    """TID 4019."""
    return AlgorithmIdentification(
        name=model.name,
        version=model.version,
        parameters=[
            f"weights SHA-256: {model.fingerprint}",
            f"architecture: {model.arch}",
            f"operating point: {model.operating_point}",
            f"calibration: {model.calibration}",
        ],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def _device(model: ModelFacts) -> ObserverContext:
    """The model as the observer (TID 1004)."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=device_uid(model),
            name=model.name,
            manufacturer_name=MANUFACTURER,
            model_name=model.arch,
            serial_number=model.fingerprint,
        ),
    )


def _texts(study: ScoredStudy) -> Iterator[str]:
    """All words of ours in the report."""
    model = study.model
    yield from (model.name, model.version, model.arch, model.operating_point, model.calibration)
    for image in study.scored:
        yield image.warning
        for finding in image.findings:
            yield from (finding.label, finding.why_none)
