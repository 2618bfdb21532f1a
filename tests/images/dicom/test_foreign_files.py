"""Files that other programs wrote: those in the package pydicom, decoded beside an own reckoning.

pydicom gives the stored values, by another decoder than cxrtool's where one is installed
(`pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg python-gdcm`); what becomes of them is
worked out here from the standard's formulas.
"""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import convert_color_space, get_decoder, pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring
from tests.support.windows import windowed

FILES = sorted(
    path
    for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")
    if path.is_file()
)
OTHERS = ("gdcm", "pylibjpeg")
"""Decoders that cxrtool takes last or never."""
MOST = 1.01
"""Greys by which two decodes may differ, before rounding."""


def stored_by_another(made):
    """The pixels that pydicom decodes, by another decoder if there is one; None if it cannot."""
    try:
        there = get_decoder(made.file_meta.TransferSyntaxUID).available_plugins
        plugin = next((name for name in OTHERS if name in there), "")
        return pixel_array(made, index=0, decoding_plugin=plugin, raw=True)
    except Exception:  # no image, no decoder, or a damaged file
        return None


def worked_out(made, pixels):
    """The greys of stored pixels, by the standard."""
    mode = made.PhotometricInterpretation
    if mode == "PALETTE COLOR":
        colours = apply_color_lut(pixels, made)
        return grey_of(colours >> 8 if colours.dtype.itemsize > 1 else colours)
    if not mode.startswith("MONOCHROME"):
        if mode.startswith("YBR_FULL"):
            pixels = convert_color_space(pixels, mode, "RGB")
        return grey_of(pixels >> 8 if pixels.dtype.itemsize > 1 else pixels)
    values = np.asarray(apply_modality_lut(pixels, made), float)
    centre, width = (first(made.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or not width:
        greys = stretched(values, pixels != made.get("PixelPaddingValue"))
    else:
        greys = windowed(values, centre, width, made.get("VOILUTFunction", "LINEAR"))
        if is_off(values, centre, width):
            greys = stretched(values, pixels != made.get("PixelPaddingValue"))
    return 255 - greys if mode == "MONOCHROME1" else greys


def first(value):
    value = value[0] if isinstance(value, pydicom.multival.MultiValue) else value
    return None if value in (None, "") else float(value)


def stretched(values, used):
    low, high = values[used].min(), values[used].max()
    return np.clip((values - low) / ((high - low) or 1), 0, 1) * 255


def is_off(values, centre, width):
    """Whether at least 95 % of what lies between the ends is on one side of a window."""
    inner = values[(values > values.min()) & (values < values.max())]
    sides = (inner < centre - width / 2).mean(), (inner > centre + width / 2).mean()
    return max(sides) >= 0.95


def grey_of(colours):
    return np.asarray(Image.fromarray(colours.astype(np.uint8)).convert("L")).astype(float)


@pytest.fixture(scope="module")
def found():
    """Of each file: what pydicom decodes of it, the greys, the warning and the error."""
    told = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in FILES:
            made = pydicom.dcmread(path, force=True)
            pixels = stored_by_another(made)
            try:
                grey, warning = read_for_scoring(path)
                told[path] = made, pixels, np.asarray(grey).astype(int), warning
            except ImageError as error:
                told[path] = made, pixels, None, str(error).removeprefix(f"{path}: ")
    return told


def test_files_of_other_programs_are_within_one_grey_of_an_independent_decode(found):
    compared, wrong = 0, {}
    for path, (made, pixels, greys, _) in found.items():
        if greys is None or pixels is None:
            continue
        expected = worked_out(made, pixels)
        compared += 1
        if greys.shape != expected.shape or np.abs(greys - expected).max() > MOST:
            wrong[path.name] = np.abs(greys - expected).max()
    assert wrong == {}
    assert compared >= 70


def test_what_cannot_be_read_of_them_has_a_reason(found):
    reasons = Counter(why for *_, greys, why in found.values() if greys is None)
    assert all(len(why) > 10 for why in reasons)
    assert not any("cannot be decoded (" in why for why in reasons), reasons


def test_only_films_of_several_frames_and_other_depths_are_refused_though_they_have_pixels(found):
    kinds = ("only one frame per file is read", "do not have 8 to 16 bits", "no decoder reads it")
    refused = {
        path.name: why
        for path, (_, pixels, greys, why) in found.items()
        if greys is None and pixels is not None
    }
    assert len(refused) >= 10
    assert [why for why in refused.values() if not any(kind in why for kind in kinds)] == []
