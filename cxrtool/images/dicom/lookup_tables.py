"""The look-up tables of a DICOM (PS3.3, C.11.1.1.1 and C.7.6.3.1.5), as programs write them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrtool.images.dicom import DicomError
from cxrtool.images.presentations import Values

FULL = 1 << 16
NEARLY_FULL = 0.75
"""Share of a depth's full scale that a table of this depth reaches."""


class LookUp(NamedTuple):
    """A look-up table: the value of `first`, the one after it, and so on."""

    first: int
    entries: NDArray[np.int64]
    bits: int
    """Bits of an entry, by its descriptor."""

    def of(self, values: Values) -> NDArray[np.int64]:
        """Look up values; those outside the table take its first or last entry."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        result: NDArray[np.int64] = self.entries[places.astype(np.int64)]
        return result

    @property
    def full_scale(self) -> int:
        """What is white: what its depth can hold, as far as the entries agree with a depth.

        12-bit tables are often declared as 16, and some end one above 12 bits: those end in white.
        """
        greatest = int(self.entries.max())
        bits = greatest.bit_length()
        holds = (1 << bits) - 1
        if bits == self.bits or greatest >= NEARLY_FULL * holds:
            return holds or 1
        return greatest


def read_table(
    item: Dataset, dataset: Dataset, descriptor: str, data: str, values: Values
) -> LookUp:
    """Read a look-up table.

    Args:
        item: what it is in: an item of a sequence, or the file itself.
        dataset: the file.
        descriptor: keyword of its length, first value and bits.
        data: keyword of its entries.
        values: to be looked up; whether they are signed decides whether the first value is.

    Raises:
        DicomError: it is missing, damaged or empty.
    """
    if descriptor not in item or data not in item:
        raise DicomError("one of its look-up tables is missing or of an unsupported kind")
    try:
        count, first, bits = (int(number) for number in item[descriptor].value)
        content = item[data].value
    except Exception:  # nearly anything, with the value in its message
        raise DicomError("one of its look-up tables is damaged") from None
    count = count or FULL
    if first >= FULL // 2 and float(values.min()) < 0:
        first -= FULL  # written as an unsigned number
    if isinstance(content, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        wide = bits > 8 or len(content) >= 2 * count
        content = np.frombuffer(content[: len(content) // 2 * 2], f"{order}u2" if wide else "u1")
    if content is None or not np.size(content):
        raise DicomError("one of its look-up tables is empty")
    entries = np.atleast_1d(np.asarray(content)).astype(np.int64)[:count] & (FULL - 1)
    return LookUp(first, entries, bits)
