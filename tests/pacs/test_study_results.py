from dataclasses import replace

from cxrtool.pacs.study_results import study_results
from tests.support.dicoms import NAME, NUMBER
from tests.support.studies import (
    MODEL,
    findings,
    heat,
    read_back,
    study,
    study_image,
)

LABELS = ["Edema", "Pleural Effusion", "No Finding"]


def image(scores=(0.9, 0.8, 0.1), **options):
    heat_of = {label: heat() for label in LABELS[:2]}
    return study_image(findings=findings(list(scores), LABELS), heat=heat_of, **options)


def uids(given, **options):
    return {one.name: one.sop_instance_uid for one in study_results(given, **options)}


def test_a_study_has_a_report_and_a_picture_of_each_positive_finding():
    found = list(study_results(study(image())))
    assert [one.name for one in found] == ["report.dcm", "picture-1.dcm", "picture-2.dcm"]
    for one in found:
        made = read_back(one.content)
        assert (made.SOPClassUID, made.SOPInstanceUID) == (one.sop_class_uid, one.sop_instance_uid)
        assert (str(made.PatientName), made.PatientID) == (NAME, NUMBER)
        assert NAME not in repr(one)
    marked = uids(study(image()), captures=False, presentation=True)
    assert list(marked) == ["report.dcm", "marks-1.dcm"]


def test_without_a_scored_image_there_is_the_report_alone():
    given = study(study_image(findings=(), why_not="a lateral view"))
    assert list(uids(given)) == ["report.dcm"]


def test_the_same_work_done_again_has_the_same_uids_and_other_work_has_others():
    first, second = image(), image()
    given = study(first, second)
    found = uids(given, presentation=True)
    assert len(set(found.values())) == len(found) == 7
    again = uids(study(second, first), presentation=True)
    assert set(again.values()) == set(found.values())
    found = uids(given)
    # In other batches the last digits may differ.
    third = image([0.90001, 0.8, 0.1], header=first.header)
    assert uids(study(third, second)) == found
    for change in ("fingerprint", "decisions", "name"):
        other = uids(study(first, second, model=replace(MODEL, **{change: "00"})))
        assert not set(other.values()) & set(found.values())
    assert not set(uids(study(first)).values()) & set(found.values())
    assert not set(uids(given, sr_class="enhanced").values()) >= {found["report.dcm"]}
