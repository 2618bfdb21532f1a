"""A DICOM's stored values to displayed greys: PS3.4, N.2, and PS3.3, C.11.

All of it is a function of the stored value, so it is computed once for each value between the least
and the greatest that occur, then looked up. pydicom's own functions
(`pydicom.pixels.apply_rescale`, `apply_windowing`) make float64 of every pixel at each step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrtool.images.dicom import DicomError

Stored = NDArray[np.integer]
Levels = NDArray[np.float64]
FULL = 1 << 16
ROWS = 64
"""Rows looked up at once: an index takes eight bytes per pixel."""
COLOURS = ("Red", "Green", "Blue")
GREATEST = 1e100
"""Largest number accepted from a file: beyond it, computations would overflow."""


class _Table(NamedTuple):
    """A look-up table (PS3.3, C.11.1.1.1): the value of `first`, the one after it, and so on."""

    first: int
    entries: NDArray[np.int64]

    def of(self, values: Levels) -> NDArray[np.int64]:
        """Look up values; those outside the table take its first or last entry."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        result: NDArray[np.int64] = self.entries[places.astype(np.int64)]
        return result


def shown_greys(stored: Stored, dataset: Dataset) -> tuple[NDArray[np.uint8], str]:
    """The greys (rows, columns) of stored values, and a warning if any.

    Black and white come from the first VOI LUT or window; without either, from the least and the
    greatest value that is not padding.

    Raises:
        DicomError: a table or function in the file cannot be used.
    """
    low, high = int(stored.min()), int(stored.max())
    levels = np.arange(low, high + 1)
    values = _modality_values(levels, dataset)
    shown, warning = _of_interest(values, dataset)
    if shown is None:
        used = _occurring(stored, low, high) & ~_padding(levels, dataset)
        ends = values[used] if used.any() else values
        least, greatest = float(ends.min()), float(ends.max())
        shown = (values - least) / ((greatest - least) or 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    table = (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _looked_up(stored, low, table), warning


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


def _modality_values(levels: Stored, dataset: Dataset) -> Levels:
    """Stored values in the modality's own units (C.11.1)."""
    items = dataset.get("ModalityLUTSequence")
    values = levels.astype(np.float64)
    if items:
        table = _read_table(items[0], dataset, "LUTDescriptor", "LUTData", values)
        return table.of(values).astype(np.float64)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _of_interest(values: Levels, dataset: Dataset) -> tuple[Levels | None, str]:
    """Values from 0 (black) to 1 (white) by VOI LUT or window (C.11.2); None without either."""
    items = dataset.get("VOILUTSequence")
    if items and "LUTDescriptor" in items[0] and "LUTData" in items[0]:
        table = _read_table(items[0], dataset, "LUTDescriptor", "LUTData", values)
        # Its depth is what its entries need: 12-bit tables are often declared as 16.
        greatest = (1 << int(table.entries.max()).bit_length()) - 1
        return table.of(values) / (greatest or 1), ""
    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if centre is None or width is None:
        return None, ""
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DicomError("its VOI LUT Function is not LINEAR, LINEAR_EXACT or SIGMOID")
    if width < (1 if function == "LINEAR" else 1e-9):
        return None, f"its window is {width:g} wide: shown from its least to its greatest value"
    return _windowed(values, centre, width, function), ""


def _windowed(values: Levels, centre: float, width: float, function: str) -> Levels:
    """The window's functions (C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    half = width / 2
    inside = (values - centre) / (width or 1.0) + 0.5
    return np.where(values <= centre - half, 0.0, np.where(values > centre + half, 1.0, inside))


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


def _occurring(stored: Stored, low: int, high: int) -> NDArray[np.bool_]:
    """Which of the values from `low` to `high` occur."""
    found = np.zeros(high - low + 1, np.bool_)
    for top in range(0, len(stored), ROWS):
        found[stored[top : top + ROWS].astype(np.int64) - low] = True
    return found


def _looked_up(stored: Stored, low: int, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel's entry in a table that begins at `low`."""
    result = np.empty(stored.shape + table.shape[1:], np.uint8)
    for top in range(0, len(stored), ROWS):
        result[top : top + ROWS] = table[stored[top : top + ROWS].astype(np.int64) - low]
    return result


def _read_table(
    item: Dataset, dataset: Dataset, descriptor: str, data: str, values: Levels
) -> _Table:
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
    return _Table(first, entries)


def _number(dataset: Dataset, keyword: str) -> float | None:
    """An element's first number, or None."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    number = float(value)
    if not abs(number) < GREATEST:
        raise DicomError(f"its {keyword} is not a number, or beyond what pixels can have")
    return number
