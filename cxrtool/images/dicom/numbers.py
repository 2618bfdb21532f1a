"""Numbers in a DICOM's header as programs really write them.

They are text (PS3.5, 6.2: DS), and come with decimal commas, brackets, nulls or blanks, or in
another value representation. pydicom raises a ValueError for the first of these.
"""

import math

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from cxrtool.images.dicom import DicomError

GREATEST = 1e100
"""Largest number accepted from a file: beyond it, computations would overflow."""
TEXT = ("DS", "IS", "CS", "LO", "LT", "SH", "ST", "UC", "UT", "UN")
"""Representations that hold text; pydicom converts the others."""
AROUND = " \0\t\r\n[](){}'\""
NUMBERS = ("WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope")
WHOLE_NUMBERS = (
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
"""Those that `make_whole` makes integers; `number_at` reads the others."""


def number_at(dataset: Dataset, keyword: str, place: int = 0) -> float | None:
    """An element's number at a place; None if there is none.

    Raises:
        DicomError: it is not a number.
    """
    text = next(iter(_texts(dataset, keyword)[place : place + 1]), "")
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = math.nan
    if not abs(number) < GREATEST:
        raise DicomError(f"its {keyword} is not a number, or beyond what pixels can have")
    return number


def make_whole(dataset: Dataset) -> None:
    """Make the values of `WHOLE_NUMBERS` integers, whatever they were written as.

    Raises:
        DicomError: one is not a number.
    """
    for keyword in WHOLE_NUMBERS:
        number = number_at(dataset, keyword)
        if number is not None:
            dataset[keyword] = DataElement(keyword, "UL", int(number))
        elif keyword in dataset:
            del dataset[keyword]  # empty, which is as if it were absent


def count_of(dataset: Dataset, *keywords: str) -> int:
    """How many numbers the longest of some elements has."""
    return max(len(_texts(dataset, keyword)) for keyword in keywords)


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    """An element's values as text, without what may stand around them."""
    element = dataset.get_item(keyword) if keyword in dataset else None
    if element is None or element.value is None:
        return []
    raw = isinstance(element, RawDataElement)
    if raw and (element.VR or dictionary_VR(element.tag)) in TEXT:
        values = bytes(element.value).decode("ascii", "replace").split("\\")
    else:
        try:
            value = dataset[keyword].value
        except Exception:  # nearly anything, with the value in its message
            raise DicomError(f"its {keyword} is damaged") from None
        values = list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]
    return [str("" if one is None else one).strip(AROUND) for one in values]
