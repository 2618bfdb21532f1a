import numpy as np
import pytest
from pydicom.uid import generate_uid

from cxrtool.images.dicom import views
from cxrtool.images.dicom.instance_ids import TAGS, read_instance_ids
from tests.support.dicoms import NAME, NUMBER, dicom

PIXELS = np.zeros((8, 8), np.uint8)


def test_what_an_archive_knows_an_instance_by(tmp_path):
    study, series, instance = generate_uid(), generate_uid(), generate_uid()
    file = dicom(
        tmp_path / "x.dcm",
        PIXELS,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        SOPInstanceUID=instance,
        AccessionNumber="A-17",
        ViewPosition="PA",
    )
    found = read_instance_ids(file)
    assert found == (study, series, instance, "A-17", "PA", "CR", "")


def test_nothing_of_the_patient_is_read(tmp_path):
    found = read_instance_ids(dicom(tmp_path / "x.dcm", PIXELS, PatientBirthDate="19500101"))
    assert not {NAME, NUMBER, "19500101"} & set(found)
    read = [tag for tag in (*TAGS, *views.TAGS) if tag.startswith("Patient")]
    assert read == ["PatientOrientation"]


@pytest.mark.parametrize(
    ("elements", "lateral"),
    [
        ({"ViewPosition": "LL"}, "a lateral view by its View Position (LL)"),
        ({"PatientOrientation": ["A", "F"]}, "a lateral view by its Patient Orientation"),
        ({"PatientOrientation": ["F", "P"]}, "a lateral view by its Patient Orientation"),
        ({"PatientOrientation": ["L", "P"]}, ""),
        ({"SeriesDescription": "W_Chest_LAT"}, "a lateral view by its description"),
        ({"SeriesDescription": "Left lateral decubitus"}, ""),
        ({"ViewPosition": "PA", "SeriesDescription": "Chest lateral"}, ""),
        ({"ViewPosition": "AP", "PatientOrientation": ["A", "F"]}, ""),
        ({}, ""),
    ],
)
def test_a_lateral_view_is_told(tmp_path, elements, lateral):
    assert read_instance_ids(dicom(tmp_path / "x.dcm", PIXELS, **elements)).lateral == lateral


def test_what_is_no_dicom_has_none(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    (tmp_path / "c.dcm").write_bytes(b"")
    assert [read_instance_ids(tmp_path / name) for name in ("a.png", "c.dcm", "gone")] == [None] * 3
    damaged = read_instance_ids(tmp_path / "b.dcm")
    assert damaged is None or not any(damaged)


def test_a_value_is_one_line(tmp_path):
    file = dicom(tmp_path / "x.dcm", PIXELS, AccessionNumber="A\n1")
    assert read_instance_ids(file).accession == "A 1"
