import pytest
from pydicom.uid import generate_uid

from cxrtool.core.errors import DataError
from tests.support.dicoms import NUMBER
from tests.support.studies import dx, study, study_image


def refused(*images):
    with pytest.raises(DataError) as caught:
        study(*images)
    assert NUMBER not in str(caught.value)
    return str(caught.value)


def test_several_images_of_one_study_are_one():
    images = study_image(), study_image()
    assert study(*images).scored == images


def test_images_without_findings_do_not_count():
    scored, failed = study_image(), study_image(findings=())
    assert study(failed, scored).scored == (scored,)
    assert "nothing to report" in refused(failed)


def test_several_studies_are_refused():
    other = study_image(dx(StudyInstanceUID=generate_uid()))
    assert "2 studies (StudyInstanceUID)" in refused(study_image(), other)


def test_several_patients_in_a_study_are_refused():
    assert "several patients (PatientID)" in refused(study_image(), study_image(dx(PatientID="7")))


def test_one_image_twice_is_refused():
    image = study_image()
    assert "1 image given more than once" in refused(image, study_image(), image)
