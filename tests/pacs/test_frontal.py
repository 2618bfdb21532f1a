import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from cxrtool.pacs.frontal import unsaid, why_not_frontal
from tests.support.studies import cr, dx


def coded_view(value):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "a view"
    return [item]


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"ViewPosition": "AP"},
        {"Modality": "CR"},
        {"Modality": "RG"},
        {"ViewPosition": None, "ViewCodeSequence": coded_view("272479007")},
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SeriesDescription": "Chest lateral"},
    ],
)
def test_a_frontal_film_is_scored(elements):
    assert why_not_frontal(dx(**elements)) == ""
    assert unsaid(dx(**elements)) == ""


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"ViewPosition": "LL"}, "a lateral view by its View Position (LL)"),
        ({"ViewPosition": "RLO"}, "an oblique view by its View Position (RLO)"),
        (
            {"ViewPosition": None, "PatientOrientation": ["A", "F"]},
            "a lateral view by its Patient Orientation",
        ),
        (
            {"ViewPosition": None, "PatientOrientation": ["F", "P"]},
            "a lateral view by its Patient Orientation",
        ),
        (
            {"ViewPosition": None, "ViewCodeSequence": coded_view("399173006")},
            "a lateral view by its View Code",
        ),
        (
            {"ViewPosition": None, "SeriesDescription": "W_Chest_LAT"},
            "a lateral view by its description",
        ),
        ({"BodyPartExamined": "HAND"}, "HAND by its Body Part Examined"),
        (
            {"Modality": "CT", "SOPClassUID": CTImageStorage},
            "computed tomography by its Modality (CT)",
        ),
        ({"Modality": "MR"}, "magnetic resonance by its Modality (MR)"),
        ({"Modality": "RF"}, "fluoroscopy by its Modality (RF)"),
        ({"Modality": "OT"}, "not an X-ray by its Modality (OT)"),
        ({"Modality": "TESTPERSON"}, "not an X-ray by its Modality"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw pixels"),
        ({"SamplesPerPixel": 3}, "a picture in colour"),
        ({"NumberOfFrames": 12}, "several pictures in one"),
        ({"SOPClassUID": GrayscaleSoftcopyPresentationStateStorage}, "a presentation state"),
        ({"SOPClassUID": BasicTextSRStorage}, "a structured report"),
        ({"SOPClassUID": EncapsulatedPDFStorage}, "a document"),
        ({"SOPClassUID": KeyObjectSelectionDocumentStorage}, "a key object selection"),
        ({"SOPClassUID": "1.2.3.4"}, "another kind of object"),
    ],
)
def test_each_other_object_has_its_reason(elements, why):
    assert why in why_not_frontal(dx(**elements))
    assert "TESTPERSON" not in why_not_frontal(dx(**elements))


@pytest.mark.parametrize("words", ["Chest PA and lateral", "Left lateral decubitus", "Latvia", ""])
def test_words_that_do_not_say_lateral_alone_leave_it_open(words):
    made = dx(ViewPosition=None, SeriesDescription=words)
    assert why_not_frontal(made) == ""
    assert unsaid(made) == "its header does not say which view it shows"


def test_what_an_old_header_leaves_open_is_said():
    made = cr(PatientID="7")
    assert why_not_frontal(made) == ""
    assert unsaid(made) == "its header does not say which part of the body and which view it shows"
