import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from cxrtool.pacs.capture_picture import HEAD, draw_capture
from cxrtool.pacs.instances import device_uid, dicom_file
from cxrtool.pacs.secondary_capture import secondary_captures
from tests.support.dicoms import NAME, NUMBER
from tests.support.studies import (
    MODEL,
    STUDY,
    cr,
    dx,
    errors_of_the_standard,
    findings,
    heat,
    read_back,
    study,
    study_image,
)

LABEL = "Pleural Effusion"


def one_positive(made=None, **options):
    """An image with one positive finding."""
    found = findings([0.1, 0.9, 0.9], ["Edema", LABEL, "No Finding"])
    return study_image(made, findings=found, heat={LABEL: heat()}, **options)


def captured(*images):
    made = secondary_captures(study(*(images or (one_positive(),))))
    return [read_back(dicom_file(one)) for one in made]


def test_each_positive_finding_is_a_picture_and_no_finding_is_none():
    image = study_image()
    positive = [one.label for one in image.findings if one.decision == "positive"]
    assert len(positive) > 2
    found = captured(image)
    assert [one.ImageComments.split(":")[0] for one in found] == positive
    assert len(captured()) == 1


def test_they_are_one_series_of_the_same_study():
    image = study_image()
    found = captured(image, one_positive())
    assert {one.StudyInstanceUID for one in found} == {STUDY}
    assert len({one.SeriesInstanceUID for one in found}) == 1
    assert found[0].SeriesInstanceUID != image.header.SeriesInstanceUID
    assert len({one.SOPInstanceUID for one in found}) == len(found)
    assert [one.InstanceNumber for one in found] == list(range(1, len(found) + 1))
    for one in found:
        assert one.SOPClassUID == SecondaryCaptureImageStorage
        assert (str(one.PatientName), one.PatientID) == (NAME, NUMBER)
        assert one.StudyDescription == "CHEST PA"
        assert one.SeriesDescription == "AI heat maps, research only"


def test_it_holds_the_picture_and_says_that_words_are_burnt_in():
    image = one_positive()
    (found,) = captured(image)
    finding = next(one for one in image.findings if one.label == LABEL)
    expected = draw_capture(image.grey, image.heat[LABEL], finding, MODEL)
    assert (found.pixel_array == expected).all()
    assert found.PhotometricInterpretation == "RGB"
    assert found.BurnedInAnnotation == "YES"
    assert found.ImageType[:2] == ["DERIVED", "SECONDARY"]


def test_nothing_of_the_patient_is_drawn():
    other = dx(PatientName="Somebody^Else", PatientID="77", PatientBirthDate="19990909")
    (first,), (second,) = captured(one_positive()), captured(one_positive(other))
    assert (first.pixel_array == second.pixel_array).all()


def test_it_refers_to_its_film_and_to_the_model():
    first, second = one_positive(), one_positive()
    for image, made in zip((first, second), captured(first, second), strict=True):
        (source,) = made.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == image.uid
        (purpose,) = source.PurposeOfReferenceCodeSequence
        assert purpose.CodeValue == codes.DCM.SourceImageForImageProcessingOperation.value
        uids = [one.get("DeviceUID") for one in made.ContributingEquipmentSequence]
        assert device_uid(MODEL) in uids


@pytest.mark.parametrize(
    ("said", "shown"),
    [(["R", "F"], ["L", "F"]), (["H", "A"], ["A", "F"]), (["L", "P"], ["L", "P"])],
)
def test_its_orientation_is_that_of_the_film_which_was_put_upright(said, shown):
    (found,) = captured(one_positive(dx(PatientOrientation=said)))
    assert list(found.PatientOrientation) == shown


def test_a_film_that_was_once_lossy_stays_so():
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12"}
    (found,) = captured(one_positive(dx(**lossy)))
    assert (found.LossyImageCompression, found.LossyImageCompressionRatio) == ("01", 12)
    assert "LossyImageCompression" not in captured()[0]


def test_without_a_film_there_is_no_picture():
    assert captured(one_positive(grey=None)) == []


def test_without_a_map_the_film_is_shown_as_it_is():
    image = study_image(findings=findings([0.9], [LABEL]))
    (found,) = captured(image)
    shown = found.pixel_array[HEAD : HEAD + image.grey.height]
    assert np.ptp(shown, axis=2).max() == 0


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PatientOrientation": ["L", "FL"], "BodyPartExamined": "RIB", "Laterality": "L"},
        {"PatientOrientation": None, "BodyPartExamined": None},
        {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12"},
    ],
)
@pytest.mark.parametrize("film", [dx, cr])
def test_it_is_what_the_standard_says(film, elements, tmp_path):
    (made,) = secondary_captures(study(one_positive(film(**elements))))
    assert errors_of_the_standard(dicom_file(made), tmp_path) == []
    known = elements.get("BodyPartExamined") or "CHEST"
    assert made.BodyPartExamined == known
    assert made.get("Laterality") == elements.get("Laterality")
