"""The VOI LUTs and windows of a DICOM, in the order in which they are to be tried (C.11.2)."""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.lookup_tables import read_table
from cxrtool.images.dicom.numbers import count_of, number_at
from cxrtool.images.presentations import FUNCTIONS, Function, Presentation, Table, Values, Window

CENTRE, WIDTH = "WindowCenter", "WindowWidth"
MOST_PRESENTATIONS = 20
"""Tables, and windows, that are looked at in a file: it may hold any number."""
MOST_NAME = 40
"""Characters kept of a presentation's name."""


class Choice(NamedTuple):
    """A VOI LUT or a window of a file, or why it cannot be used."""

    label: str
    """What it is in a message, where nothing of the file may be quoted."""
    presentation: Presentation | None
    reason: str = ""
    """Why there is none, after the words "its" and the label."""
    warning: str = ""
    """What is doubtful about one that can be used."""


def choices(values: Values, dataset: Dataset) -> Iterator[Choice]:
    """The VOI LUTs, and then the windows, of a file.

    Args:
        values: of the modality, for each of which a table has a grey.
        dataset: the file.
    """
    items = dataset.get("VOILUTSequence") or ()
    there = [one for one in items if "LUTDescriptor" in one and "LUTData" in one]
    for number, item in enumerate(there[:MOST_PRESENTATIONS], 1):
        label = f"look-up table {number}" if len(there) > 1 else "look-up table"
        try:
            yield Choice(label, _table(item, values, dataset, number))
        except DicomError as error:
            yield Choice(label, None, f"cannot be used ({error})")
    count = count_of(dataset, CENTRE, WIDTH)
    for place in range(min(count, MOST_PRESENTATIONS)):
        choice = _window(dataset, place, f"window {place + 1}" if count > 1 else "window")
        if choice is not None:
            yield choice


def greys_of(shares: Values, dataset: Dataset) -> bytes:
    """Greys of shares of white; where the least value is white, inverted."""
    shares = 1 - shares if white_is_zero(dataset) else shares
    return (np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()


def white_is_zero(dataset: Dataset) -> bool:
    """Whether a grey picture's least value is white (C.7.6.3.1.2)."""
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1")


def _table(item: Dataset, values: Values, dataset: Dataset, number: int) -> Table:
    table = read_table(item, dataset, "LUTDescriptor", "LUTData", values)
    greys = greys_of(table.of(values) / table.full_scale, dataset)
    return Table(name=_name(item, "LUTExplanation", 0) or f"table {number}", greys=greys)


def _window(dataset: Dataset, place: int, label: str) -> Choice | None:
    """The window at a place (C.11.2.1.2); None if nothing is there."""
    try:
        centre, width = (number_at(dataset, keyword, place) for keyword in (CENTRE, WIDTH))
    except DicomError as error:
        return Choice(label, None, f"cannot be used ({error})")
    if centre is None and width is None:
        return None
    if centre is None or width is None:
        return Choice(label, None, f"has no {'centre' if centre is None else 'width'}")
    function, warning = _function(dataset, place)
    name = _name(dataset, "WindowCenterWidthExplanation", place) or f"window {place + 1}"
    window = Window(name=name, centre=centre, width=width, function=function)
    if not window.is_wide_enough:
        return Choice(label, None, f"is {width:g} wide")
    return Choice(label, window, warning=warning)


def _function(dataset: Dataset, place: int) -> tuple[Function, str]:
    """The VOI LUT Function of a window (C.11.2.1.3), of which some files have several."""
    said = dataset.get("VOILUTFunction")
    if isinstance(said, MultiValue):
        said = said[min(place, len(said) - 1)] if said else ""
    text = str(said or "LINEAR").strip(" \0").upper()
    function = next((one for one in FUNCTIONS if one == text), None)
    if function is None:
        return "LINEAR", "its VOI LUT Function is unknown: read as LINEAR"
    return function, ""


def _name(dataset: Dataset, keyword: str, place: int) -> str:
    """The printable beginning of what a file calls something; it may hold anything, or nothing."""
    said: object = ""
    with suppress(Exception):  # absent, shorter than the windows, or damaged
        value = dataset.get(keyword)
        said = value[place] if isinstance(value, (MultiValue, list)) else [value][place]
    return "".join(one for one in str(said or "") if one.isprintable())[:MOST_NAME].strip()
