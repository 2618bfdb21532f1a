import io

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.codestreams import read_frame_header
from tests.support.lossless import encode_lossless, segment, wavy

GREY = wavy(23, 31, 8).astype(np.uint8)


def encoded(kind, array=GREY, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (encoded("JPEG"), (31, 23, 8, 1)),
        (encoded("JPEG", progressive=True), (31, 23, 8, 1)),
        (encoded("JPEG", np.dstack([GREY] * 3), comment=b"x" * 9), (31, 23, 8, 3)),
        (encoded("JPEG2000"), (31, 23, 8, 1)),
        (encoded("JPEG2000", no_jp2=True, tile_size=(64, 64), offset=(5, 3)), (31, 23, 8, 1)),
        (encoded("JPEG2000", wavy(23, 31, 16), no_jp2=True), (31, 23, 16, 1)),
        (encode_lossless(wavy(23, 31, 12), 12), (31, 23, 12, 1)),
    ],
)
def test_a_stream_says_its_size(stream, expected):
    assert read_frame_header(stream) == expected


def test_the_frame_of_jpeg_ls_is_known():
    frame = segment(0xF7, bytes([12, 0, 23, 0, 31, 1, 1, 0x11, 0]))
    assert read_frame_header(b"\xff\xd8" + frame + b"\xff\xd9") == (31, 23, 12, 1)


def test_a_jpeg_without_its_end_is_refused():
    with pytest.raises(DicomError, match="cut short"):
        read_frame_header(encoded("JPEG")[:-2])


@pytest.mark.parametrize("stream", [encoded("JPEG"), encoded("JPEG2000", no_jp2=True)])
def test_a_header_that_is_cut_short_is_refused(stream):
    for length in range(40):
        with pytest.raises(DicomError):
            read_frame_header(stream[:length])


@pytest.mark.parametrize("stream", [b"", b"no picture", b"\xff\xd8no", encoded("PNG")])
def test_another_kind_is_refused(stream):
    with pytest.raises(DicomError):
        read_frame_header(stream)
