import numpy as np
import pytest

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.codestreams import read_frame_header
from cxrtool.images.dicom.jpeg_lossless import BLOCK, decode_lossless
from tests.support.lossless import encode_lossless, segment, wavy

PICTURE = wavy(23, 31, 12)


@pytest.mark.parametrize("precision", [2, 8, 12, 16])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_gives_the_samples_back(precision, predictor):
    picture = wavy(23, 31, precision)
    stream = encode_lossless(picture, precision, predictor)
    assert (decode_lossless(stream) == picture).all()
    assert read_frame_header(stream) == (31, 23, precision, 1)


@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_restarts_begin_anew(predictor):
    stream = encode_lossless(PICTURE, 12, predictor, rows_between_restarts=5)
    assert stream.count(b"\xff\xd0") == 1
    assert (decode_lossless(stream) == PICTURE).all()


def test_the_bits_that_were_dropped_are_zero():
    assert (decode_lossless(encode_lossless(PICTURE, 12, 1, shift=3)) == PICTURE >> 3 << 3).all()


def test_the_greatest_difference_has_no_bits_of_its_own():
    extremes = np.array([[0, 32768, 0], [65535, 0, 32768]], np.uint16)
    assert (decode_lossless(encode_lossless(extremes, 16)) == extremes).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_a_line_is_a_picture(shape, predictor):
    picture = wavy(*shape, 12)
    assert (decode_lossless(encode_lossless(picture, 12, predictor)) == picture).all()


def test_a_stream_longer_than_a_block_is_read_across_its_border():
    noise = np.random.default_rng(0).integers(0, 65536, (200, 300)).astype(np.uint16)
    stream = encode_lossless(noise, 16)
    assert len(stream) > 2 * BLOCK
    assert (decode_lossless(stream) == noise).all()


def test_bytes_may_fill_up_before_a_marker():
    stream = encode_lossless(PICTURE, 12)
    assert (decode_lossless(stream[:2] + b"\xff\xff" + stream[2:]) == PICTURE).all()


@pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("ended", [False, True])
def test_a_stream_that_is_cut_short_is_refused(part, ended):
    stream = encode_lossless(PICTURE, 12)
    with pytest.raises(DicomError):
        decode_lossless(stream[: int(len(stream) * part)] + (b"\xff\xd9" if ended else b""))


def test_the_last_bits_are_missed():
    stream = encode_lossless(PICTURE, 12)
    for missing in range(1, 12):
        with pytest.raises(DicomError, match="cut short"):
            decode_lossless(stream[: -2 - missing] + stream[-2:])


def test_a_missing_part_is_refused():
    stream = encode_lossless(PICTURE, 12, rows_between_restarts=5)
    first, second = stream.index(b"\xff\xd1"), stream.index(b"\xff\xd2")
    with pytest.raises(DicomError, match="parts"):
        decode_lossless(stream[:first] + stream[second:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xff\xc3", b"\xff\xc0"),  # not lossless
        (b"\xff\xc4", b"\xff\xe4"),  # no table
        (segment(0xDA, bytes([1, 1, 0, 1, 0, 0])), segment(0xDA, bytes([1, 1, 0, 0, 0, 0]))),
        (segment(0xDA, bytes([1, 1, 0, 1, 0, 0])), segment(0xDA, bytes([1, 1, 0, 1, 0, 12]))),
        (segment(0xDA, bytes([1, 1, 0, 1, 0, 0])), segment(0xDA, bytes([1, 1, 0x30, 1, 0, 0]))),
        (bytes([0, 0, 0, 0, 17]), bytes([0, 0, 3, 0, 17])),  # more codes than there can be
    ],
)
def test_a_header_that_makes_no_sense_is_refused(old, new):
    stream = encode_lossless(PICTURE, 12)
    assert old in stream
    with pytest.raises(DicomError):
        decode_lossless(stream.replace(old, new, 1))


def test_a_code_that_no_table_has_is_refused():
    stream = encode_lossless(PICTURE, 12)
    start = stream.index(segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))) + 10
    with pytest.raises(DicomError, match="damaged"):
        decode_lossless(stream[:start] + b"\xff\x00" * 2000 + b"\xff\xd9")


def test_damage_gives_a_picture_or_an_error_and_nothing_else():
    whole, random = encode_lossless(PICTURE, 12, 5), np.random.default_rng(0)
    for _ in range(300):
        stream = bytearray(whole)
        for place in random.integers(2, len(stream), random.integers(1, 6)):
            stream[place] = random.integers(256)
        try:
            assert decode_lossless(bytes(stream)).ndim == 2
        except DicomError:
            continue
