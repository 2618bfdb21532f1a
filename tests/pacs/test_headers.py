import io
import subprocess
import sys
import warnings

import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from cxrtool.core.errors import DataError
from cxrtool.images.dicom import DicomError
from cxrtool.pacs.headers import MAY_BE_EMPTY, read_header
from tests.support.dicoms import NAME, NUMBER
from tests.support.studies import as_bytes, cr, dx


def refused(content):
    with pytest.raises(DicomError) as caught:
        read_header(content)
    assert not any(part in str(caught.value) for part in (*NAME.split("^"), NUMBER))
    return str(caught.value)


def without(keyword):
    made = dx()
    delattr(made, keyword)
    return made


def test_a_header_has_all_but_the_pixels():
    header = read_header(as_bytes(dx()))
    assert str(header.PatientName) == NAME
    assert header.StudyDescription == "CHEST PA"
    assert header.BodyPartExamined == "CHEST"
    assert "PixelData" not in header


def test_what_is_not_known_is_empty():
    header = read_header(as_bytes(cr()))
    assert all(keyword in header for keyword in MAY_BE_EMPTY)
    assert not header.StudyDate


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"\xff\xd8" * 200, b"\0" * 4096])
def test_what_is_no_dicom_is_refused(content):
    assert "not a DICOM file" in refused(content)


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
def test_a_missing_identity_is_named(keyword):
    made = without(keyword)
    file = as_bytes(made) if not keyword.startswith("SOP") else _written_anyway(made)
    assert f"({keyword})" in refused(file)


def _written_anyway(made):
    """pydicom itself refuses to write such a file."""
    made.preamble = b"\0" * 128
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=False)
    return file.getvalue()


def test_a_wrong_identity_is_refused():
    content = as_bytes(dx(StudyInstanceUID="1.2.34567")).replace(b"1.2.34567", b"1.2.3456x")
    assert "is not a UID" in refused(content)


def test_other_objects_are_refused():
    made = dx(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    assert "(SOPClassUID) is not one of the standard's images" in refused(as_bytes(made))
    assert read_header(as_bytes(dx(SOPClassUID=CTImageStorage))).SOPClassUID == CTImageStorage


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "1950"),
        ("PatientBirthDate", "Testperson"),
        ("StudyDate", "28.11.26"),
        ("StudyTime", "noon"),
        ("PatientSex", "X"),
    ],
)
def test_a_value_that_may_not_be_copied_is_named_and_not_quoted(keyword, value):
    said = refused(as_bytes(dx(**{keyword: value})))
    assert f"({keyword})" in said
    assert value not in said


@pytest.mark.filterwarnings("ignore")
def test_a_number_of_the_patient_that_is_none_is_named():
    content = as_bytes(dx(PatientWeight="72.5")).replace(b"72.5", b"7Te5")
    assert "(PatientWeight)" in refused(content)


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_setting_of_the_tube_does_not_matter():
    content = as_bytes(dx(ExposureTime="1234")).replace(b"1234", b"12x4")
    assert "ExposureTime" not in read_header(content)


@pytest.mark.parametrize("length", [140, 200, 300, 500])
def test_a_header_that_is_cut_short_is_refused(length):
    content = as_bytes(dx())[:length]
    assert refused(content)


def test_noise_after_the_mark_is_an_error_of_the_data():
    content, said = as_bytes(dx()), []
    for place in range(132, len(content) // 6, 7):
        try:
            read_header(content[:place] + b"\xff\xfe\x00\xe0" + content[place + 4 :])
        except DataError as error:
            said.append(str(error))
    assert len(said) > 10
    assert not [text for text in said if "Testperson" in text]


def test_implicit_and_nested_headers_are_read():
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, generate_uid()
    made = dx(ReferencedStudySequence=[item])
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    header = read_header(as_bytes(made))
    assert header.ReferencedStudySequence[0].ReferencedSOPClassUID == CTImageStorage


def test_a_deflated_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    made = dx(StudyDescription="x")
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.PixelData = bytes(4_000_000)
    assert refused(as_bytes(made))


def test_nothing_of_the_patient_is_printed(tmp_path):
    """Not by Python's warnings and not by the libraries' logs, whatever they quote."""
    file = tmp_path / "film.dcm"
    odd = {"PatientName": "Testperson" * 9, "StudyDate": "Testperson", "PatientID": "Testperson\\x"}
    code = f"""
from tests.support import studies
import warnings, logging
content = open({str(file)!r}, "rb").read()
from cxrtool.pacs.headers import read_header
try:
    read_header(content)
except Exception as error:
    print(type(error).__name__, error)
from cxrtool.pacs.structured_report import structured_report
from cxrtool.pacs.secondary_capture import secondary_captures
logging.basicConfig(level=logging.DEBUG)
made = studies.dx()
made.PatientName = "Testperson" * 9
made = studies.study(studies.study_image(made))
structured_report(made), list(secondary_captures(made))
"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.write_bytes(as_bytes(dx(**odd)))
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # What this script itself writes its film with is not ours.
    told = [line for line in (done.stdout + done.stderr).splitlines() if "studies.py" not in line]
    assert "DicomError" in told[0]
    assert not [line for line in told if "Testperson" in line or ":highdicom" in line]
