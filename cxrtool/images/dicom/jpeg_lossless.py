"""Decode JPEG Lossless, which most X-ray archives use (ITU-T T.81, annex H).

Our own although decoders in C exist: GDCM crashes on a damaged stream, and a whole batch with it;
imagecodecs returns a picture for a stream cut at a tenth of its length. Nothing here can read
outside an array.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.images.dicom import DicomError
from cxrtool.images.dicom.codestreams import (
    HUFFMAN_TABLES,
    LOSSLESS,
    RESTART_INTERVAL,
    START_OF_SCAN,
    read_markers,
)

BLOCK = 1 << 16
"""Bytes decoded at once: their tables fit a processor's cache."""
UNKNOWN = 255
"""Category of bits with which no code begins."""
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
END = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that ends a scan; within one, 0xFF is followed by 0 or is a restart."""


@dataclass(frozen=True, kw_only=True)
class _Scan:
    rows: int
    columns: int
    precision: int
    predictor: int
    """1 to 7 (T.81, table H.1)."""
    shift: int
    """Point transform: bits dropped."""
    restart: int
    """Rows between restarts; all rows without any."""
    lengths: NDArray[np.uint8]
    """(65536,): length of the code with which 16 bits begin."""
    categories: NDArray[np.uint8]
    """(65536,): the category of that code, which is how many bits follow it."""


def decode_lossless(stream: bytes) -> NDArray[np.uint16]:
    """Decode a grey picture: (rows, columns), in 0 to 2^precision - 1.

    Raises:
        DicomError: it is truncated, damaged, in colour, or not lossless JPEG.
    """
    scan, start = _read_scan(stream)
    end = END.search(stream, start)
    if end is None:
        raise DicomError("the compressed picture is cut short")
    parts = RESTART.split(stream[start : end.start()])
    bands = range(0, scan.rows, scan.restart)
    if len(parts) != len(bands):
        raise DicomError("parts of the compressed picture are missing or damaged")
    samples = np.empty((scan.rows, scan.columns), np.uint16)
    for top, part in zip(bands, parts, strict=True):
        band = samples[top : top + scan.restart]
        differences = _read_differences(part.replace(b"\xff\x00", b"\xff"), scan, band.size)
        band[:] = _undo_prediction(differences.reshape(band.shape), scan)
    return np.left_shift(samples, np.uint16(scan.shift))


def _read_scan(stream: bytes) -> tuple[_Scan, int]:
    """Read the parameters of the scan, and where its codes begin."""
    frame, restart = b"", 0
    tables: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    for marker, content, end in read_markers(stream):
        if marker == LOSSLESS:
            frame = content
        elif marker == HUFFMAN_TABLES:
            tables |= _read_tables(content)
        elif marker == RESTART_INTERVAL and len(content) == 2:
            (restart,) = struct.unpack(">H", content)
        elif marker == START_OF_SCAN and len(content) == 6 and len(frame) == 9:
            precision, rows, columns = struct.unpack_from(">BHH", frame)
            predictor, shift = content[3], content[5] & 15
            table = tables.get(content[2] >> 4)
            whole = rows and columns and restart % columns == 0
            if not (whole and table and 1 <= predictor <= 7 and shift < precision <= 16):
                break
            return _Scan(
                rows=rows,
                columns=columns,
                precision=precision,
                predictor=predictor,
                shift=shift,
                restart=restart // columns or rows,
                lengths=table[0],
                categories=table[1],
            ), end
    raise DicomError("the compressed picture is damaged, or not a grey lossless JPEG")


def _read_tables(content: bytes) -> dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Huffman tables by number (T.81, B.2.4.2 and annex C), indexed by 16 bits."""
    tables = {}
    while content:
        counts, values = content[1:17], content[17 : 17 + sum(content[1:17])]
        lengths, categories = np.ones(1 << 16, np.uint8), np.full(1 << 16, UNKNOWN, np.uint8)
        place, taken = 0, 0
        for length, count in enumerate(counts, start=1):
            for value in values[taken : taken + count]:
                following = place + (1 << 16 - length)
                lengths[place:following], categories[place:following] = length, value
                place = following
            taken += count
        if place > 1 << 16 or len(values) != taken or max(values, default=UNKNOWN) > 16:
            raise DicomError("the compressed picture's tables are damaged")
        tables[content[0] & 15] = lengths, categories
        content = content[17 + taken :]
    return tables


def _read_differences(codes: bytes, scan: _Scan, count: int) -> NDArray[np.uint16]:
    """The first `count` differences of a scan, modulo 2^16.

    A code's start is known only after the one before. So the distance to the next code is looked
    up for every bit, and then followed from code to code.
    """
    data = np.frombuffer(codes + bytes(8), np.uint8)
    follows = np.where(scan.categories < 16, scan.categories, 0).astype(np.uint8) + scan.lengths
    differences = np.empty(count, np.uint16)
    done = place = 0
    for start in range(0, len(codes), BLOCK):
        block = data[start : min(start + BLOCK, len(codes)) + 2].astype(np.uint32)
        words = block[:-2] << 16 | block[1:-1] << 8 | block[2:]
        steps = follows[words[:, None] >> np.arange(8, 0, -1, dtype=np.uint32) & 0xFFFF].tobytes()
        stop, places = len(steps), []
        while place < stop:
            places.append(place)
            place += steps[place]
        place -= stop
        found = np.array(places[: count - done], np.int64) + 8 * start
        differences[done : done + len(found)] = _differences_at(data, found, scan)
        done += len(found)
        if done == count:
            last = int(found[-1])
            if last + steps[last - 8 * start] <= 8 * len(codes):
                return differences
    raise DicomError("the compressed picture is cut short")


def _differences_at(
    data: NDArray[np.uint8], places: NDArray[np.int64], scan: _Scan
) -> NDArray[np.int64]:
    """The differences whose codes begin at the bits `places` (T.81, table H.2)."""
    word = np.zeros(len(places), np.int64)
    for byte in range(5):
        word = word << 8 | data[(places >> 3) + byte]
    ahead = 40 - (places & 7)
    code = word >> (ahead - 16) & 0xFFFF
    category = scan.categories[code].astype(np.int64)
    if (category == UNKNOWN).any():
        raise DicomError("the compressed picture is damaged")
    bits = np.where(category < 16, category, 0)
    extra = word >> (ahead - scan.lengths[code] - bits) & (1 << bits) - 1
    negative = extra < (1 << bits) >> 1
    return np.where(category < 16, extra - np.where(negative, (1 << bits) - 1, 0), 1 << 15)


def _undo_prediction(differences: NDArray[np.uint16], scan: _Scan) -> NDArray[np.uint16]:
    """Samples from their differences to the prediction, modulo 2^16 (T.81, H.1.2)."""
    differences[:1, 0] += np.uint16(1 << scan.precision - scan.shift - 1)  # an array may overflow
    match scan.predictor:
        case 1:
            return _from_left(differences)
        case 2:
            return _from_left(differences.T).T
        case 4:
            return np.cumsum(np.cumsum(differences, 0, np.uint16), 1, np.uint16)
        case 6:
            return _row_by_row(differences.T, 5).T
    return _row_by_row(differences, scan.predictor)


def _from_left(differences: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Prediction by the left neighbour, in the first column by the one above."""
    differences[:, 0] = np.cumsum(differences[:, 0], dtype=np.uint16)
    return np.cumsum(differences, 1, np.uint16)


def _row_by_row(differences: NDArray[np.uint16], predictor: int) -> NDArray[np.uint16]:
    """Predictors 3, 5 and 7, where a row depends on the one before."""
    samples = np.empty_like(differences)
    samples[0] = np.cumsum(differences[0], dtype=np.uint16)
    for row in range(1, len(samples)):
        above = samples[row - 1].astype(np.int64)
        line = differences[row].astype(np.int64)
        line[0] += above[0]
        if predictor == 3:
            line[1:] += above[:-1]
        elif predictor == 5:
            line[1:] += (above[1:] - above[:-1]) >> 1
            line = np.cumsum(line)
        else:
            values = line.tolist()
            for column, over in enumerate(above.tolist()[1:], start=1):
                left = values[column - 1] & 0xFFFF
                values[column] += (left + over) >> 1
            line = np.array(values)
        samples[row] = line & 0xFFFF
    return samples
