"""Which of a file's tables and windows shows its pixels."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.support.dicom_greys import DEEP, differs, stretched, warning
from tests.support.dicoms import dataset, dicom, saved, table
from tests.support.windows import windowed

FULL = "shown from its least to its greatest value"


@pytest.mark.parametrize(
    ("centre", "width", "told"),
    [
        ("0", "0", "is 0 wide"),
        ("2048", "-4096", "is -4096 wide"),
        ("2048", None, "has no width"),
        (None, "4096", "has no centre"),
        (
            "2048",
            "inf",
            "cannot be used (its WindowWidth is not a number, or beyond what pixels can have)",
        ),
        (
            "1e308",
            "1e308",
            "cannot be used (its WindowCenter is not a number, or beyond what pixels can have)",
        ),
        ("60000", "1000", "shows nearly all of its pixels as black"),
        ("128", "256", "shows nearly all of its pixels as white"),
        ("40", "400", "shows nearly all of its pixels as white"),
    ],
)
def test_a_window_that_cannot_be_used_is_left_out_and_told(tmp_path, centre, width, told):
    path = with_texts(tmp_path / "a.dcm", WindowCenter=centre, WindowWidth=width)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == f"its window {told}: {FULL}"


def with_texts(path, **texts):
    """With numbers as some programs write them: any text, in another representation."""
    made = dataset(DEEP, 12)
    for keyword, text in texts.items():
        if text is not None:
            made.add_new(keyword, "LO", text)
    return saved(path, made)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_off_the_pixels_is_one_whatever_the_least_value_is(tmp_path, kind):
    window = {"WindowCenter": 128, "WindowWidth": 256}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, PhotometricInterpretation=kind, **window)
    plain = stretched(DEEP)
    assert differs(path, plain if kind == "MONOCHROME2" else 255 - plain) <= 0.51
    assert "shows nearly all of its pixels as" in warning(path)


def test_a_window_on_a_few_of_the_pixels_is_used(tmp_path):
    """Most of a picture may be background, and padding is not counted."""
    pixels = DEEP // 4
    pixels[:36] = 0
    window = {"WindowCenter": 500, "WindowWidth": 800}
    path = dicom(tmp_path / "a.dcm", pixels, 12, **window)
    assert differs(path, windowed(pixels, 500, 800, "LINEAR")) <= 0.51
    assert warning(path) == ""
    pixels[:36] = np.arange(3000, 3036)[:, None]
    padding = {"PixelPaddingValue": 3000, "PixelPaddingRangeLimit": 3036}
    path = dicom(tmp_path / "b.dcm", pixels, 12, **window, **padding)
    assert differs(path, windowed(pixels, 500, 800, "LINEAR")) <= 0.51
    assert warning(path) == ""


@pytest.mark.parametrize(
    ("centres", "widths", "told"),
    [
        (["", "1500"], ["", "900"], ""),
        (["0", "1500"], ["0", "900"], "its window 1 is 0 wide: shown by its window 2"),
        (
            ["128", "x", "1500"],
            ["256", "9", "900"],
            "its window 1 shows nearly all of its pixels as white, its window 2 cannot be used "
            "(its WindowCenter is not a number, or beyond what pixels can have): "
            "shown by its window 3",
        ),
        (["1500", ""], ["900", ""], ""),
        (["1500", "900"], "900", ""),
    ],
)
def test_the_first_window_that_can_be_used_is_taken(tmp_path, centres, widths, told):
    path = with_texts(tmp_path / "a.dcm", WindowCenter=centres, WindowWidth=widths)
    assert differs(path, windowed(DEEP, 1500, 900, "LINEAR")) <= 0.51
    assert warning(path) == told


def test_an_unknown_function_is_read_as_linear_and_told(tmp_path):
    window = {"WindowCenter": 1500, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXAKT"}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **window)
    assert differs(path, windowed(DEEP, 1500, 900, "LINEAR")) <= 0.51
    assert warning(path) == "its VOI LUT Function is unknown: read as LINEAR"


@pytest.mark.parametrize(("place", "function"), [(0, "SIGMOID"), (1, "LINEAR")])
def test_each_window_may_have_a_function(tmp_path, place, function):
    windows = {"WindowCenter": [1500, 1500], "WindowWidth": [900, 900]}
    windows["WindowWidth"][:place] = [0] * place
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **windows, VOILUTFunction=["SIGMOID", "LINEAR"])
    assert differs(path, windowed(DEEP, 1500, 900, function)) <= 0.51


def test_a_voi_table_that_shows_nothing_is_left_out_and_told(tmp_path):
    window = {"WindowCenter": 1500, "WindowWidth": 900}
    tables = {"VOILUTSequence": table(0, 12, np.zeros(4096))}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **tables, **window)
    assert differs(path, windowed(DEEP, 1500, 900, "LINEAR")) <= 0.51
    assert warning(path) == (
        "its look-up table shows nearly all of its pixels as black: shown by its window"
    )


def test_the_first_voi_table_that_is_there_is_taken(tmp_path):
    tables = [Dataset(), *table(0, 12, np.arange(4096)[::-1])]
    path = dicom(tmp_path / "a.dcm", DEEP, 12, VOILUTSequence=tables)
    assert differs(path, (4095 - DEEP.astype(int)) / 4095 * 255) <= 0.51
    assert warning(path) == ""


def test_a_voi_table_that_begins_beyond_the_pixels_is_left_out_and_told(tmp_path):
    """All of them would have its first grey."""
    tables = {"VOILUTSequence": table(60_000, 12, np.arange(1000, 4096))}
    path = dicom(tmp_path / "a.dcm", DEEP, 12, **tables)
    assert differs(path, stretched(DEEP)) <= 0.51
    assert warning(path) == f"its look-up table shows nearly all of its pixels as one grey: {FULL}"


def test_where_a_marker_leaves_one_grey_to_any_range_the_window_is_used(tmp_path):
    pixels = DEEP % 100
    pixels[0, 0] = 65535
    path = dicom(tmp_path / "a.dcm", pixels, 16, WindowCenter=32768, WindowWidth=65536)
    assert differs(path, windowed(pixels, 32768, 65536, "LINEAR")) <= 0.51
    assert warning(path) == ""
