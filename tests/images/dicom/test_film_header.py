"""Scale, sides and study by a DICOM's header; what is damaged is unknown."""

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from cxrtool.images.dicom.film_header import FILM_TAGS, FilmHeader, read_film_header
from cxrtool.images.dicom.reading import TAGS


def header(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return read_film_header(made)


def test_what_is_read_for_a_film_alone_is_not_read_for_scoring():
    assert set(FILM_TAGS).isdisjoint(TAGS)


def test_nothing_is_known_of_an_empty_header():
    assert header() == FilmHeader(spacing=None, sides=("", ""), study="")


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.15, 0.2]}, (0.15, 0.2)),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, (0.143, 0.143)),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.2, 0.2]}, (0.1, 0.1)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"PixelSpacing": "0.1"}, None),
        ({"PixelSpacing": [-0.1, 0.1]}, None),
        ({"PixelSpacing": [1, 2, 3]}, None),
        ({"PixelSpacing": None}, None),
    ],
)
def test_the_spacing_is_that_of_the_patient_or_of_the_detector(elements, spacing):
    assert header(**elements).spacing == spacing


@pytest.mark.parametrize(
    ("orientation", "sides"),
    [
        (["L", "F"], ("R", "L")),  # a row runs to the patient's left: the right is where it begins
        (["R", "F"], ("L", "R")),
        (["A", "F"], ("", "")),
        (["LA", "F"], ("", "")),
        (["", ""], ("", "")),
        (None, ("", "")),
    ],
)
def test_a_row_runs_from_one_side_to_the_other(orientation, sides):
    assert header(PatientOrientation=orientation).sides == sides


@pytest.mark.filterwarnings("ignore:.*exceeds the maximum length")
def test_the_study_is_its_number_cut_to_what_a_number_may_be():
    assert header(StudyInstanceUID="1.2.840.9").study == "1.2.840.9"
    raw = Dataset()
    raw._dict[Tag("StudyInstanceUID")] = RawDataElement(
        Tag("StudyInstanceUID"), "UI", 90, b"1.\n" + b"9" * 87, 0, False, True
    )
    assert read_film_header(raw).study == "1." + "9" * 62


def test_a_value_that_cannot_be_read_is_unknown():
    raw = Dataset()
    raw._dict[Tag("PixelSpacing")] = RawDataElement(
        Tag("PixelSpacing"), "DS", 8, b"a\\b\\c   ", 0, False, True
    )
    assert read_film_header(raw).spacing is None
