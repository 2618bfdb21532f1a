"""Stored values are the same however the file codes them."""

import io
import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from cxrtool.images.dicom import stored as stored
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_file, read_for_scoring, read_grey
from tests.support.dicom_greys import DEEP, SHALLOW, differs, greys, j2k, refused, stretched
from tests.support.dicoms import NAME, compressed, dataset, dicom, saved, table
from tests.support.lossless import encode_lossless, wavy


def test_what_lies_in_the_unused_bits_is_not_seen(tmp_path):
    overlaid = DEEP | (np.indices(DEEP.shape)[0] % 2 << 14).astype(np.uint16)
    assert differs(dicom(tmp_path / "a.dcm", overlaid, 12), stretched(DEEP)) <= 0.51


def test_the_shape_of_pixels_changes_nothing(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PixelAspectRatio=[2, 1], PixelSpacing=[0.1, 0.3])
    assert read_grey(path).size == (56, 40)


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_order_of_bytes_gives_the_same(tmp_path, syntax):
    entries = np.arange(4096)[::-1]
    made = dataset(DEEP, 12, syntax, VOILUTSequence=table(0, 16, entries))
    if not syntax.is_little_endian:
        made.VOILUTSequence[0].LUTData = entries.astype(">u2").tobytes()
    path = saved(tmp_path / "a.dcm", made)
    assert differs(path, (4095 - DEEP.astype(int)) / 4095 * 255) <= 0.51


@pytest.mark.parametrize(
    ("syntax", "signed"),
    [
        (uid.JPEGLossless, False),
        (uid.JPEGLosslessSV1, False),
        (uid.JPEGLosslessSV1, True),
        (uid.JPEG2000Lossless, False),
        (uid.JPEGLSLossless, False),
        (uid.JPEGLSLossless, True),
    ],
)
def test_lossless_pictures_are_the_same_as_plain_ones(tmp_path, syntax, signed):
    pixels = DEEP.astype(np.int16) - 2048 if signed else DEEP
    plain = dicom(tmp_path / "plain.dcm", pixels, 12)
    if syntax == uid.JPEGLSLossless:
        made = dataset(pixels, 12)
        made.compress(syntax, encoding_plugin="pyjpegls")
        path = saved(tmp_path / "a.dcm", made)
    else:
        samples = (pixels.astype(int) % 4096).astype(np.uint16)
        stream = j2k(samples) if "2000" in syntax.name else encode_lossless(samples, 12)
        path = compressed(tmp_path / "a.dcm", stream, pixels, syntax, 12)
    assert (greys(path) == greys(plain)).all()


@pytest.mark.parametrize("pixels", [DEEP, SHALLOW, np.stack([SHALLOW] * 3, axis=-1)])
def test_runs_are_the_same_as_plain_ones(tmp_path, pixels):
    made = dataset(pixels)
    made.compress(uid.RLELossless, encoding_plugin="pydicom")
    path = saved(tmp_path / "a.dcm", made)
    assert (greys(path) == greys(dicom(tmp_path / "plain.dcm", pixels))).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
def test_jpeg_is_what_pillow_makes_of_it(tmp_path, syntax, channels):
    image = Image.fromarray(SHALLOW).convert("L" if channels == 1 else "RGB")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    kind = "MONOCHROME2" if channels == 1 else "YBR_FULL_422"
    window = {"WindowCenter": 128, "WindowWidth": 256} if channels == 1 else {}
    pixels = np.asarray(image)
    elements = {"PhotometricInterpretation": kind, **window}
    path = compressed(tmp_path / "a.dcm", stream.getvalue(), pixels, syntax, **elements)
    expected = np.asarray(Image.open(stream).convert("L")).astype(int)
    assert np.abs(greys(path) - expected).max() <= 1


def jpeg_of(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def test_what_libjpeg_says_of_a_damaged_jpeg_is_told(tmp_path):
    stream = bytearray(jpeg_of(SHALLOW))
    start = stream.index(b"\xff\xda")
    stream[start + 40 : start + 44] = b"\xff\xd9\x00\x00"
    whole = compressed(tmp_path / "whole.dcm", jpeg_of(SHALLOW), SHALLOW, uid.JPEGBaseline8Bit)
    assert "damaged" not in read_for_scoring(whole)[1]
    path = compressed(tmp_path / "a.dcm", bytes(stream), SHALLOW, uid.JPEGBaseline8Bit)
    assert "damaged: " in read_for_scoring(path)[1]


def test_a_jpeg_with_a_second_size_is_refused_before_it_is_decoded(tmp_path):
    """Pillow 12 writes past a row's end where two sizes stand in the stream."""
    stream = jpeg_of(SHALLOW)
    start = stream.index(b"\xff\xc0")
    length = int.from_bytes(stream[start + 2 : start + 4], "big") + 2
    second = bytearray(stream[start : start + length])
    second[7:9] = (60_000).to_bytes(2, "big")
    for made in (
        stream[: start + length] + second + stream[start + length :],
        stream[:start] + b"\xff\xfe\x00\x02\x00" + stream[start:],
    ):
        path = compressed(tmp_path / "a.dcm", bytes(made), SHALLOW, uid.JPEGBaseline8Bit)
        with pytest.raises(ImageError, match="damaged"):
            greys(path)


def test_the_same_picture_is_the_same_however_others_wrote_it():
    """Files that pydicom brings along: other programs' RLE, JPEG 2000, JPEG-LS, big endian."""
    plain = greys(get_testdata_file("MR_small.dcm", download=False))
    for other in ("RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded"):
        path = get_testdata_file(f"MR_small_{other}.dcm", download=False)
        assert (greys(path) == plain).all(), other
    assert plain.std() > 20


def test_pixels_that_are_cut_short_are_counted(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12)
    path.write_bytes(path.read_bytes()[:-480])
    assert refused(path) == "cut short: 4,000 of 4,480 bytes of its pixels"


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_compressed_pixels_that_are_cut_short_are_refused(tmp_path, syntax):
    made = dataset(DEEP, 12)
    if syntax == uid.JPEGLSLossless:
        made.compress(syntax, encoding_plugin="pyjpegls")
        stream = pydicom.encaps.get_frame(made.PixelData, 0, number_of_frames=1)
    else:
        stream = j2k(DEEP) if "2000" in syntax.name else encode_lossless(DEEP, 12)
    path = compressed(tmp_path / "a.dcm", stream, DEEP, syntax, 12)
    whole = path.read_bytes()
    assert greys(path).std() > 50
    path.write_bytes(whole[: len(whole) - len(stream) // 3])
    assert refused(path) == "cut short in its pixels"
    # The file is whole, and the picture in it is not.
    for part in (0.3, 0.6, 0.9):
        half = stream[: int(len(stream) * part)]
        assert refused(compressed(tmp_path / "b.dcm", half, DEEP, syntax, 12))


def test_a_picture_of_another_size_than_the_file_says_is_refused(tmp_path):
    large = wavy(400, 560, 12)
    for stream, syntax in (
        (encode_lossless(wavy(50, 60, 12), 12), uid.JPEGLosslessSV1),
        (j2k(large), uid.JPEG2000Lossless),
    ):
        path = compressed(tmp_path / "a.dcm", stream, DEEP, syntax, 12)
        assert "the file says 56x40 of 1" in refused(path)


@pytest.mark.parametrize("syntax", [uid.MPEG2MPML, "1.2.3.4.5", NAME])
def test_a_coding_that_is_not_read_is_named_if_the_standard_has_a_name(tmp_path, syntax):
    path = dicom(tmp_path / "a.dcm", DEEP, 12)
    text = path.read_bytes()
    old = b"1.2.840.10008.1.2.1\x00"
    new = syntax.encode() + bytes(len(syntax) % 2)
    element = b"\x02\x00\x10\x00UI"
    text = text.replace(
        element + len(old).to_bytes(2, "little") + old,
        element + len(new).to_bytes(2, "little") + new,
    )
    path.write_bytes(text)
    message = refused(path)
    assert "which is not read" in message
    assert ("MPEG2" in message) == (syntax == uid.MPEG2MPML)


FRAME_MARKERS = {uid.JPEGLSLossless: b"\xff\xf7", uid.JPEGExtended12Bit: b"\xff\xc1"}


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        (uid.HTJ2KLossless, "pip install pylibjpeg pylibjpeg-openjpeg"),
        (uid.JPEGLSLossless, "pip install pyjpegls"),
        (uid.JPEGExtended12Bit, "pip install pylibjpeg pylibjpeg-libjpeg"),
    ],
)
def test_a_decoder_that_is_not_installed_is_named(tmp_path, monkeypatch, syntax, package):
    monkeypatch.setattr(stored, "DECODERS", ("pillow",))
    stream = j2k(DEEP)
    if syntax in FRAME_MARKERS:
        stream = encode_lossless(DEEP, 12).replace(b"\xff\xc3", FRAME_MARKERS[syntax], 1)
    path = compressed(tmp_path / "a.dcm", stream, DEEP, syntax, 12)
    with pytest.raises(ImageError, match=re.escape(f"{syntax.name}: {package}")):
        read_file(path, look=True)  # in this process, which lacks it


def test_runs_that_swell_are_refused(tmp_path):
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    stream = header + b"\x81\x00" * 100_000
    path = compressed(tmp_path / "a.dcm", stream, SHALLOW, uid.RLELossless)
    assert "longer than its pixels" in refused(path)
