from dataclasses import replace

import pytest
from pydicom.uid import generate_uid

from cxrtool.core.errors import DataError
from cxrtool.pacs.scored_study import ScoredStudy
from tests.support.dicoms import NUMBER
from tests.support.studies import MODEL, dx, findings, study, study_image


def refused(*images):
    with pytest.raises(DataError) as caught:
        study(*images)
    assert NUMBER not in str(caught.value)
    return str(caught.value)


def test_several_images_of_one_study_are_one():
    images = study_image(), study_image()
    assert study(*images).scored == images


def test_an_image_has_findings_or_a_reason():
    scored, failed = study_image(), study_image(findings=(), why_not="a lateral view")
    found = study(failed, scored)
    assert (found.scored, found.not_scored) == ((scored,), (failed,))
    for options in ({"findings": ()}, {"why_not": "a lateral view"}):
        with pytest.raises(ValueError, match="findings, or a reason"):
            study_image(**options)


def test_a_study_may_have_no_scored_image_but_not_no_image():
    assert study(study_image(findings=(), why_not="a lateral view")).scored == ()
    with pytest.raises(DataError, match=r"no image whose header can be read: cut short$"):
        ScoredStudy(images=(), model=MODEL, left_out=("cut short", "cut short"))


def test_the_identity_is_that_of_the_work_whatever_its_order_and_numbers():
    first, second = study_image(), study_image()
    identity = study(first, second).identity
    other_numbers = replace(second, findings=findings(scores=[0.9] * 14))
    assert study(other_numbers, first).identity == identity
    assert study(first).identity != identity
    for change in ("name", "fingerprint", "decisions", "operating_point", "version"):
        model = replace(MODEL, **{change: "other"})
        assert study(first, second, model=model).identity != identity


def test_several_studies_are_refused():
    other = study_image(dx(StudyInstanceUID=generate_uid()))
    assert "2 studies (StudyInstanceUID)" in refused(study_image(), other)


def test_several_patients_in_a_study_are_refused():
    assert "several patients (PatientID)" in refused(study_image(), study_image(dx(PatientID="7")))


def test_one_image_twice_is_refused():
    image = study_image()
    assert "1 image given more than once" in refused(image, study_image(), image)
