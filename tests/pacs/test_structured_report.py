from dataclasses import replace

import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    EnhancedSRStorage,
    ExplicitVRBigEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    generate_uid,
)

from cxrtool.core.config import SR_CLASSES
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.evaluation.decisions import findings_of
from cxrtool.pacs.codes import LUNG, TRIAGE_VERDICT, coded, coded_verdict
from cxrtool.pacs.headers import read_header
from cxrtool.pacs.instances import device_uid, dicom_file
from cxrtool.pacs.scored_study import ScoredStudy
from cxrtool.pacs.structured_report import CLASSES, structured_report
from tests.support.dicoms import NAME, NUMBER
from tests.support.studies import (
    MODEL,
    STUDY,
    WHOLE,
    as_bytes,
    cr,
    dx,
    errors_of_the_standard,
    findings,
    read_back,
    study,
    study_image,
)


def reported(given):
    """A report as another program reads it."""
    return Comprehensive3DSR.from_dataset(read_back(dicom_file(structured_report(given))))


@pytest.fixture(scope="module")
def ordinary():
    return reported(study())


def groups_of(report):
    return report.content.get_image_measurement_groups()


def group_of(report, label):
    (found,) = (one for one in groups_of(report) if one.tracking_identifier == label)
    return found


def number(group, name):
    found = group.get_measurements(name)
    return found[0].value if found else None


def decision(group):
    (found,) = group.get_qualitative_evaluations(codes.DCM.PresenceOfProperty)
    return found.value


def comments(group):
    items = group[0].ContentSequence
    return [one.TextValue for one in items if one.name == codes.DCM.Comment]


def test_each_finding_is_a_group_with_its_numbers_and_decision():
    given = findings(thresholds={"Fracture": None})
    report = reported(study(study_image(findings=given)))
    assert [one.tracking_identifier for one in groups_of(report)] == [one.label for one in given]
    present = {
        "positive": codes.SCT.Present,
        "yes": codes.SCT.Present,
        "negative": codes.SCT.Absent,
        "no": codes.SCT.Absent,
        "n/a": codes.SCT.Undetermined,
    }
    assert {one.decision for one in given} == {"positive", "negative", "no", "n/a"}
    for finding, group in zip(given, groups_of(report), strict=True):
        assert group.finding_type == coded(finding.label).code
        assert number(group, codes.DCM.Probability) == pytest.approx(finding.probability, rel=1e-8)
        assert number(group, codes.DCM.ThresholdValue) == finding.threshold
        assert decision(group) == present[finding.decision]


def test_no_finding_may_be_present():
    given = findings(scores=[0.9] + [0.1] * 13)
    report = reported(study(study_image(findings=given)))
    assert decision(group_of(report, NO_FINDING)) == codes.SCT.Present


def test_numbers_have_no_units_and_the_threshold_names_its_rule(ordinary):
    group = group_of(ordinary, "Edema")
    for name in (codes.DCM.Probability, codes.DCM.ThresholdValue):
        (found,) = group.get_measurements(name)
        assert found.unit == codes.UCUM.NoUnits
    assert found.method.meaning == "Operating point sensitivity=0.9"


def test_small_numbers_that_differ_stay_apart():
    label = CHEXPERT_LABELS[1]
    given = findings([0.00000312345], [label], {label: 0.00000312346})
    group = group_of(reported(study(study_image(findings=given))), label)
    assert number(group, codes.DCM.Probability) < number(group, codes.DCM.ThresholdValue)


def test_a_site_is_named_where_the_concept_has_none(ordinary):
    assert [one.topographical_modifier for one in group_of(ordinary, "Edema").finding_sites] == []
    (site,) = group_of(ordinary, "Lung Lesion").finding_sites
    assert site.value == LUNG


def test_the_algorithm_is_told_with_all_that_its_decisions_rest_on(ordinary):
    items = group_of(ordinary, "Edema")[0].ContentSequence

    def told(name):
        return [one.TextValue for one in items if one.name == name]

    assert told(codes.DCM.AlgorithmName) == ["strong"]
    assert told(codes.DCM.AlgorithmVersion) == ["1.2.3"]
    assert told(codes.DCM.AlgorithmManufacturer) == ["cxrtool"]
    assert told(codes.DCM.AlgorithmParameters) == [
        f"weights SHA-256: {MODEL.fingerprint}",
        "architecture: resnet101",
        "operating point: sensitivity=0.9",
        "calibration: platt",
        "intended use: research only, not for diagnosis",
    ]
    (family,) = (one for one in items if one.name == codes.DCM.AlgorithmFamily)
    assert family.value == codes.DCM.ArtificialIntelligence


def test_the_observer_is_the_model_and_changes_with_it():
    def observer(model):
        (context,) = reported(study(model=model)).content.get_observer_contexts()
        assert context.observer_type == codes.DCM.Device
        return context.observer_identifying_attributes

    found = observer(MODEL)
    assert (found.uid, found.name) == (device_uid(MODEL), "strong")
    assert observer(replace(MODEL, fingerprint="0" * 64)).uid != found.uid


def test_each_finding_refers_to_its_image():
    first, second = study_image(), study_image(cr(PatientID=NUMBER), findings=findings()[:3])
    report = reported(study(first, second))
    assert len(groups_of(report)) == len(first.findings) + 3
    for image in (first, second):
        those = report.content.get_image_measurement_groups(
            referenced_sop_instance_uid=image.header.SOPInstanceUID
        )
        assert [one.tracking_identifier for one in those] == [one.label for one in image.findings]
    evidence = {str(instance) for _, _, instance, _ in report.get_evidence()}
    assert evidence == {first.uid, second.uid}


def test_it_is_of_the_same_study_and_patient_in_a_series_of_its_own():
    image = study_image()
    report = reported(study(image))
    assert report.StudyInstanceUID == STUDY
    assert report.SeriesInstanceUID != image.header.SeriesInstanceUID
    assert (str(report.PatientName), report.PatientID) == (NAME, NUMBER)
    for keyword, value in WHOLE.items():
        if keyword != "SeriesInstanceUID":
            assert str(report.get(keyword)) == value, keyword
    assert report.SeriesDescription == "AI findings, research only"


def test_nobody_has_verified_it(ordinary):
    assert ordinary.VerificationFlag == "UNVERIFIED"
    assert ordinary.PreliminaryFlag == "PRELIMINARY"
    assert "VerifyingObserverSequence" not in ordinary


def test_what_makes_a_decision_doubtful_is_said_beside_it(ordinary):
    given = findings(thresholds={"Fracture": None}, warning="blank: every pixel is 0")
    report = reported(study(study_image(findings=given, warning="blank: every pixel is 0")))
    assert {decision(one) for one in groups_of(report)} == {codes.SCT.Undetermined}
    group = group_of(report, "Fracture")
    image, threshold = comments(group)
    assert image == "The image: blank: every pixel is 0"
    assert threshold == "The threshold: valid had 3 positives"
    assert comments(group_of(ordinary, "Edema")) == []


def test_but_for_its_time_it_is_always_the_same():
    image = study_image()
    first, second = (reported(study(image)).to_json_dict() for _ in range(2))
    assert list(_lasting(first)) == list(_lasting(second))


def _lasting(values):
    for key, element in values.items():
        if element["vr"] == "SQ":
            for item in element.get("Value", []):
                yield from _lasting(item)
        elif element["vr"] not in ("DA", "TM", "DT"):
            yield key, element.get("Value")


LIMITS = dict.fromkeys(("Edema", "Fracture", "Pneumonia"), (0.2, 0.8))
RULES = ("certified-npv=0.98", "certified-ppv=0.5@90")
PROMISE = "rule-out: NPV of at least 0.98 at 95 % confidence"


def triaged(warning=""):
    thresholds = dict.fromkeys(LIMITS, 0.5) | {"Fracture": None}
    found = findings_of([0.1, 0.5, 0.9], list(LIMITS), thresholds, warning, limits=LIMITS)
    model = replace(MODEL, triage=RULES, promises=(PROMISE,))
    return study(study_image(findings=found, warning=warning), model=model)


def verdicts(group):
    return [one.value for one in group.get_qualitative_evaluations(TRIAGE_VERDICT)]


def test_a_triage_has_its_verdicts_both_thresholds_and_what_is_promised():
    report = reported(triaged())
    expected = {"Edema": "rule-out", "Fracture": "read-first", "Pneumonia": "rule-in"}
    for label, verdict in expected.items():
        group = group_of(report, label)
        assert verdicts(group) == [coded_verdict(verdict)]
        methods = {
            one.method.meaning: one.value
            for one in group.get_measurements(codes.DCM.ThresholdValue)
            if not one.method.meaning.startswith("Operating point")
        }
        assert methods == {f"To rule-out: {RULES[0]}": 0.2, f"To rule-in: {RULES[1]}": 0.8}
        told = [one.get("TextValue") for one in group[0].ContentSequence]
        assert f"promised: {PROMISE}" in told
    assert decision(group_of(report, "Fracture")) == codes.SCT.Undetermined


def test_nothing_is_ruled_out_of_a_blank_picture(ordinary):
    report = reported(triaged("blank: every pixel is 0"))
    assert [verdicts(one) for one in groups_of(report)] == [[], [], []]
    assert verdicts(group_of(ordinary, "Edema")) == []


def not_scored(why, *, failed=False, **elements):
    header = read_header(as_bytes(dx(**elements)), any_object=True)
    return study_image(header=header, findings=(), why_not=why, failed=failed)


def unscored_study():
    """Nothing of it was scored."""
    lateral, raw = "a lateral view by its View Position (LL)", "cannot be decoded"
    return ScoredStudy(
        images=(
            not_scored(lateral, ViewPosition="LL"),
            not_scored(lateral, ViewPosition="LL"),
            not_scored(raw, failed=True),
            not_scored(
                "not an image: a presentation state",
                SOPClassUID=GrayscaleSoftcopyPresentationStateStorage,
            ),
        ),
        model=MODEL,
        left_out=("its header cannot be read", "its header cannot be read"),
    )


def test_why_nothing_was_scored_is_said_of_the_images():
    given = unscored_study()
    report = reported(given)
    found = {}
    for group in groups_of(report):
        (outcome,) = group.get_qualitative_evaluations(codes.DCM.SummaryOfAnalyses)
        images = [one.referenced_sop_instance_uid for one in group.source_images or ()]
        found[comments(group)[0]] = (outcome.value, images)
    first, second, third, fourth = (one.uid for one in given.images)
    tried, not_tried = codes.DCM.Failed, codes.DCM.NotAttempted
    assert found == {
        "Not scored: cannot be decoded": (tried, [third]),
        "Not scored: a lateral view by its View Position (LL)": (not_tried, [first, second]),
        "Not scored: not an image: a presentation state": (not_tried, []),
        "2 files left out: its header cannot be read": (tried, []),
    }
    evidence = {str(instance) for _, _, instance, _ in report.get_evidence()}
    assert evidence == {first, second, third, fourth}


def test_beside_findings_stands_why_others_were_not_scored():
    image = study_image()
    report = reported(study(not_scored("a lateral view"), image))
    assert [one.tracking_identifier for one in groups_of(report)] == [
        *(one.label for one in image.findings),
        "Not scored",
    ]


def test_each_class_that_can_be_asked_for_is_there():
    assert tuple(CLASSES) == SR_CLASSES


@pytest.mark.parametrize("sr_class", CLASSES)
def test_the_content_does_not_hang_on_the_class(sr_class):
    given = study()
    made = read_back(dicom_file(structured_report(given, sr_class)))
    usual = read_back(dicom_file(structured_report(given)))
    assert (
        made.SOPClassUID
        == {
            "comprehensive-3d": Comprehensive3DSRStorage,
            "comprehensive": ComprehensiveSRStorage,
            "enhanced": EnhancedSRStorage,
        }[sr_class]
    )
    assert (made.SOPInstanceUID == usual.SOPInstanceUID) == (made.SOPClassUID == usual.SOPClassUID)
    first, second = (
        list(_lasting({"0": {"vr": "SQ", "Value": [one.to_json_dict() for one in of]}}))
        for of in (made.ContentSequence, usual.ContentSequence)
    )
    assert first == second


@pytest.mark.parametrize("sr_class", CLASSES)
@pytest.mark.parametrize("given", [unscored_study, triaged], ids=["not scored", "triaged"])
def test_each_class_is_what_the_standard_says(sr_class, given, tmp_path):
    content = dicom_file(structured_report(given(), sr_class))
    assert errors_of_the_standard(content, tmp_path) == []


@pytest.mark.parametrize(
    "elements",
    [
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
        {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"},
        {"PatientName": None, "PatientID": None, "PatientSex": None, "StudyDate": None},
    ],
)
@pytest.mark.parametrize("film", [dx, cr])
def test_odd_headers_are_carried_over_as_the_standard_has_them(film, elements, tmp_path):
    made = film(**elements)
    content = dicom_file(structured_report(study(study_image(made))))
    assert errors_of_the_standard(content, tmp_path) == []
    assert str(read_back(content).PatientName or "") == str(made.PatientName or "")


@pytest.mark.parametrize("film", [dx, cr])
def test_it_is_what_the_standard_says(film, tmp_path):
    labels = [*CHEXPERT_LABELS, "Émphysème, a name that is longer than a code's meaning may be, 65"]
    given = findings([0.9] * 15, labels, {"Fracture": None})
    image = study_image(film(), findings=given, warning="a lateral view")
    content = dicom_file(structured_report(study(image)))
    assert errors_of_the_standard(content, tmp_path) == []


def test_an_old_encoding_is_not_carried_over(tmp_path):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, generate_uid()
    made = dx(ReferencedStudySequence=[item], PatientWeight="72.5")
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.PixelData = bytes(len(made.PixelData))
    content = dicom_file(structured_report(study(study_image(made))))
    found = read_back(content)
    assert found.ReferencedStudySequence[0].ReferencedSOPInstanceUID == item[0x00081155].value
    assert found.PatientWeight == 72.5
    assert errors_of_the_standard(content, tmp_path) == []
