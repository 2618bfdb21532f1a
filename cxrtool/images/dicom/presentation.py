"""A DICOM's stored values to displayed greys: PS3.4, N.2, and PS3.3, C.11.

All of it is a function of the stored value, so it is computed once for each value between the least
and the greatest that occur, then looked up. pydicom's own functions
(`pydicom.pixels.apply_rescale`, `apply_windowing`) make float64 of every pixel at each step.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrtool.images.dicom import DicomError
from cxrtool.images.presentations import (
    FULL_RANGE,
    FUNCTIONS,
    FullDepth,
    Presentation,
    Table,
    Values,
    Window,
)

Stored = NDArray[np.integer]
Entry = TypeVar("Entry", np.uint8, np.uint16)
FULL = 1 << 16
ROWS = 64
"""Rows looked up at once: an index takes eight bytes per pixel."""
COLOURS = ("Red", "Green", "Blue")
GREATEST = 1e100
"""Largest number accepted from a file: beyond it, computations would overflow."""
MOST_PRESENTATIONS = 20
"""Tables, and windows, that are listed of a file: it may hold any number."""
MOST_NAME = 40
"""Characters kept of a presentation's name."""


class _LookUp(NamedTuple):
    """A look-up table (PS3.3, C.11.1.1.1): the value of `first`, the one after it, and so on."""

    first: int
    entries: NDArray[np.int64]

    def of(self, values: Values) -> NDArray[np.int64]:
        """Look up values; those outside the table take its first or last entry."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        result: NDArray[np.int64] = self.entries[places.astype(np.int64)]
        return result


class Scale(NamedTuple):
    """From stored values to pixels from 0, and to the modality's own values (C.11.1)."""

    low: int
    """The least stored value."""
    pixels: NDArray[np.int64]
    """The pixel of each stored value from `low`: one after the other without a Modality LUT."""
    first: int
    """What the pixel 0 is of, before slope and offset."""
    slope: float = 1.0
    offset: float = 0.0

    @property
    def values(self) -> Values:
        """The value of each pixel from 0."""
        return (self.first + np.arange(self.pixels.max() + 1.0)) * self.slope + self.offset

    @property
    def intercept(self) -> float:
        """A pixel's value is slope * pixel + intercept."""
        return self.slope * self.first + self.offset


class Shown(NamedTuple):
    """A grey picture as it is displayed, and by what."""

    greys: NDArray[np.uint8]
    """(rows, columns)."""
    warning: str
    scale: Scale
    first: Presentation
    """Its presentation."""


def shown_greys(stored: Stored, dataset: Dataset) -> Shown:
    """Stored values as greys, with a warning if any.

    Black and white come from the first VOI LUT or window; without either, from the least and the
    greatest value that is not padding.

    Raises:
        DicomError: a table or function in the file cannot be used.
    """
    scale = _scale(stored, dataset)
    values = scale.values
    first = _first_table(values, dataset) or _window(dataset, 0)
    warning = ""
    if isinstance(first, Window) and not first.is_wide_enough:
        warning = f"its window is {first.width:g} wide: shown from its least to its greatest value"
        first = None
    first = first or _full_range(stored, scale, dataset)
    table = first.greys if isinstance(first, Table) else _greys(first.of(values), dataset)
    greys = np.frombuffer(table, np.uint8)
    return Shown(_looked_up(stored, scale.low, greys[scale.pixels]), warning, scale, first)


def full_depth(stored: Stored, dataset: Dataset, shown: Shown) -> FullDepth:
    """The pixels that were shown at their full depth, with all presentations of the file.

    First the one by which they were shown, then the other VOI LUTs and windows as far as they can
    be used (at most `MOST_PRESENTATIONS` of each), and last the full range.
    """
    scale = shown.scale
    listed = _listed(scale.values, dataset)
    ways = (shown.first, *listed, _full_range(stored, scale, dataset))
    return FullDepth(
        values=_looked_up(stored, scale.low, scale.pixels.astype(np.uint8))
        if scale.pixels.max() < 256
        else _looked_up(stored, scale.low, scale.pixels.astype(np.uint16)),
        slope=scale.slope,
        intercept=scale.intercept,
        white_is_zero=_white_is_zero(dataset),
        presentations=tuple(dict.fromkeys(ways)),
    )


def palette_colours(stored: Stored, dataset: Dataset) -> NDArray[np.uint8]:
    """The colours (rows, columns, 3) of stored values by the file's palette (PS3.3, C.7.6.3.1.5).

    Raises:
        DicomError: there is no palette, or it is damaged.
    """
    low, high = int(stored.min()), int(stored.max())
    levels = np.arange(low, high + 1, dtype=np.float64)
    keys = [f"{colour}PaletteColorLookupTable" for colour in COLOURS]
    tables = [
        _read_table(dataset, dataset, f"{key}Descriptor", f"{key}Data", levels).of(levels)
        for key in keys
    ]
    colours = np.stack(tables, axis=-1)
    colours = colours >> 8 if int(colours.max()) > 255 else colours
    return _looked_up(stored, low, colours.astype(np.uint8))


def _scale(stored: Stored, dataset: Dataset) -> Scale:
    low, high = int(stored.min()), int(stored.max())
    pixels = np.arange(high - low + 1)
    items = dataset.get("ModalityLUTSequence")
    if items:
        levels = (low + pixels).astype(np.float64)
        entries = _read_table(items[0], dataset, "LUTDescriptor", "LUTData", levels).of(levels)
        least = int(entries.min())
        return Scale(low, entries - least, least)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    slope = 1.0 if slope is None else slope
    return Scale(low, pixels, low, slope, intercept or 0.0)


def _white_is_zero(dataset: Dataset) -> bool:
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1")


def _greys(shares: Values, dataset: Dataset) -> bytes:
    """Greys of shares of white; where the least value is white, inverted."""
    shares = 1 - shares if _white_is_zero(dataset) else shares
    return (np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()


def _first_table(values: Values, dataset: Dataset) -> Table | None:
    """The first VOI LUT, if there is one (C.11.2.1.1)."""
    items = dataset.get("VOILUTSequence")
    if items and "LUTDescriptor" in items[0] and "LUTData" in items[0]:
        return _table(items[0], values, dataset, 1)
    return None


def _table(item: Dataset, values: Values, dataset: Dataset, number: int) -> Table:
    table = _read_table(item, dataset, "LUTDescriptor", "LUTData", values)
    # Its depth is what its entries need: 12-bit tables are often declared as 16.
    greatest = (1 << int(table.entries.max()).bit_length()) - 1
    greys = _greys(table.of(values) / (greatest or 1), dataset)
    return Table(name=_name(item, "LUTExplanation", 0) or f"table {number}", greys=greys)


def _window(dataset: Dataset, place: int) -> Window | None:
    """The window at a place, if there is one (C.11.2.1.2), however narrow."""
    centre, width = (_number(dataset, key, place) for key in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    said = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    function = next((one for one in FUNCTIONS if one == said), None)
    if function is None:
        raise DicomError("its VOI LUT Function is not LINEAR, LINEAR_EXACT or SIGMOID")
    name = _name(dataset, "WindowCenterWidthExplanation", place) or f"window {place + 1}"
    return Window(name=name, centre=centre, width=width, function=function)


def _listed(values: Values, dataset: Dataset) -> Iterator[Presentation]:
    """All VOI LUTs and windows, without those that cannot be used: no program displays them."""
    items = dataset.get("VOILUTSequence") or ()
    for number, item in enumerate(items[:MOST_PRESENTATIONS], 1):
        with suppress(Exception):  # pydicom raises nearly anything on a damaged value
            yield _table(item, values, dataset, number)
    for place in range(MOST_PRESENTATIONS):
        with suppress(Exception):
            window = _window(dataset, place)
            if window is not None and window.is_wide_enough:
                yield window


def _full_range(stored: Stored, scale: Scale, dataset: Dataset) -> Window:
    """From the least to the greatest value that is not padding."""
    used = ~_padding(scale.low + np.arange(len(scale.pixels)), dataset)
    if not used.all() or "ModalityLUTSequence" in dataset:  # else the ends are the least, greatest
        used &= _occurring(stored, scale.low, len(used))
    ends = scale.values[scale.pixels[used if used.any() else slice(None)]]
    return Window.between(float(ends.min()), float(ends.max()), FULL_RANGE)


def _padding(levels: Stored, dataset: Dataset) -> NDArray[np.bool_]:
    """Which stored values are padding (C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(len(levels), np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [value, limit if isinstance(limit, int) else value]
    # Some files write a signed value as unsigned, or the reverse.
    full = 1 << int(dataset.BitsAllocated)
    half = full // 2 if dataset.PixelRepresentation else full
    low, high = sorted(end % full - full * (end % full >= half) for end in ends)
    return (levels >= low) & (levels <= high)


def _occurring(stored: Stored, low: int, count: int) -> NDArray[np.bool_]:
    """Which of `count` values from `low` occur."""
    found = np.zeros(count, np.bool_)
    for top in range(0, len(stored), ROWS):
        found[stored[top : top + ROWS].astype(np.int64) - low] = True
    return found


def _looked_up(stored: Stored, low: int, table: NDArray[Entry]) -> NDArray[Entry]:
    """Each pixel's entry in a table that begins at `low`."""
    result = np.empty(stored.shape + table.shape[1:], table.dtype)
    for top in range(0, len(stored), ROWS):
        result[top : top + ROWS] = table[stored[top : top + ROWS].astype(np.int64) - low]
    return result


def _read_table(
    item: Dataset, dataset: Dataset, descriptor: str, data: str, values: Values
) -> _LookUp:
    """Read a look-up table of a file."""
    if descriptor not in item or data not in item:
        raise DicomError("one of its look-up tables is missing or of an unsupported kind")
    count, first, bits = (int(number) for number in item[descriptor].value)
    count = count or FULL
    if first >= FULL // 2 and float(values.min()) < 0:
        first -= FULL  # written as an unsigned number
    content = item[data].value
    if isinstance(content, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        wide = bits > 8 or len(content) >= 2 * count
        content = np.frombuffer(content[: len(content) // 2 * 2], f"{order}u2" if wide else "u1")
    entries = np.atleast_1d(np.asarray(content)).astype(np.int64)[:count] & (FULL - 1)
    if not len(entries):
        raise DicomError("one of its look-up tables is empty")
    return _LookUp(first, entries)


def _number(dataset: Dataset, keyword: str, place: int = 0) -> float | None:
    """An element's number at a place, or None."""
    value = next(iter(_several(dataset, keyword)[place : place + 1]), None)
    if value is None or value == "":
        return None
    number = float(value)
    if not abs(number) < GREATEST:
        raise DicomError(f"its {keyword} is not a number, or beyond what pixels can have")
    return number


def _several(dataset: Dataset, keyword: str) -> Sequence[Any]:
    """An element's values."""
    value = dataset.get(keyword)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _name(dataset: Dataset, keyword: str, place: int) -> str:
    """The printable beginning of what a file calls something; it may hold anything, or nothing."""
    try:
        said = _several(dataset, keyword)[place]
    except Exception:  # absent, shorter than the windows, or damaged
        return ""
    return "".join(one for one in str(said or "") if one.isprintable())[:MOST_NAME].strip()
