"""A study's findings as a coded report after TID 1500, in any class of SR that may hold it.

As IHE's profile AI Results asks it of findings of whole images: each a measurement group (TID 1501)
with a reference to its image, and the algorithm as device, with a UID that changes with the model.
Images that were not scored are groups too, one a reason.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
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

from cxrtool.core.errors import counted
from cxrtool.data.prediction_rows import RULE_IN, RULE_OUT
from cxrtool.evaluation.decisions import NEGATIVE, NO, POSITIVE, YES, Finding
from cxrtool.inference.model_facts import ModelFacts
from cxrtool.pacs.codes import CHEST_X_RAY, TRIAGE_VERDICT, coded, coded_rule, coded_verdict
from cxrtool.pacs.headers import is_image, nothing_private
from cxrtool.pacs.instances import (
    MANUFACTURER,
    common_attributes,
    device_uid,
    finding_uid,
    result_uid,
)
from cxrtool.pacs.scored_study import ScoredStudy, StudyImage

SERIES, DESCRIPTION = 9001, "AI findings, research only"
INTENDED_USE = "intended use: research only, not for diagnosis"
CLASSES: dict[str, type[Comprehensive3DSR | ComprehensiveSR | EnhancedSR]] = {
    "comprehensive-3d": Comprehensive3DSR,
    "comprehensive": ComprehensiveSR,
    "enhanced": EnhancedSR,
}
"""Of SR, by what they are called on the command line."""
DECISIONS: dict[str, Code] = {
    POSITIVE: codes.SCT.Present,
    YES: codes.SCT.Present,
    NEGATIVE: codes.SCT.Absent,
    NO: codes.SCT.Absent,
}
"""Of CID 240; anything else is undetermined."""
SIDES = (RULE_OUT, RULE_IN)
"""Of a triage's two thresholds."""


def structured_report(
    study: ScoredStudy, sr_class: str = "comprehensive-3d"
) -> Comprehensive3DSR | ComprehensiveSR | EnhancedSR:
    """One report of a study, in a series of its own, not verified by anybody.

    Patient and study are those of the study's first image. The content does not hang on the class.

    Args:
        study: where no image of it was scored, the report says why.
        sr_class: one of `CLASSES`.

    Raises:
        DicomError: something of the study's cannot be copied.
    """
    with nothing_private("no report can be made of its header"):
        return CLASSES[sr_class](
            evidence=[one.header for one in study.images],
            content=report_content(study),
            instance_number=1,
            is_complete=True,
            is_final=False,
            is_verified=False,
            **common_attributes(
                study,
                sr_class,
                series_number=SERIES,
                description=DESCRIPTION,
                texts=_texts(study),
            ),
        )


def report_content(study: ScoredStudy) -> MeasurementReport:
    """What a study's report says, for any class of SR that may hold TID 1500."""
    algorithm = _algorithm(study.model)
    findings = [
        _finding(study, image, finding, algorithm)
        for image in study.scored
        for finding in image.findings
    ]
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(study.model)),
        procedure_reported=CHEST_X_RAY,
        imaging_measurements=[*findings, *_not_scored(study, algorithm)],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _finding(
    study: ScoredStudy, image: StudyImage, finding: Finding, algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations:
    """One finding of one image (TID 1501)."""
    concept = coded(finding.label)
    made = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            finding_uid(study, image.uid, finding.label), finding.label
        ),
        finding_type=concept.code,
        finding_sites=[FindingSite(concept.site)] if concept.site else None,
        algorithm_id=algorithm,
        source_images=_references([image]),
        measurements=list(_measurements(finding, study.model)),
        qualitative_evaluations=list(_evaluations(finding)),
    )
    return _with_comments(made, _remarks(finding, image))


def _not_scored(
    study: ScoredStudy, algorithm: AlgorithmIdentification
) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    """Why images were not scored, and files left out, a group a reason: a CT has many images.

    Whether that was tried and failed is of CID 6042.
    """
    for failed in (True, False):
        those = [one for one in study.not_scored if one.failed == failed]
        for why in dict.fromkeys(one.why_not for one in those):
            images = [one for one in those if one.why_not == why]
            yield _reason(study, algorithm, f"Not scored: {why}", images, failed=failed)
    for why, files in Counter(study.left_out).items():
        left_out = f"{counted(files, 'file')} left out: {why}"
        yield _reason(study, algorithm, left_out, (), failed=True)


def _reason(
    study: ScoredStudy,
    algorithm: AlgorithmIdentification,
    why: str,
    images: Sequence[StudyImage],
    *,
    failed: bool,
) -> MeasurementsAndQualitativeEvaluations:
    outcome = codes.DCM.Failed if failed else codes.DCM.NotAttempted
    made = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(result_uid(study, "not scored", why), "Not scored"),
        algorithm_id=algorithm,
        source_images=_references(images),
        qualitative_evaluations=[QualitativeEvaluation(codes.DCM.SummaryOfAnalyses, outcome)],
    )
    return _with_comments(made, [why])


def _references(images: Sequence[StudyImage]) -> list[SourceImageForMeasurementGroup] | None:
    """References to those that are images: presentations and reports may be among them."""
    found = [
        SourceImageForMeasurementGroup(one.header.SOPClassUID, one.header.SOPInstanceUID)
        for one in images
        if is_image(one.header)
    ]
    return found or None


def _with_comments(
    made: MeasurementsAndQualitativeEvaluations, comments: Iterable[str]
) -> MeasurementsAndQualitativeEvaluations:
    for comment in comments:
        made[0].ContentSequence.append(
            TextContentItem(
                name=CodedConcept.from_code(codes.DCM.Comment),
                value=comment,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    return made


def _evaluations(finding: Finding) -> Iterator[QualitativeEvaluation]:
    yield QualitativeEvaluation(
        codes.DCM.PresenceOfProperty,
        DECISIONS.get(finding.decision, codes.SCT.Undetermined),
    )
    if finding.verdict:
        yield QualitativeEvaluation(TRIAGE_VERDICT, coded_verdict(finding.verdict))


def _measurements(finding: Finding, model: ModelFacts) -> Iterator[Measurement]:
    """The probability and what it is compared with: each threshold's method is its rule."""
    yield _number(codes.DCM.Probability, finding.probability)
    if finding.threshold is not None:
        rule = coded_rule(model.operating_point)
        yield _number(codes.DCM.ThresholdValue, finding.threshold, rule)
    if finding.limits is not None and model.triage is not None:
        for side, limit, promised in zip(SIDES, finding.limits, model.triage, strict=True):
            yield _number(codes.DCM.ThresholdValue, limit, coded_rule(promised, side))


def _number(name: Code, value: float, method: Code | None = None) -> Measurement:
    """A number without units, with as many digits as tell float32s apart.

    A Decimal String has 16 characters at most.
    """
    return Measurement(name, float(f"{value:.9g}"), codes.UCUM.NoUnits, method=method)


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
            *(f"promised: {text}" for text in model.promises),
            *model.remarks,
            INTENDED_USE,
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
    yield from (*model.promises, *model.remarks, *(model.triage or ()), *study.left_out)
    for image in study.images:
        yield from (image.warning, image.why_not)
        for finding in image.findings:
            yield from (finding.label, finding.why_none)
