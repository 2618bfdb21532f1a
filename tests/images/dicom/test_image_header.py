"""What a header must say, and what is assumed where it does not."""

import re

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.image_header import check_header
from cxrtool.images.reading import decode
from tests.support.dicom_greys import DEEP, SHALLOW, differs, refused, stretched, warning
from tests.support.dicoms import dataset, dicom, saved


def without(path, pixels, bits, *keywords, **elements):
    made = dataset(pixels, bits, **elements)
    for keyword in keywords:
        delattr(made, keyword)
    return saved(path, made)


@pytest.mark.parametrize("kind", ["monochrome1", " MONOCHROME1", "MONOCHROME1\0"])
def test_a_photometric_interpretation_may_be_written_otherwise(tmp_path, kind):
    with pydicom.config.disable_value_validation():
        path = dicom(tmp_path / "a.dcm", DEEP, 12, PhotometricInterpretation=kind)
    assert differs(path, 255 - stretched(DEEP)) <= 0.51
    assert decode(path).mode == "MONOCHROME1"
    assert warning(path) == ""


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["BitsStored"], "it has no Bits Stored: read as 12"),
        (["BitsStored", "HighBit"], "it has no Bits Stored: read as 16"),
        (["HighBit"], ""),
        (["PixelRepresentation"], "it has no Pixel Representation: read as unsigned"),
        (["SamplesPerPixel"], ""),
    ],
)
def test_what_follows_from_other_elements_may_be_missing_and_is_told(tmp_path, missing, told):
    path = without(tmp_path / "a.dcm", DEEP, 12, *missing)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == told


def test_colours_without_a_planar_configuration_are_read_and_it_is_told(tmp_path):
    colours = np.stack([SHALLOW] * 3, axis=-1)
    path = without(tmp_path / "a.dcm", colours, 8, "PlanarConfiguration")
    assert differs(path, SHALLOW) <= 1
    assert warning(path) == "it has no usable Planar Configuration: read as colours pixel by pixel"


@pytest.mark.parametrize("keyword", ["NumberOfFrames", "PlanarConfiguration", "HighBit"])
def test_what_is_empty_is_as_if_it_were_absent(tmp_path, keyword):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **{keyword: None})
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == ""


def test_an_element_of_several_values_where_one_belongs_is_no_obstacle(tmp_path):
    several = {"PresentationLUTShape": ["IDENTITY", "INVERSE"], "ViewPosition": ["PA", "LL"]}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **several)
    assert differs(path, stretched(DEEP)) <= 0.51
    made = dataset(DEEP, 12)
    with pydicom.config.disable_value_validation():
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = MultiValue(str, ["1.2", "1.3"])
    del made.Rows
    with (
        pydicom.config.disable_value_validation(),
        pytest.raises(DicomError, match=r"^a DICOM without an image$"),
    ):
        check_header(made)


@pytest.mark.parametrize("place", [4, 8])
def test_damage_of_the_first_elements_is_told_without_quoting_them(tmp_path, place):
    """Of the group that says how the rest is coded: its representation, and its length."""
    path = dicom(tmp_path / "a.dcm", DEEP, 12)
    content = bytearray(path.read_bytes())
    start = content.index(b"\x02\0\x10\0UI") + place
    content[start : start + 2] = b"AI"
    path.write_bytes(content)
    assert re.search("TransferSyntaxUID is damaged|header is damaged|not read", refused(path))


def test_colours_are_three_samples(tmp_path):
    colours = np.stack([SHALLOW] * 3, axis=-1)
    path = without(tmp_path / "a.dcm", colours, 8, "SamplesPerPixel")
    assert differs(path, SHALLOW) <= 1


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("PhotometricInterpretation", "it has no Photometric Interpretation"),
        ("BitsAllocated", "by its Bits Allocated and Bits Stored"),
        ("Rows", "cut short before its image"),
    ],
)
def test_what_cannot_be_assumed_is_named(tmp_path, missing, told):
    assert told in refused(without(tmp_path / "a.dcm", DEEP, 12, missing))


@pytest.mark.parametrize(
    ("keyword", "representation", "content", "told"),
    [
        ("NumberOfFrames", "IS", b"Testperson", "is not a number, or beyond what pixels can have"),
        ("Rows", "US", b"\0\0\0", "is damaged"),
        ("PixelPaddingValue", "US", b"\0\0\0", "is damaged"),
    ],
)
def test_an_element_that_cannot_be_converted_is_named(keyword, representation, content, told):
    made = dataset(DEEP, 12)
    tag = Tag(keyword)
    about = tag, representation, len(content), content, 0, False, True
    made._dict[tag] = RawDataElement(*about)
    with pytest.raises(DicomError, match=f"^its {keyword} {told}$"):
        check_header(made)


@pytest.mark.parametrize("representation", ["LO", "IS", "UL", "SS", "FD"])
def test_whole_numbers_may_have_another_representation(tmp_path, representation):
    made = dataset(DEEP, 12)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        value = made[keyword].value
        made.add_new(keyword, representation, str(value) if representation == "LO" else value)
    path = saved(tmp_path / "a.dcm", made)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == ""


@pytest.mark.parametrize("mode", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", "Testperson"])
def test_a_presentation_lut_shape_that_contradicts_is_told(tmp_path, mode, shape):
    """The picture is that of the Photometric Interpretation, as without any shape."""
    with pydicom.config.disable_value_validation():
        elements = {"PhotometricInterpretation": mode, "PresentationLUTShape": shape}
        path = dicom(tmp_path / "a.dcm", DEEP, 12, **elements)
    plain = stretched(DEEP)
    assert differs(path, plain if mode == "MONOCHROME2" else 255 - plain) <= 0.51
    contradicts = (mode, shape) in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE"))
    told = (
        f"its Presentation LUT Shape ({shape}) contradicts its Photometric Interpretation "
        f"({mode}): shown by the latter"
    )
    assert warning(path) == (told if contradicts else "")
