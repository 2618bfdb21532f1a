"""Which bits of a DICOM's words are its pixels (PS3.5, 8.1.1): Bits Stored up to High Bit.

The other bits may hold anything: older programs keep overlays there, others leave what was in
memory. But Bits Stored may also be too small for the pixels, and High Bit may be wrong. Overlays
and remains make a picture rougher; bits that belong to it make it smoother, since without them it
jumps wherever it exceeds what the others can hold.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

ROWS = 64
"""Rows compared at once."""
CLEARLY = 2
"""How many times rougher a picture is that has the wrong sign: most of it is as rough as the right
one, but each step over the middle of the range becomes one across all of it."""
Words = NDArray[np.integer]


class UsedBits(NamedTuple):
    """A picture without what lies beside it in its words."""

    values: Words
    """In the shape of the words."""
    warning: str


def used_bits(words: Words, dataset: Dataset) -> UsedBits:
    """Take a picture out of its words; Bits Stored becomes what was taken.

    Args:
        words: (rows, columns) or (rows, columns, 3), signed if the picture is.
        dataset: says Bits Stored, High Bit and Pixel Representation.
    """
    room = 8 * words.dtype.itemsize
    stored = min(int(dataset.BitsStored), room)
    shift, warning = _shift(words, dataset, stored, room)
    if shift:
        return UsedBits(_only(words >> shift, stored), "")
    signed = words.dtype.kind == "i"
    least, greatest = _ends(stored, signed=signed)
    if int(words.min()) >= least and int(words.max()) <= greatest:
        return UsedBits(words, warning)
    kept = _only(words, stored)
    if not _is_smoother(words, kept):
        return UsedBits(kept, warning)
    magnitude = max(int(words.max()), ~int(words.min()))
    bits = magnitude.bit_length() + signed
    dataset.BitsStored = bits
    return UsedBits(words, f"its pixels have {bits} bits, more than its Bits Stored ({stored})")


def with_likelier_sign(words: Words, dataset: Dataset, *, coded_signed: bool) -> UsedBits:
    """Choose the sign where a compressed picture has another than its file says.

    Some programs code signed pixels as unsigned ones, and others write a wrong Pixel
    Representation, which becomes that of what was chosen.

    Args:
        words: (rows, columns[, 3]).
        dataset: says Bits Stored and Pixel Representation.
        coded_signed: whether the stream says that it is signed.
    """
    if coded_signed == bool(dataset.PixelRepresentation):
        return UsedBits(words, "")
    room = words.dtype.itemsize
    stored = min(int(dataset.BitsStored), 8 * room)
    unsigned = _only(words.astype(f"u{room}"), stored)
    signed = _only(words.astype(f"i{room}"), stored)
    said, coded = (unsigned, signed) if coded_signed else (signed, unsigned)
    if CLEARLY * _roughness(coded) >= _roughness(said):
        return UsedBits(said, "")
    dataset.PixelRepresentation = int(coded_signed)
    names = ("signed", "unsigned") if coded_signed else ("unsigned", "signed")
    return UsedBits(coded, f"its pixels are {names[0]}, and it says {names[1]}")


def _shift(words: Words, dataset: Dataset, stored: int, room: int) -> tuple[int, str]:
    """How far above the lowest bit the picture begins, and what contradicts its High Bit."""
    high = dataset.get("HighBit")
    shift = high + 1 - stored if isinstance(high, int) and stored <= high + 1 <= room else 0
    above = (1 << room) - (1 << stored)
    if shift == 0 or int(np.bitwise_or.reduce(words, axis=None)) & above:
        return shift, ""
    return 0, f"its High Bit is {high}, and its pixels lie in the lowest {stored} bits"


def _ends(bits: int, *, signed: bool) -> tuple[int, int]:
    """The least and the greatest number of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def _only(words: Words, stored: int) -> Words:
    """Only the lowest bits, of which the first is the sign if the words have one."""
    unused = 8 * words.dtype.itemsize - stored
    result: Words = words << unused
    result >>= unused
    return result


def _is_smoother(one: Words, other: Words) -> bool:
    """Whether the differences between neighbours are smaller in one picture than in another."""
    return _roughness(one) < _roughness(other)


def _roughness(values: Words) -> int:
    """The sum of all differences between neighbours, down and across."""
    total = 0
    for top in range(0, len(values), ROWS):
        block = values[top : top + ROWS + 1].astype(np.int64)
        total += int(np.abs(np.diff(block, axis=0)).sum())
        total += int(np.abs(np.diff(block[:ROWS], axis=1)).sum())
    return total
