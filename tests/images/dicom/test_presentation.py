"""Stored values become greys as the header says."""

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxrtool.images.reading import decode
from tests.support.dicom_greys import DEEP, SHALLOW, differs, greys, palette, stretched, warning
from tests.support.dicoms import dataset, dicom, saved, table
from tests.support.lossless import wavy
from tests.support.windows import windowed


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
    centre = 1500 if rescale != (2.5, 100) else 4000
    elements = {"WindowCenter": centre, "WindowWidth": 900}
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
    values = DEEP.astype(int) * slope + intercept
    assert differs(path, windowed(values, centre, 900, function)) <= 0.51


def test_the_first_of_several_windows_is_taken(tmp_path):
    windows = {"WindowCenter": [1000, 3000], "WindowWidth": [500, 800]}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **windows)
    assert differs(path, windowed(DEEP, 1000, 500, "LINEAR")) <= 0.51


def test_a_window_one_value_wide_is_a_step(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, WindowCenter=2000.5, WindowWidth=1)
    assert (greys(path) == np.where(DEEP > 2000, 255, 0)).all()


def test_a_slope_of_nothing_is_read_as_one_and_told(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, 12, RescaleSlope=0, RescaleIntercept=0)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == "its Rescale Slope is 0: read as 1"


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
