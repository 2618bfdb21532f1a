from dataclasses import replace

import pytest
from pydicom.uid import UID

from cxrtool.images.dicom import DicomError
from cxrtool.pacs.instances import common_attributes, device_uid, dicom_file
from cxrtool.pacs.structured_report import structured_report
from tests.support.studies import MODEL, cr, dx, read_back, study, study_image


def shared(made, texts=()):
    given = study(study_image(made))
    return common_attributes(given, "it", series_number=7, description="words", texts=texts)


def test_the_uid_of_a_model_changes_with_its_weights_alone():
    uid = device_uid(MODEL)
    assert UID(uid).is_valid
    assert uid.startswith("2.25.")
    assert device_uid(replace(MODEL, name="other", operating_point="f1")) == uid
    assert device_uid(replace(MODEL, fingerprint="cd34" * 16)) != uid


def test_the_results_of_each_study_have_uids_of_their_own():
    first, second = shared(dx()), shared(dx())
    for key in ("series_instance_uid", "sop_instance_uid"):
        assert UID(first[key]).is_valid
        assert first[key] != second[key]


def test_each_result_of_a_study_has_a_uid_and_each_series_one():
    given = study()
    made = [
        common_attributes(given, what, series_number=number, description="words", texts=())
        for number, what in ((7, "first"), (7, "second"), (8, "first"))
    ]
    assert len({one["sop_instance_uid"] for one in made}) == 3
    series = [one["series_instance_uid"] for one in made]
    assert series[0] == series[1] != series[2]


def test_the_model_is_told_as_equipment():
    (equipment,) = shared(dx())["contributing_equipment"]
    assert equipment.Manufacturer == "cxrtool"
    assert equipment.ManufacturerModelName == "strong"
    assert equipment.SoftwareVersions == "1.2.3"
    assert equipment.DeviceSerialNumber == MODEL.fingerprint
    assert equipment.DeviceUID == device_uid(MODEL)


@pytest.mark.parametrize(
    ("own", "texts", "expected"),
    [
        (None, ["Edema"], None),
        ("ISO_IR 100", ["Edema"], "ISO_IR 100"),
        (None, ["Émphysème"], "ISO_IR 192"),
        ("ISO_IR 100", ["肺炎"], "ISO_IR 192"),
    ],
)
def test_the_character_set_is_the_studys_where_that_suffices(own, texts, expected):
    made = cr(**({"SpecificCharacterSet": own} if own else {}))
    assert shared(made, texts)["specific_character_set"] == expected


@pytest.mark.parametrize("name", ["strong", "starkes Modell, Größe 7", "肺"])
def test_a_name_in_another_character_set_is_written_right(name):
    made = dx(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
    model = replace(MODEL, name=name)
    report = read_back(dicom_file(structured_report(study(study_image(made), model=model))))
    assert str(report.PatientName) == "Müller^Jörg"
    assert report.ManufacturerModelName == name


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_written_is_an_error_without_its_value():
    report = structured_report(study())
    report["PatientName"].value = "A=B=C=D=Testperson"
    report["StudyDate"]._value = object()
    with pytest.raises(DicomError, match="cannot be written") as caught:
        dicom_file(report)
    assert "Testperson" not in str(caught.value)
