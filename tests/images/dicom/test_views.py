import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from cxrtool.images.dicom.views import FRONTAL_CODES, LATERAL_CODES, is_frontal, lateral


def header(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def coded(value, scheme="SCT"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    return [item]


def test_the_codes_are_those_of_the_standards_list_of_views():
    known = {codes.cid4010.__getattr__(name).value for name in codes.cid4010.dir()}
    assert not known.isdisjoint(LATERAL_CODES)
    assert set(LATERAL_CODES) | set(FRONTAL_CODES) <= known


@pytest.mark.parametrize("value", LATERAL_CODES)
def test_a_coded_lateral_is_one_unless_its_position_says_otherwise(value):
    assert lateral(header(ViewCodeSequence=coded(value))) == "a lateral view by its View Code"
    assert lateral(header(ViewCodeSequence=coded(value), ViewPosition="PA")) == ""
    assert lateral(header(ViewCodeSequence=coded(value, "99X"))) == ""


@pytest.mark.parametrize("value", FRONTAL_CODES)
def test_a_coded_frontal_view_is_one(value):
    made = header(ViewCodeSequence=coded(value), SeriesDescription="LAT")
    assert is_frontal(made)
    assert lateral(made) == ""


def test_a_header_that_says_nothing_is_neither():
    assert lateral(header()) == ""
    assert not is_frontal(header())
