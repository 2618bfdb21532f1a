"""Pixels of more than 8 bits to 8-bit greys, scaled by their depth and not by their maximum.

A marker burnt in at 65,535 would blacken a 12-bit picture. So a picture's depth is the smallest
usual one that nearly all of its pixels fit into, and values above are clipped. The same picture has
the same greys at any depth.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16, 20, 24, 31)
"""Bits per pixel that detectors and programs use."""
ABOVE = 0.02
"""Share of pixels that may exceed the depth: markers, text."""
AT_ONCE = 1 << 20
"""Pixels processed at once, which bounds the memory used."""
DARK = 0.25
"""Float pixels below this are not on a scale from 0 to 1, and are scaled by their own maximum.

A quarter, as for integers, whose depths are two bits apart."""

Deep = NDArray[Any]
"""Integers or floats."""


class Greys(NamedTuple):
    """A deep picture's 8-bit form."""

    image: Image.Image
    warning: str
    """What was lost, if anything."""


def is_deep(mode: str) -> bool:
    """Whether a Pillow mode has more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def shallow(image: Image.Image, *, white_is_zero: bool = False) -> Greys:
    """Convert 16-bit, 32-bit or float pixels to 8-bit greys.

    Integers: grey = round(255 * value / (2**depth - 1)), where the depth is the smallest of
    `DEPTHS` with at most `ABOVE` of the pixels over it; so 8-bit pixels repeated in 16 bits
    (times 257) come out exactly as they were. Floats: the full scale is 1 where they lie in 0..1,
    a depth's where they lie above, and their own greatest (but for `ABOVE`) where they stay below
    `DARK`.
    NaN and negative values become 0.

    Args:
        image: of a mode for which `is_deep` holds.
        white_is_zero: whether the least value is white.
    """
    values = np.asarray(image)
    scale = _scale(values)
    greys = np.empty(values.shape, np.uint8)
    above = negative = 0
    for place in _blocks(values):
        block = _numbers(values[place])
        if scale.repeated:
            greys[place] = block >> 8
            continue
        above += int(np.count_nonzero(block > scale.full))
        negative += int(np.count_nonzero(block < 0))
        shown = np.clip(block.astype(np.float64) * (255 / scale.full), 0, 255) + 0.5
        greys[place] = shown.astype(np.uint8)
    if white_is_zero:
        np.subtract(255, greys, out=greys)
    reasons = []
    if above:
        full = f"{scale.full:,.0f}" if scale.full >= 1 else f"{scale.full:.3g}"
        reasons.append(
            f"{_share(above, values.size)} of its pixels are above {full} (up to "
            f"{scale.greatest:,.6g}): taken for a marker and clipped"
        )
    if negative > ABOVE * values.size:
        reasons.append(f"{_share(negative, values.size)} of its pixels are negative: read as 0")
    return Greys(Image.fromarray(greys), "; ".join(reasons))


def _share(some: int, of: int) -> str:
    return f"{some / of:.1%}" if some >= 0.001 * of else f"{some:,}"


class _Scale(NamedTuple):
    full: float
    """The value that becomes white."""
    greatest: float
    repeated: bool
    """Whether they are 8-bit pixels, written twice into 16 bits."""


def _scale(values: Deep) -> _Scale:
    integers = np.issubdtype(values.dtype, np.integer)
    scales = ([] if integers else [1.0]) + [float(2**depth - 1) for depth in DEPTHS]
    above, repeated, greatest = np.zeros(len(scales)), integers, 0.0
    for place in _blocks(values):
        block = _numbers(values[place])
        above += [np.count_nonzero(block > scale) for scale in scales]
        greatest = max(greatest, float(block.max(initial=0)))
        repeated = repeated and bool(((block >> 8) == (block & 255)).all())
    fits = above <= ABOVE * values.size
    full = scales[int(fits.argmax())] if fits.any() else greatest
    if full == 1 and not integers:
        step = -(-values.size // AT_ONCE)  # a million of them tell the percentile
        own = float(np.quantile(_numbers(values.reshape(-1)[::step]), 1 - ABOVE))
        full = own if 0 < own < DARK else full
    return _Scale(full, greatest, repeated)


def _numbers(block: Deep) -> Deep:
    if np.issubdtype(block.dtype, np.integer):
        return block
    return np.nan_to_num(block, posinf=0, neginf=0)


def _blocks(values: Deep) -> Iterator[slice]:
    """Slices of rows, each of about `AT_ONCE` pixels."""
    rows = max(AT_ONCE // max(values.shape[1], 1), 1)
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
