import pytest

from cxrtool.images.dicom import DicomError
from cxrtool.pacs.study_members import TWICE, read_header_of, read_members
from tests.support.dicoms import NAME, saved
from tests.support.studies import cr, dx


def test_the_order_is_that_of_the_numbers_whatever_that_of_the_files(tmp_path):
    made = {
        "c": dx(SeriesNumber=2, InstanceNumber=1),
        "a": dx(SeriesNumber=1, InstanceNumber=2),
        "b": dx(SeriesNumber=1, InstanceNumber=1, ViewPosition="LL"),
        "d": cr(),
    }
    files = [saved(tmp_path / name, one) for name, one in made.items()]
    found, left_out = read_members(files)
    assert ("".join(one.file.name for one in found), left_out) == ("dbac", [])
    assert read_members(reversed(files))[0] == found
    assert [bool(one.why_not) for one in found] == [False, True, False, False]


def test_what_cannot_be_read_or_is_there_twice_is_left_out_and_counted(tmp_path):
    first = saved(tmp_path / "a", dx())
    copy = tmp_path / "b"
    copy.write_bytes(first.read_bytes())
    half = tmp_path / "c"
    half.write_bytes(first.read_bytes()[:300])
    found, left_out = read_members([first, copy, half, tmp_path / "none", tmp_path])
    assert [one.file for one in found] == [first]
    assert left_out[0] == TWICE
    assert len(left_out) == 4
    assert not any(NAME in why or str(tmp_path) in why for why in left_out)


def test_an_object_that_is_no_image_has_a_header_too(tmp_path):
    file = saved(tmp_path / "a", dx(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"))
    assert read_header_of(file).StudyDescription == "CHEST PA"
    with pytest.raises(DicomError, match="No such file"):
        read_header_of(tmp_path / "none")
