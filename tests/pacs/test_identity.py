"""Which instance a file is: whole ones alone, and nothing of the patient."""

import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from cxrtool.images.dicom import DicomError
from cxrtool.pacs.identity import digest, identify
from tests.support.dicoms import NAME, NUMBER, dataset
from tests.support.studies import PIXELS, STUDY, WHOLE, as_bytes, cr, dx


def test_an_image_is_known_by_its_uids_and_named_by_their_digests():
    made = dx()
    found = identify(as_bytes(made))
    assert (found.study_uid, found.instance_uid) == (STUDY, made.SOPInstanceUID)
    assert found.is_image
    assert not found.is_own
    assert (found.study, found.name) == (digest(STUDY), digest(made.SOPInstanceUID))
    assert STUDY not in found.study
    assert NAME not in repr(found)
    assert NUMBER not in repr(found)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_of_the_header_are_read(syntax):
    content = as_bytes(dataset(PIXELS, 12, syntax, **WHOLE))
    assert identify(content).study_uid == STUDY


def test_a_compressed_image_is_taken_as_it_is():
    from pydicom.encaps import encapsulate

    made = dataset(PIXELS, 12, JPEG2000Lossless, **WHOLE)
    made.PixelData = encapsulate([b"\xff\x4f" * 5000])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    content = as_bytes(made)
    assert identify(content).is_image
    with pytest.raises(DicomError, match="ends before"):
        identify(content[:-4000])


def test_own_results_and_what_is_no_image_are_told_apart():
    report = dx(SOPClassUID=ComprehensiveSRStorage, Manufacturer="cxrtool")
    del report.PixelData
    found = identify(as_bytes(report))
    assert not found.is_image
    assert found.is_own


@pytest.mark.parametrize("cut", [1, 100, len(PIXELS.tobytes()), len(PIXELS.tobytes()) + 60])
def test_half_a_file_is_refused(cut):
    with pytest.raises(DicomError):
        identify(as_bytes(dx())[:-cut])


@pytest.mark.parametrize(
    "content", [b"", b"nothing", bytes(200), as_bytes(dx())[:140], b"\xff" * 5000]
)
def test_garbage_is_refused(content):
    with pytest.raises(DicomError):
        identify(content)


def test_no_study_is_refused_without_quoting_anything():
    made = cr()
    del made.StudyInstanceUID
    with pytest.raises(DicomError, match="StudyInstanceUID") as failure:
        identify(as_bytes(made))
    assert NAME not in str(failure.value)
    with pytest.raises(DicomError, match="StudyInstanceUID is missing or is not a UID") as failure:
        identify(as_bytes(cr(StudyInstanceUID="Smith^John")))
    assert "Smith" not in str(failure.value)
