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

from cxrtool.images.presentations import FULL_RANGE, FullDepth, Window

DEPTHS = (8, 10, 12, 14, 16, 20, 24, 31)
"""Bits per pixel that detectors and programs use."""
ABOVE = 0.02
"""Share of pixels that may exceed the depth: markers, text."""
AT_ONCE = 1 << 20
"""Pixels processed at once, which bounds the memory used."""
DARK = 0.25
"""Float pixels below this are not on a scale from 0 to 1, and are scaled by their own maximum.

A quarter, as for integers, whose depths are two bits apart."""

STEPS = 65_535
"""Steps of the 16 bits into which deeper pixels are quantised for display."""
HEADROOM = 16
"""How far beyond the full scale they are kept, so that steps stay finer than those of a screen: a
mark at 1e30 or a hole at -1e30 would else leave two greys. A sixteenth of a grey is a step."""

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
    NaN and negative values become 0; but of integers that are negative in more than `ABOVE` of the
    pixels, black is the smallest power of two that nearly all lie above: what was subtracted of
    them to make them signed.

    Args:
        image: of a mode for which `is_deep` holds.
        white_is_zero: whether the least value is white.
    """
    values = np.asarray(image)
    return _greys(values, _scale(values), white_is_zero=white_is_zero)


def shallow_and_full(image: Image.Image, *, white_is_zero: bool = False) -> tuple[Greys, FullDepth]:
    """Like `shallow`, and the same pixels at their full depth, in at most 16 bits.

    32-bit and float pixels that 16 bits do not hold are quantised, see `HEADROOM`.
    """
    values = np.asarray(image)
    scale = _scale(values)
    greys = _greys(values, scale, white_is_zero=white_is_zero)
    return greys, _full_depth(values, scale, white_is_zero=white_is_zero)


def shallow_colours(words: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], str]:
    """16-bit colours (rows, columns, channels) as 8-bit ones, all by one depth; and a warning.

    As in `shallow`, but colours of full depth keep their upper byte, as decoders do.
    """
    flat = words.reshape(len(words), -1)
    scale = _scale(flat)
    if scale.repeated or scale.full >= STEPS:
        return (words >> 8).astype(np.uint8), ""
    shallow, warning = _shallow(flat, scale)
    return shallow.reshape(words.shape), warning


def _greys(values: Deep, scale: "_Scale", *, white_is_zero: bool) -> Greys:
    greys, warning = _shallow(values, scale)
    if white_is_zero:
        np.subtract(255, greys, out=greys)
    return Greys(Image.fromarray(greys), warning)


def _shallow(values: Deep, scale: "_Scale") -> tuple[NDArray[np.uint8], str]:
    """Values of two dimensions in 8 bits, and what was lost."""
    greys = np.empty(values.shape, np.uint8)
    above = negative = 0
    base, width = scale.base, scale.full - scale.base
    for place in _blocks(values):
        block = _numbers(values[place])
        if scale.repeated:
            greys[place] = block >> 8
            continue
        above += int(np.count_nonzero(block > scale.full))
        negative += int(np.count_nonzero(block < 0))
        shown = np.clip((block.astype(np.float64) - base) * (255 / width), 0, 255) + 0.5
        greys[place] = shown.astype(np.uint8)
    reasons = []
    if above:
        reasons.append(
            f"{_share(above, values.size)} of its pixels are above {_number(scale.full)} (up to "
            f"{scale.greatest:,.6g}): taken for a marker and clipped"
        )
    if base:
        reasons.append(f"its pixels are signed: shown from {base:,} to {_number(scale.full)}")
    elif negative > ABOVE * values.size:
        reasons.append(f"{_share(negative, values.size)} of its pixels are negative: read as 0")
    return greys, "; ".join(reasons)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.3g}"


def _share(some: int, of: int) -> str:
    return f"{some / of:.1%}" if some >= 0.001 * of else f"{some:,}"


class _Scale(NamedTuple):
    full: float
    """The value that becomes white."""
    greatest: float
    repeated: bool
    """Whether they are 8-bit pixels, written twice into 16 bits."""
    base: int = 0
    """The value that becomes black."""


def _scale(values: Deep) -> _Scale:
    integers = np.issubdtype(values.dtype, np.integer)
    scales = ([] if integers else [1.0]) + [float(2**depth - 1) for depth in DEPTHS]
    above, repeated, greatest = np.zeros(len(scales)), integers, 0.0
    base = _base(values) if values.dtype.kind == "i" else 0
    for place in _blocks(values):
        block = _numbers(values[place])
        above += [np.count_nonzero(block > scale + base) for scale in scales]
        greatest = max(greatest, float(block.max(initial=0)))
        repeated = repeated and bool(((block >> 8) == (block & 255)).all())
    fits = above <= ABOVE * values.size
    full = scales[int(fits.argmax())] + base if fits.any() else greatest
    if full == 1 and not integers:
        step = -(-values.size // AT_ONCE)  # a million of them tell the percentile
        own = float(np.quantile(_numbers(values.reshape(-1)[::step]), 1 - ABOVE))
        full = own if 0 < own < DARK else full
    return _Scale(full, greatest, repeated and base == 0, base)


def _base(values: NDArray[np.signedinteger]) -> int:
    """What becomes black: 0, or if too many are negative, the power of two they lie above."""
    powers = [0, *(-(1 << power) for power in range(32))]
    below = np.zeros(len(powers))
    for place in _blocks(values):
        if values[place].min(initial=0) < 0:
            below += [np.count_nonzero(values[place] < power) for power in powers]
    return powers[int((below <= ABOVE * values.size).argmax())]


def _full_depth(values: Deep, scale: _Scale, *, white_is_zero: bool) -> FullDepth:
    full = float(STEPS) if scale.repeated else scale.full
    least, greatest = _ends(values)
    slope, intercept = 1.0, 0.0
    if values.dtype.kind == "f" or least < 0 or greatest > STEPS:
        least, greatest = max(least, -HEADROOM * full), min(greatest, HEADROOM * full)
        whole = values.dtype.kind != "f" and greatest - least <= STEPS
        slope = 1.0 if whole else (greatest - least) / STEPS or 1.0
        intercept = least
    return FullDepth(
        values=_quantised(values, slope, intercept),
        slope=slope,
        intercept=intercept,
        white_is_zero=white_is_zero,
        presentations=(
            Window.between(float(scale.base), full, f"up to {_number(full)}"),
            Window.between(least, greatest, FULL_RANGE),
        ),
    )


def _ends(values: Deep) -> tuple[float, float]:
    """The least and the greatest number."""
    blocks = [_numbers(values[place]) for place in _blocks(values)]
    return min(float(one.min()) for one in blocks), max(float(one.max()) for one in blocks)


def _quantised(values: Deep, slope: float, intercept: float) -> NDArray[np.uint16]:
    """The pixels of which slope * pixel + intercept are the values; those outside are clipped."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return values.astype(np.uint16, copy=False)  # in the machine's own order of bytes
    result = np.empty(values.shape, np.uint16)
    for place in _blocks(values):
        steps = (_numbers(values[place]).astype(np.float64) - intercept) / slope
        result[place] = np.rint(np.clip(steps, 0, STEPS)).astype(np.uint16)
    return result


def _numbers(block: Deep) -> Deep:
    if np.issubdtype(block.dtype, np.integer):
        return block
    return np.nan_to_num(block, posinf=0, neginf=0)


def _blocks(values: Deep) -> Iterator[slice]:
    """Slices of rows, each of about `AT_ONCE` pixels."""
    rows = max(AT_ONCE // max(values.shape[1], 1), 1)
    for start in range(0, len(values), rows):
        yield slice(start, start + rows)
