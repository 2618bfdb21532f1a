"""One picture in any number of fragments, coded as its stream says."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import generate_frames

from cxrtool.images.formats.dicom import is_plain_dicom
from tests.support.dicom_greys import DEEP, SHALLOW, greys, j2k, refused, warning
from tests.support.dicoms import compressed, dataset, dicom, fragmented
from tests.support.lossless import encode_lossless


def jpeg(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def encoded(syntax, encoding_plugin):
    made = dataset(DEEP, 12)
    made.compress(syntax, encoding_plugin=encoding_plugin)
    return next(generate_frames(made.PixelData, number_of_frames=1))


STREAMS = {
    "lossless": (encode_lossless(DEEP, 12), uid.JPEGLosslessSV1, DEEP, 12),
    "2000": (j2k(DEEP), uid.JPEG2000Lossless, DEEP, 12),
    "LS": (encoded(uid.JPEGLSLossless, "pyjpegls"), uid.JPEGLSLossless, DEEP, 12),
    "runs": (encoded(uid.RLELossless, "pydicom"), uid.RLELossless, DEEP, 12),
    "baseline": (jpeg(SHALLOW), uid.JPEGBaseline8Bit, SHALLOW, 8),
}


@pytest.mark.parametrize("offsets", ["none", "first", "each", "wrong"])
@pytest.mark.parametrize("kind", list(STREAMS))
def test_the_fragments_of_a_picture_are_joined_whatever_its_offsets_say(tmp_path, kind, offsets):
    stream, syntax, pixels, bits = STREAMS[kind]
    pieces = [stream[start : start + 300] for start in range(0, len(stream), 300)]
    assert len(pieces) > 2
    starts = {"none": [], "first": [0], "wrong": [7, 10**6]}
    told = starts.get(offsets, [308 * n for n in range(len(pieces))])
    path = fragmented(tmp_path / "a.dcm", pieces, told, pixels, syntax, bits)
    whole = compressed(tmp_path / "whole.dcm", stream, pixels, syntax, bits)
    assert (greys(path) == greys(whole)).all()
    assert greys(whole).std() > 50
    assert warning(path) == ""


def test_a_table_of_offsets_may_be_missing(tmp_path):
    stream, syntax, pixels, bits = STREAMS["2000"]
    path = fragmented(tmp_path / "a.dcm", [stream], [], pixels, syntax, bits)
    content = path.read_bytes()
    item = b"\xfe\xff\x00\xe0" + bytes(4)
    assert content.count(item) == 1
    path.write_bytes(content.replace(item, b""))
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", DEEP, 12))).all()


def test_of_several_pictures_the_first_is_read_and_the_others_are_told(tmp_path):
    stream, syntax, pixels, bits = STREAMS["lossless"]
    other = encode_lossless(DEEP[::-1], 12)
    path = fragmented(tmp_path / "a.dcm", [stream, other], [], pixels, syntax, bits)
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", DEEP, 12))).all()
    assert warning(path) == "the first of 2 pictures in its pixels"


@pytest.mark.parametrize("said", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEGLosslessSV1])
@pytest.mark.parametrize("kind", ["lossless", "2000", "LS"])
def test_a_stream_is_decoded_as_what_it_is_and_a_wrong_name_is_told(tmp_path, kind, said):
    stream, syntax, pixels, bits = STREAMS[kind]
    path = compressed(tmp_path / "a.dcm", stream, pixels, said, bits)
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", DEEP, 12))).all()
    expected = "" if said == syntax else f"its pixels are {syntax.name}, and it says {said.name}"
    assert warning(path) == expected


@pytest.mark.parametrize("said", [8, 12])
@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
def test_eight_bits_of_a_jpeg_in_room_for_sixteen_are_read(tmp_path, syntax, said):
    path = compressed(tmp_path / "a.dcm", jpeg(SHALLOW), SHALLOW.astype(np.uint16), syntax, said)
    plain = compressed(tmp_path / "plain.dcm", jpeg(SHALLOW), SHALLOW, uid.JPEGBaseline8Bit)
    assert (greys(path) == greys(plain)).all()
    assert warning(path) == ""


def test_a_stream_that_no_decoder_reads_is_refused_with_the_reason(tmp_path):
    stream = j2k(DEEP)
    path = compressed(
        tmp_path / "a.dcm", stream[: len(stream) // 8], DEEP, uid.JPEG2000Lossless, 12
    )
    assert refused(path) == (
        "its compressed picture is damaged, or not JPEG 2000 Image Compression (Lossless Only): "
        "no decoder reads it"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xfe\xff\x00\xe0" + bytes(4), "its compressed pixels are empty"),
        (
            b"\xfe\xff\x00\xe0" + bytes(4) + b"nothing",
            "its compressed pixels are damaged between their fragments",
        ),
    ],
)
def test_what_holds_no_fragment_is_refused(tmp_path, content, told):
    path = fragmented(tmp_path / "a.dcm", [b"xy"], [], DEEP, uid.JPEG2000Lossless, 12)
    whole = path.read_bytes()
    start = whole.index(b"\xfe\xff\x00\xe0")
    end = b"\xfe\xff\xdd\xe0" + bytes(4)
    path.write_bytes(whole[:start] + content + end)
    assert refused(path) == told


@pytest.mark.parametrize("kind", ["lossless", "2000", "LS"])
@pytest.mark.parametrize("said", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_pixels_that_are_compressed_against_their_file_are_read_and_told(tmp_path, kind, said):
    stream, syntax, pixels, bits = STREAMS[kind]
    path = fragmented(tmp_path / "a.dcm", [stream], [], pixels, said, bits)
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", DEEP, 12))).all()
    assert warning(path) == f"its pixels are {syntax.name}, and it says {said.name}"
    with path.open("rb") as file:
        assert not is_plain_dicom(file)  # a decoder of compressed pixels gets limits


def test_they_may_have_no_length(tmp_path):
    stream, syntax, pixels, bits = STREAMS["lossless"]
    path = fragmented(tmp_path / "a.dcm", [stream], [], pixels, syntax, bits)
    said = uid.ExplicitVRLittleEndian.encode().ljust(len(syntax), b"\0")
    path.write_bytes(path.read_bytes().replace(syntax.encode(), said))
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", DEEP, 12))).all()
    assert "and it says Explicit VR Little Endian" in warning(path)
    with path.open("rb") as file:
        assert not is_plain_dicom(file)


def test_pixels_of_which_nobody_says_how_they_are_compressed_are_refused(tmp_path):
    content = [bytes(range(1, 200))]
    path = fragmented(tmp_path / "a.dcm", content, [], DEEP, uid.ExplicitVRLittleEndian, 12)
    assert refused(path) == "its pixels are compressed, and neither it nor they say how"
