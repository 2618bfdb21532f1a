"""What a header says against a frontal chest."""

import pydicom
import pytest

from tests.support.dicom_greys import DEEP, warning
from tests.support.dicoms import dicom


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"ViewPosition": "LL"}, "a lateral view by its View Position (LL)"),
        ({"ViewPosition": "rl"}, "a lateral view by its View Position (RL)"),
        ({"ViewPosition": "RLO"}, "an oblique view by its View Position (RLO)"),
        ({"PatientOrientation": ["P", "F"]}, "a lateral view by its Patient Orientation"),
        ({"PatientOrientation": ["A", "F"], "ViewPosition": "PA"}, ""),
        ({"PatientOrientation": ["L", "F"]}, ""),
        ({"ViewPosition": "AP"}, ""),
        ({"Modality": "MG"}, "mammography by its Modality (MG)"),
        ({"Modality": "DX", "BodyPartExamined": "CHEST"}, ""),
        ({"BodyPartExamined": "HAND"}, "HAND by its Body Part Examined"),
        (
            {"PresentationIntentType": "FOR PROCESSING"},
            "raw pixels, intended for processing and not for presentation",
        ),
        (
            {"Modality": "CT", "BodyPartExamined": "SKULL"},
            "computed tomography by its Modality (CT); SKULL by its Body Part Examined",
        ),
    ],
)
def test_what_the_header_says_against_a_frontal_chest_is_told(tmp_path, elements, told):
    with pydicom.config.disable_value_validation():
        path = dicom(tmp_path / "a.dcm", DEEP, 12, **elements)
    assert warning(path) == told
