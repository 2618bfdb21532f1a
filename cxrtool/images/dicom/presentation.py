"""A DICOM's stored values to displayed greys: PS3.4, N.2, and PS3.3, C.11.

All of it is a function of the stored value, so it is computed once for each value between the least
and the greatest that occur, then looked up. pydicom's own functions
(`pydicom.pixels.apply_rescale`, `apply_windowing`) make float64 of every pixel at each step.
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrtool.images.dicom.lookup_tables import read_table
from cxrtool.images.dicom.numbers import number_at
from cxrtool.images.dicom.voi import choices, greys_of, white_is_zero
from cxrtool.images.presentations import (
    FULL_RANGE,
    FullDepth,
    Presentation,
    Table,
    Values,
    Window,
)

Stored = NDArray[np.integer]
Entry = TypeVar("Entry", np.uint8, np.uint16)
ROWS = 64
"""Rows looked up at once: an index takes eight bytes per pixel."""
COLOURS = ("Red", "Green", "Blue")
OFF = 0.95
"""Share of the pixels between the ends that, all in one grey, show that a window lies off them."""
SAMPLE = 1 << 20
"""Pixels that tell it."""


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


class Inner(NamedTuple):
    """The values between a picture's least and its greatest, and how many pixels have them."""

    levels: NDArray[np.intp]
    """Places in a `Scale`'s pixels."""
    counts: NDArray[np.int64]

    def only(self, greys: NDArray[np.uint8]) -> str:
        """Black, white or one grey, if a presentation shows nearly all of them so."""
        sums = np.bincount(greys[self.levels], weights=self.counts, minlength=256)
        most = int(sums.argmax())
        if not len(self.levels) or sums[most] < OFF * self.counts.sum():
            return ""
        return {0: "black", 255: "white"}.get(most, "one grey")


def shown_greys(stored: Stored, dataset: Dataset) -> Shown:
    """Stored values as greys, with a warning if any.

    Black and white come from the first VOI LUT or window that can be used and does not lie off the
    pixels; without any, from the least and the greatest value that is not padding.

    Raises:
        DicomError: a table or a number in the file cannot be used.
    """
    scale, warnings = _scale(stored, dataset)
    inner = _inner(stored, scale, dataset)
    reasons = []
    first: Presentation = _full_range(stored, scale, dataset)
    by = "from its least to its greatest value"
    greys = _greys_by(first, scale, dataset)
    # Where even the full range shows one grey, as beside a marker far above, nothing tells.
    telling = not inner.only(greys[scale.pixels])
    for choice in choices(scale.values, dataset):
        reason = choice.reason
        if choice.presentation is not None:
            found = _greys_by(choice.presentation, scale, dataset)
            only = inner.only(found[scale.pixels])
            if not (only and telling):
                first, greys, by = choice.presentation, found, f"by its {choice.label}"
                warnings += [choice.warning]
                break
            reason = f"shows nearly all of its pixels as {only}"
        reasons.append(f"its {choice.label} {reason}")
    if reasons:
        warnings.insert(0, f"{', '.join(reasons)}: shown {by}")
    text = "; ".join(filter(None, warnings))
    return Shown(_looked_up(stored, scale.low, greys[scale.pixels]), text, scale, first)


def _greys_by(one: Presentation, scale: Scale, dataset: Dataset) -> NDArray[np.uint8]:
    """The grey of each pixel from 0."""
    table = one.greys if isinstance(one, Table) else greys_of(one.of(scale.values), dataset)
    return np.frombuffer(table, np.uint8)


def _inner(stored: Stored, scale: Scale, dataset: Dataset) -> Inner:
    """The values between the least and the greatest, without padding, by a sample of rows."""
    step = max(stored.size // SAMPLE, 1)
    counts = np.bincount(
        (stored[::step].astype(np.int64) - scale.low).ravel(), minlength=len(scale.pixels)
    )
    counts[_padding(scale.low + np.arange(len(counts)), dataset)] = 0
    levels = np.flatnonzero(counts)
    values = scale.pixels[levels]
    if len(levels):
        levels = levels[(values > values.min()) & (values < values.max())]
    return Inner(levels, counts[levels])


def full_depth(stored: Stored, dataset: Dataset, shown: Shown) -> FullDepth:
    """The pixels that were shown at their full depth, with all presentations of the file.

    First the one by which they were shown, then the other VOI LUTs and windows as far as they can
    be used (at most `MOST_PRESENTATIONS` of each), and last the full range.
    """
    scale = shown.scale
    listed = [one.presentation for one in choices(scale.values, dataset) if one.presentation]
    ways = (shown.first, *listed, _full_range(stored, scale, dataset))
    return FullDepth(
        values=_looked_up(stored, scale.low, scale.pixels.astype(np.uint8))
        if scale.pixels.max() < 256
        else _looked_up(stored, scale.low, scale.pixels.astype(np.uint16)),
        slope=scale.slope,
        intercept=scale.intercept,
        white_is_zero=white_is_zero(dataset),
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
        read_table(dataset, dataset, f"{key}Descriptor", f"{key}Data", levels).of(levels)
        for key in keys
    ]
    colours = np.stack(tables, axis=-1)
    colours = colours >> 8 if int(colours.max()) > 255 else colours
    return _looked_up(stored, low, colours.astype(np.uint8))


def _scale(stored: Stored, dataset: Dataset) -> tuple[Scale, list[str]]:
    """How stored values become the modality's, and what is doubtful about it."""
    low, high = int(stored.min()), int(stored.max())
    pixels = np.arange(high - low + 1)
    items = dataset.get("ModalityLUTSequence")
    if items:
        levels = (low + pixels).astype(np.float64)
        entries = read_table(items[0], dataset, "LUTDescriptor", "LUTData", levels).of(levels)
        least = int(entries.min())
        return Scale(low, entries - least, least), []
    slope, intercept = number_at(dataset, "RescaleSlope"), number_at(dataset, "RescaleIntercept")
    warnings = ["its Rescale Slope is 0: read as 1"] if slope == 0 else []
    return Scale(low, pixels, low, slope or 1.0, intercept or 0.0), warnings


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
