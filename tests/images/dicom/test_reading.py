import io
import math
import re
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxrtool.images.dicom import stored as stored
from cxrtool.images.reading import (
    ImageError,
    decode,
    read_file,
    read_for_scoring,
    read_grey,
    read_header,
)
from tests.support.dicoms import NAME, NUMBER, compressed, dataset, dicom, saved, table
from tests.support.lossless import encode_lossless, wavy

DEEP = wavy(40, 56, 12)
SHALLOW = wavy(40, 56, 8).astype(np.uint8)


def greys(path):
    return np.asarray(read_grey(path)).astype(int)


def stretched(values):
    """From the least, black, to the greatest, white."""
    values = values.astype(float)
    return (values - values.min()) / (values.max() - values.min()) * 255


def differs(path, expected):
    """The greatest difference to greys that were worked out otherwise, before rounding."""
    return np.abs(greys(path) - expected).max()


def warning(path):
    return read_for_scoring(path)[1]


def told_of(path):
    """Whatever is said of a file."""
    try:
        return warning(path)
    except ImageError as error:
        return str(error)


# How stored values become greys


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_without_a_window_the_least_value_is_black_and_the_greatest_white(tmp_path, bits, signed):
    values = wavy(40, 56, bits).astype(int)
    kind = "int16" if signed and bits > 8 else "int8" if signed else "uint16"
    values = values - 2 ** (bits - 1) if signed else values + 0
    path = dicom(tmp_path / "a.dcm", values.astype(kind), bits)
    assert differs(path, stretched(values)) <= 0.51


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("rescale", [None, (1, -1024), (2.5, 100), (-1, 4095)])
def test_a_window_is_applied_to_the_rescaled_values(tmp_path, function, rescale):
    elements = {"WindowCenter": 1500, "WindowWidth": 900}
    if function:
        elements["VOILUTFunction"] = function
    if rescale:
        elements["RescaleSlope"], elements["RescaleIntercept"] = rescale
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **elements)
    # pydicom's own, which gives the full range of rescaled values.
    made = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(DEEP, made), made)
    slope, intercept = rescale or (1, 0)
    black, white = slope * 0 + intercept, slope * 4095 + intercept
    assert differs(path, (shown - black) / (white - black) * 255) <= 0.51
    # The standard's formulas, number by number (PS3.3, C.11.2.1.2 and C.11.2.1.3).
    assert (
        differs(path, windowed(DEEP.astype(int) * slope + intercept, 1500, 900, function)) <= 0.51
    )


def windowed(values, centre, width, function):
    def one(x):
        if function == "SIGMOID":
            return 1 / (1 + math.exp(-4 * (x - centre) / width))
        if function == "LINEAR_EXACT":
            low, high = centre - width / 2, centre + width / 2
            return min(max((x - low) / (high - low), 0), 1)
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        return 0 if x <= low else 1 if x > high else (x - low) / (high - low)

    return np.vectorize(one, otypes=[float])(values) * 255


def test_the_first_of_several_windows_is_taken(tmp_path):
    windows = {"WindowCenter": [1000, 3000], "WindowWidth": [500, 800]}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **windows)
    assert differs(path, windowed(DEEP, 1000, 500, "LINEAR")) <= 0.51


def test_a_window_one_value_wide_is_a_step(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=2000.5, WindowWidth=1)
    assert (greys(path) == np.where(DEEP > 2000, 255, 0)).all()


def test_a_window_without_width_is_left_out_and_told(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=0, WindowWidth=0)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert "its window is 0 wide" in warning(path)


@pytest.mark.parametrize(("first", "bits"), [(0, 16), (0, 12), (500, 12), (1000, 8)])
def test_a_voi_table_wins_over_a_window(tmp_path, first, bits):
    entries = ((np.arange(3000) / 2999) ** 2 * (2**bits - 1)).astype(int)
    elements = {"VOILUTSequence": table(first, bits, entries)}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=9, WindowWidth=3, **elements)
    places = [min(max(value - first, 0), 2999) for value in DEEP.ravel().tolist()]
    expected = entries[places].reshape(DEEP.shape) / (2**bits - 1) * 255
    assert differs(path, expected) <= 0.51


def test_a_voi_table_begins_below_zero(tmp_path):
    entries = np.arange(4096)
    pixels = DEEP.astype(np.int16) - 2048
    elements = {"VOILUTSequence": table(-2048, 12, entries)}
    path = dicom(tmp_path / "a.dcm", pixels, 12, **elements)
    assert differs(path, DEEP / 4095 * 255) <= 0.51


def test_a_voi_table_of_12_bits_that_is_said_to_have_16_is_not_dark(tmp_path):
    elements = {"VOILUTSequence": table(0, 16, np.arange(4096))}
    assert differs(dicom(tmp_path / "a.dcm", DEEP, 12, **elements), DEEP / 4095 * 255) <= 0.51


def test_a_modality_table_comes_before_the_window(tmp_path):
    entries = np.arange(4096)[::-1]
    elements = {"ModalityLUTSequence": table(0, 16, entries, ModalityLUTType="US")}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=1500, WindowWidth=900, **elements)
    assert differs(path, windowed(4095 - DEEP.astype(int), 1500, 900, "LINEAR")) <= 0.51


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1500, "WindowWidth": 900}])
def test_monochrome1_is_the_negative_of_monochrome2(tmp_path, window):
    plain = greys(dicom(tmp_path / "2.dcm", DEEP, 12, **window))
    kind = {"PhotometricInterpretation": "MONOCHROME1"}
    negative = greys(dicom(tmp_path / "1.dcm", DEEP, 12, **window, **kind))
    assert np.abs(negative - (255 - plain)).max() <= 1
    assert plain.std() > 50


@pytest.mark.parametrize("limit", [None, 4095])
def test_padding_does_not_count_as_the_least_or_the_greatest(tmp_path, limit):
    pixels = np.clip(DEEP, 1000, 3000)
    pixels[:, :5] = 4000 if limit is None else np.arange(4000, 4040)[:, None]
    padding = {"PixelPaddingValue": 4000}
    if limit is not None:
        padding["PixelPaddingRangeLimit"] = limit
    read = greys(dicom(tmp_path / "a.dcm", pixels, 12, **padding))
    assert np.abs(read[:, 5:] - stretched(pixels[:, 5:])).max() <= 0.51
    assert (read[:, :5] == 255).all()


def test_padding_below_zero_is_known_however_it_is_written(tmp_path):
    pixels = DEEP.astype(np.int16)
    pixels[:, :5] = -2000
    made = dataset(pixels, 16)
    made.add_new("PixelPaddingValue", "US", 65536 - 2000)
    read = greys(saved(tmp_path / "a.dcm", made))
    assert np.abs(read[:, 5:] - stretched(DEEP[:, 5:])).max() <= 0.51


def test_what_lies_in_the_unused_bits_is_not_seen(tmp_path):
    overlaid = DEEP | (np.indices(DEEP.shape)[0] % 2 << 14).astype(np.uint16)
    assert differs(dicom(tmp_path / "a.dcm", overlaid, 12), stretched(DEEP)) <= 0.51


def test_the_shape_of_pixels_changes_nothing(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PixelAspectRatio=[2, 1], PixelSpacing=[0.1, 0.3])
    assert read_grey(path).size == (56, 40)


# Colour


def palette(colours, bits=8):
    elements = {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = np.asarray(colours)[:, channel] * (1 if bits == 8 else 256)
        kind = np.uint8 if bits == 8 else "<u2"
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), 0, bits]
        elements[f"{name}PaletteColorLookupTableData"] = entries.astype(kind).tobytes()
    return {"PhotometricInterpretation": "PALETTE COLOR", **elements}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tint", [0, 60])
def test_a_palette_is_looked_up_and_its_colours_are_told(tmp_path, bits, tint):
    grey = np.arange(256)
    colours = np.stack([grey, np.clip(grey - tint, 0, 255), grey], axis=1)
    path = dicom(tmp_path / "a.dcm", SHALLOW, **palette(colours, bits))
    expected = colours[SHALLOW] @ [0.299, 0.587, 0.114]
    assert differs(path, expected) <= 1
    assert ("in colour" in warning(path)) == (tint > 0)


@pytest.mark.parametrize("planar", [0, 1])
def test_red_green_and_blue_become_grey(tmp_path, planar):
    colours = np.stack([SHALLOW, SHALLOW[::-1], SHALLOW.T.repeat(2, 1)[:40, :56]], axis=-1)
    made = dataset(colours, PlanarConfiguration=planar)
    if planar:
        made.PixelData = np.moveaxis(colours, -1, 0).tobytes()
    path = saved(tmp_path / "a.dcm", made)
    assert differs(path, colours @ [0.299, 0.587, 0.114]) <= 1
    assert "in colour" in warning(path)


def test_deep_colours_become_grey(tmp_path):
    colours = np.stack([DEEP, DEEP // 2, DEEP // 4], axis=-1)
    path = dicom(tmp_path / "a.dcm", colours, 12)
    assert differs(path, (colours >> 4) @ [0.299, 0.587, 0.114]) <= 1


def test_grey_in_colours_channels_is_no_colour(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.stack([SHALLOW] * 3, axis=-1))
    assert differs(path, SHALLOW) <= 1
    assert warning(path) == ""


def test_luminance_and_chrominance_become_grey(tmp_path):
    flat = np.full_like(SHALLOW, 128)
    kind = {"PhotometricInterpretation": "YBR_FULL"}
    path = dicom(tmp_path / "a.dcm", np.stack([SHALLOW, flat, flat], axis=-1), **kind)
    assert differs(path, SHALLOW) <= 1
    assert decode(path)[1] == "YBR_FULL"


# How they may be written


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


def j2k(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    return stream.getvalue()


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


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_a_file_without_preamble_is_known_by_its_name(tmp_path, syntax):
    made = dataset(DEEP, 12, syntax)
    del made.file_meta
    options = {"implicit_vr": syntax.is_implicit_VR, "little_endian": True}
    made.save_as(tmp_path / "a.dcm", **options)
    assert (tmp_path / "a.dcm").read_bytes()[128:132] != b"DICM"
    assert differs(tmp_path / "a.dcm", stretched(DEEP)) <= 0.51


def test_content_wins_over_the_name(tmp_path):
    path = dicom(tmp_path / "a.jpg", DEEP, 12)
    assert differs(path, stretched(DEEP)) <= 0.51
    Image.fromarray(SHALLOW).save(tmp_path / "b.dcm", "PNG")
    assert (greys(tmp_path / "b.dcm") == SHALLOW).all()


def test_the_header_is_enough_for_size_and_kind(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PhotometricInterpretation="MONOCHROME1")
    path.write_bytes(path.read_bytes()[: -DEEP.nbytes])
    assert read_header(path) == (56, 40, "MONOCHROME1")


def test_pydicom_waits_for_the_first_dicom(tmp_path):
    Image.fromarray(SHALLOW).save(tmp_path / "a.png")
    dicom(tmp_path / "a.dcm", DEEP, 12)
    code = (
        "import sys\n"
        "from cxrtool.images.reading import read_for_scoring\n"
        "read_for_scoring('a.png')\n"
        "before = 'pydicom' in sys.modules\n"
        "read_for_scoring('a.dcm')\n"
        "print(before, 'pydicom' in sys.modules)\n"
    )
    told = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert told == "False True\n"


# What is refused


def refused(path):
    with pytest.raises(ImageError) as caught:
        read_for_scoring(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "Testperson" not in message
    assert NUMBER not in message
    return message.removeprefix(f"{path}: ")


def test_several_frames_are_refused_with_their_number(tmp_path):
    made = dataset(np.tile(SHALLOW, (12, 1)), Rows=40, NumberOfFrames=12)
    assert refused(saved(tmp_path / "a.dcm", made)) == "12 frames: only one frame per file is read"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (uid.EncapsulatedPDFStorage, "a DICOM without an image (Encapsulated PDF Storage)"),
        (uid.BasicTextSRStorage, "a DICOM without an image (Basic Text SR Storage)"),
        (uid.MediaStorageDirectoryStorage, "a DICOMDIR, which only lists other files: name those"),
        (uid.UID("1.2.3.4"), "a DICOM without an image"),
        (uid.CTImageStorage, "cut short before its image (CT Image Storage)"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, kind, told):
    made = dataset(DEEP, 12)
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(made, keyword)
    made.SOPClassUID = kind
    assert refused(saved(tmp_path / "a.dcm", made)) == told


def test_an_image_without_pixels_is_refused(tmp_path):
    made = dataset(DEEP, 12)
    del made.PixelData
    assert "cut short before its image" in refused(saved(tmp_path / "a.dcm", made))


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
    stream = j2k(DEEP) if "High" in syntax.name else encode_lossless(DEEP, 12)
    path = compressed(tmp_path / "a.dcm", stream, DEEP, syntax, 12)
    with pytest.raises(ImageError, match=re.escape(f"{syntax.name}: {package}")):
        read_file(path, look=True)  # in this process, which lacks it


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "XYZ"},
        {"SamplesPerPixel": 3},
        {"BitsAllocated": 32},
        {"BitsStored": 0},
        {"BitsStored": 17},
        {"PixelRepresentation": 2},
        {"Rows": 0},
        {"Columns": 60000},
        {"VOILUTFunction": "CUBIC", "WindowCenter": 5, "WindowWidth": 9},
        {"RescaleSlope": "nan", "RescaleIntercept": 0},
        {"RescaleSlope": "1e308", "RescaleIntercept": 0},
        {"RescaleSlope": 1, "RescaleIntercept": "-1e300"},
        {"WindowCenter": "1e308", "WindowWidth": "1e308"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, elements):
    with pydicom.config.disable_value_validation():
        made = dataset(DEEP, 12, **elements)
        assert refused(saved(tmp_path / "a.dcm", made))


def test_too_many_pixels_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    path = dicom(tmp_path / "a.dcm", DEEP, 12)
    path.write_bytes(path.read_bytes()[: -DEEP.nbytes])
    assert refused(path) == "more pixels than 2,000"
    with pytest.raises(ImageError, match="more pixels"):
        read_header(path)


def test_a_deflated_file_that_swells_is_refused_in_little_memory(tmp_path):
    made = dataset(DEEP, 12, uid.DeflatedExplicitVRLittleEndian)
    made.add_new(0x00091001, "OB", bytes(100_000_000))
    path = saved(tmp_path / "a.dcm", made)
    del made
    assert path.stat().st_size < 1_000_000
    code = (
        "import resource, sys\n"
        "from cxrtool.images.reading import read_file, ImageError\n"
        "from PIL import Image\n"
        "import cxrtool.images.dicom.reading\n"
        "Image.MAX_IMAGE_PIXELS = 10_000_000\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: read_file('a.dcm', look=True)\n"
        "except ImageError as error: print(error)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    told, kilobytes = done.stdout.splitlines()
    assert "more pixels than" in told
    assert int(kilobytes) < 20_000 * (1 if sys.platform == "linux" else 1024)


def test_runs_that_swell_are_refused(tmp_path):
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    stream = header + b"\x81\x00" * 100_000
    path = compressed(tmp_path / "a.dcm", stream, SHALLOW, uid.RLELossless)
    assert "longer than its pixels" in refused(path)


def test_nothing_of_the_patient_is_told(tmp_path, capfd, caplog, recwarn):
    """Not where the values that are read are the patient's name, by fault or on purpose."""
    path = dicom(
        tmp_path / "whole.dcm", DEEP, 12, WindowCenter=5, WindowWidth=9, BodyPartExamined="CHEST"
    )
    whole = path.read_bytes()
    for place in range(132, len(whole) - DEEP.nbytes - 10, 7):
        changed = bytearray(whole)
        changed[place : place + len(NAME)] = NAME.encode()
        (tmp_path / "a.dcm").write_bytes(changed)
        assert "Testperson" not in told_of(tmp_path / "a.dcm")
    path = dicom(path, DEEP, 12, WindowCenter="1234567890.12345", WindowWidth=9)
    path.write_bytes(path.read_bytes().replace(b"1234567890.12345", NAME[:16].encode()))
    assert refused(path) == "cannot be decoded (ValueError)"
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert list(recwarn) == []


# What is odd about them


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"ViewPosition": "LL"}, "a lateral view by its View Position (LL)"),
        ({"ViewPosition": "rl"}, "a lateral view by its View Position (RL)"),
        ({"ViewPosition": "RLO"}, "an oblique view by its View Position (RLO)"),
        ({"PatientOrientation": ["P", "F"]}, "a lateral view by its Patient Orientation"),
        ({"PatientOrientation": ["A", "F"], "ViewPosition": "PA"}, ""),
        ({"PatientOrientation": ["L", "F"]}, ""),
        ({"ViewPosition": "AP"}, ""),
        ({"Modality": "MG"}, "mammography by its Modality (MG)"),
        ({"Modality": "DX", "BodyPartExamined": "CHEST"}, ""),
        ({"BodyPartExamined": "HAND"}, "HAND by its Body Part Examined"),
        (
            {"PresentationIntentType": "FOR PROCESSING"},
            "raw pixels, intended for processing and not for presentation",
        ),
        (
            {"Modality": "CT", "BodyPartExamined": "SKULL"},
            "computed tomography by its Modality (CT); SKULL by its Body Part Examined",
        ),
    ],
)
def test_what_the_header_says_against_a_frontal_chest_is_told(tmp_path, elements, told):
    with pydicom.config.disable_value_validation():
        path = dicom(tmp_path / "a.dcm", DEEP, 12, **elements)
    assert warning(path) == told


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_refused_or_read_and_nothing_else_happens(tmp_path, seed):
    random = np.random.default_rng(seed)
    runs = dataset(DEEP, 12)
    runs.compress(uid.RLELossless, encoding_plugin="pydicom")
    near = dataset(DEEP, 12)
    near.compress(uid.JPEGLSLossless, encoding_plugin="pyjpegls")
    lossless = encode_lossless(DEEP, 12)
    whole = [
        path.read_bytes()
        for path in (
            dicom(tmp_path / "1.dcm", DEEP, 12, VOILUTSequence=table(0, 12, np.arange(4096))),
            compressed(tmp_path / "2.dcm", lossless, DEEP, uid.JPEGLosslessSV1, 12),
            compressed(tmp_path / "3.dcm", j2k(DEEP), DEEP, uid.JPEG2000Lossless, 12),
            saved(tmp_path / "4.dcm", runs),
            saved(tmp_path / "5.dcm", near),
            dicom(tmp_path / "6.dcm", DEEP, 12, syntax=uid.DeflatedExplicitVRLittleEndian),
            dicom(tmp_path / "7.dcm", SHALLOW, **palette(np.stack([np.arange(256)] * 3, 1))),
        )
    ]
    for turn in range(210):
        content = bytearray(whole[turn % len(whole)])
        for place in random.integers(132, len(content), random.integers(1, 9)):
            content[place] = random.integers(256)
        if turn % 4 == 0:
            del content[random.integers(132, len(content)) :]
        (tmp_path / "a.dcm").write_bytes(content)
        try:
            grey, _ = read_for_scoring(tmp_path / "a.dcm")
        except ImageError:
            continue
        assert grey.mode == "L"
