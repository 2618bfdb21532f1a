"""Numbers of a header, however programs wrote them."""

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.numbers import count_of, number_at
from tests.support.dicom_greys import DEEP, differs, warning
from tests.support.dicoms import dataset, dicom, saved
from tests.support.windows import windowed


def raw(content, representation="DS"):
    made = Dataset()
    tag = Tag("WindowCenter")
    made._dict[tag] = RawDataElement(tag, representation, len(content), content, 0, False, True)
    return made


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"2048", 2048),
        (b"2048,5", 2048.5),
        (b"[02048]", 2048),
        (b"2048\0\0", 2048),
        (b" 2048  ", 2048),
        (b"+2.048E3", 2048),
        (b"2048.00000000000000000001", 2048),
        (b'"2048"', 2048),
        (b"", None),
        (b"  ", None),
        (b"\\2048", None),
    ],
)
@pytest.mark.parametrize("representation", ["DS", "LO", "UN", None])
def test_a_number_is_read_without_what_stands_around_it(content, number, representation):
    assert number_at(raw(content, representation), "WindowCenter") == number


@pytest.mark.parametrize("content", [b"nan", b"-inf", b"1e308", b"Testperson", b"1.234,5", b"\xff"])
def test_what_is_no_number_is_refused_with_its_element_and_not_quoted(content):
    with pytest.raises(DicomError, match=r"^its WindowCenter is not a number, or beyond") as caught:
        number_at(raw(content), "WindowCenter")
    assert "Testperson" not in str(caught.value)


def test_numbers_are_counted_and_found_by_their_place():
    made = raw(b"\\12\\9,5")
    made.WindowWidth = [4]
    assert count_of(made, "WindowCenter", "WindowWidth") == 3
    assert [number_at(made, "WindowCenter", place) for place in range(4)] == [None, 12, 9.5, None]
    assert number_at(made, "RescaleSlope") is None


@pytest.mark.parametrize(
    ("representation", "centre", "width"),
    [
        ("FL", 1500.0, 900.0),
        ("IS", 1500, 900),
        ("US", 1500, 900),
        ("US", [1500, 7], [900, 7]),
        ("LO", "1500\\1000", "900\\100"),
        ("UT", "1500", "900"),
        ("UN", b"1500", b"900 "),
    ],
)
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_a_window_may_have_another_representation(tmp_path, syntax, representation, centre, width):
    made = dataset(DEEP, 12, syntax)
    made.add_new("WindowCenter", representation, centre)
    made.add_new("WindowWidth", representation, width)
    path = saved(tmp_path / "a.dcm", made)
    assert differs(path, windowed(DEEP, 1500, 900, "LINEAR")) <= 0.51
    assert warning(path) == ""


def test_a_slope_with_a_decimal_comma_is_read(tmp_path):
    window = {"WindowCenter": 750, "WindowWidth": 450, "RescaleSlope": 7.5}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, RescaleIntercept=0, **window)
    content = path.read_bytes()
    assert content.count(b"7.5 ") == 1
    path.write_bytes(content.replace(b"7.5 ", b"0,5 "))
    assert differs(path, windowed(DEEP.astype(np.float64) / 2, 750, 450, "LINEAR")) <= 0.51
