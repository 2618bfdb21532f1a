"""TIFF's first directory (TIFF 6.0, section 2; BigTIFF), read within bounds before Pillow does."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError
from cxrtool.images.formats.deep import DeepPicture
from cxrtool.images.formats.jpeg import jpeg_damage
from cxrtool.images.formats.limits import (
    MOST_BYTES,
    MOST_PARTS,
    MOST_SIDE,
    ORDINARY_PIXELS,
    Examined,
    check_size,
)

STARTS = (b"II\x2a\0", b"MM\0\x2a", b"II\0\x2a", b"MM\x2a\0", b"II\x2b\0", b"MM\0\x2b")
BIG = 43
HEADER = 8
"""Bytes before anything else can stand."""
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES = 256, 257, 258, 259, 277
OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS, TABLES = 273, 279, 324, 325, 347
STRIP_ROWS, TILE_ROWS, PLANES = 278, 323, 284
PHOTOMETRIC, ORIENTATION, PREDICTOR, FORMAT = 262, 274, 317, 339
PLACES = (OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS)
"""Tags with one number per strip or tile."""
ASKED = {
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    SAMPLES,
    PLANES,
    PHOTOMETRIC,
    ORIENTATION,
    PREDICTOR,
    FORMAT,
    TABLES,
    STRIP_ROWS,
    TILE_ROWS,
    *PLACES,
}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value, by type."""
NUMBERS = {1: "B", 7: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
MOST_PLACES = 4 * (MOST_SIDE + 1)
"""Strips or tiles: as many as one row per strip and four planes give."""
MOST_VALUES = 16 * 2**20
"""Bytes of all values: tags may share one place in the file, which is read for each."""
SEPARATE = 2
"""Of `PLANES`: each sample is a picture of its own."""
SIGNED, FLOATS = 2, 3
"""Of `FORMAT`."""
PLAIN, NEW_JPEG, DEFLATE = 1, 7, (8, 32946)


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: int
    inside: bytes
    """The value, or its offset."""

    @property
    def size(self) -> int:
        return self.values * SIZES.get(self.kind, 1)


class Directory(NamedTuple):
    """A TIFF's first directory."""

    tags: dict[int, tuple[int, ...]]
    order: str
    """Of its bytes: < or >."""

    def first(self, tag: int, default: int) -> int:
        """A tag's first number."""
        return next(iter(self.tags.get(tag, ())), default)

    @property
    def compression(self) -> int:
        """The compression of its strips or tiles."""
        return self.first(COMPRESSION, PLAIN)


def examine_tiff(file: BinaryIO) -> Examined:
    """Examine a TIFF's first directory.

    Raises:
        DataError: it is too large, or damaged.
    """
    found = read_directory(file)
    width, height = found.first(WIDTH, 0), found.first(HEIGHT, 0)
    bits, samples = max(found.tags.get(BITS, (1,)), default=1), found.first(SAMPLES, 1)
    if bits > 64 or samples > 64:
        raise DataError(f"TIFFs with {samples} samples of {bits} bits per pixel are not supported")
    # One sample: the pixels, a copy of deep ones, greys; several take four bytes each time.
    deep = bits > 8
    wide = 17 if samples in (2, 4) else 9
    wide += 11 * deep
    if deep and samples > 1 and found.first(PLANES, 1) == SEPARATE:
        raise DataError(
            f"a TIFF with {samples} samples of {bits} bits in separate planes, which is not read: "
            "save it with its samples side by side"
        )
    check_size(width, height, (2 * bits / 8 + 1 if deep else 3) if samples == 1 else wide)
    file.seek(0)
    small = width * height <= ORDINARY_PIXELS
    ordinary = small and found.compression == PLAIN
    return Examined(file=file, ordinary=ordinary, deep=_floats(file, found, bits))


def _floats(file: BinaryIO, found: Directory, bits: int) -> DeepPicture | None:
    """Floats of 16 or 64 bits, of which Pillow knows only 32.

    Raises:
        DataError: they are coded in a way that is not read.
    """
    if found.first(FORMAT, 1) != FLOATS or bits not in (16, 64):
        return None
    coded = found.compression not in (PLAIN, *DEFLATE) or found.first(PREDICTOR, 1) != 1
    if coded or found.first(SAMPLES, 1) != 1 or TILE_OFFSETS in found.tags:
        raise DataError(
            f"a TIFF of {bits}-bit floats in tiles, colours or another compression than Deflate, "
            "which is not read: save it with 32 bits"
        )
    return DeepPicture(
        width=found.first(WIDTH, 0),
        height=found.first(HEIGHT, 0),
        mode=f"F;{bits}",
        decode=lambda: _read_floats(file, found, bits),
        white_is_zero=found.first(PHOTOMETRIC, 1) == 0,
        orientation=found.first(ORIENTATION, 1),
    )


def _read_floats(file: BinaryIO, found: Directory, bits: int) -> NDArray[np.float32]:
    """The floats of all strips: (height, width)."""
    height, width = found.first(HEIGHT, 0), found.first(WIDTH, 0)
    whole = height * width * bits // 8
    content = b""
    for piece in _pieces(file, found):
        left = whole - len(content)
        try:
            plain = found.compression == PLAIN
            content += piece if plain else zlib.decompressobj().decompress(piece, max(left, 1))
        except zlib.error as error:
            raise DataError(f"damaged: {error} (zlib)") from None
    if len(content) < whole or not whole:
        raise DataError(f"cut short: {len(content):,} of {whole:,} bytes of its pixels")
    values = np.frombuffer(content[:whole], f"{found.order}f{bits // 8}").reshape(height, width)
    with np.errstate(over="ignore"):  # what 32 bits do not hold is infinite, and read as 0
        return values.astype(np.float32)


def read_directory(file: BinaryIO) -> Directory:
    """Read the tags on which a TIFF's pixels depend.

    Raises:
        DataError: it is damaged, or has too many tags or too long values.
    """
    file.seek(0)
    start = file.read(16)
    order, big = "<" if start[:2] == b"II" else ">", BIG in start[2:4]
    try:
        place = struct.unpack_from(order + ("Q" if big else "I"), start, 8 if big else 4)[0]
        if place < HEADER:
            raise ValueError(place)
        file.seek(place)
        count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    except (struct.error, OSError, ValueError, OverflowError):
        raise DataError("a TIFF that is damaged or cut short: its directory is not there") from None
    if count > MOST_PARTS:
        raise DataError(f"{count:,} tags: at most {MOST_PARTS:,} are read")
    form = order + ("HHQ8s" if big else "HHI4s")
    content = file.read(count * struct.calcsize(form))
    entries = [
        _Entry(*struct.unpack_from(form, content, at))
        for at in range(0, len(content) - struct.calcsize(form) + 1, struct.calcsize(form))
    ]
    for one in entries:
        if one.tag in PLACES and one.values > MOST_PLACES:
            raise DataError(f"{one.values:,} strips: at most {MOST_PLACES:,} are read")
    if sum(one.size for one in entries if one.tag not in PLACES) > MOST_VALUES:
        raise DataError(f"more than the {MOST_VALUES / 2**20:.0f} MiB of tags that are read")
    tags = {one.tag: _numbers(file, order, one) for one in entries if one.tag in ASKED}
    return Directory(tags, order)


def _numbers(file: BinaryIO, order: str, entry: _Entry) -> tuple[int, ...]:
    """A tag's numbers; none if it is of another type or truncated."""
    letter = NUMBERS.get(entry.kind)
    if letter is None:
        return ()
    content = entry.inside[: entry.size]
    if entry.size > len(entry.inside):
        place = struct.unpack(order + ("Q" if len(entry.inside) == 8 else "I"), entry.inside)[0]
        try:
            file.seek(place)
        except (OSError, ValueError, OverflowError):
            return ()
        content = file.read(entry.size)
    whole = len(content) // SIZES[entry.kind]
    return struct.unpack_from(f"{order}{whole}{letter}", content)


def unknown_tiff(file: BinaryIO) -> str:
    """What a TIFF is that no decoder here knows."""
    found = read_directory(file)
    bits, samples = max(found.tags.get(BITS, (1,)), default=1), found.first(SAMPLES, 1)
    return (
        f"a TIFF of {samples} samples of {bits} bits in compression {found.compression}, which is "
        "damaged or not read: save it without compression, or as PNG"
    )


def with_its_sign(values: NDArray[Any], file: BinaryIO) -> NDArray[Any]:
    """Integers that Pillow read of a TIFF, with the sign that its tags say.

    Pillow reads signed bytes as unsigned ones, and unsigned words of 32 bits as signed; of these
    the lowest bit is left out where 31 bits do not hold them.
    """
    found = read_directory(file)
    signed, bits = found.first(FORMAT, 1) == SIGNED, found.tags.get(BITS, ())
    if signed and bits == (8,) and values.dtype == np.uint8:
        return values.view(np.int8).astype(np.int32)
    if not signed and bits == (32,) and values.dtype == np.int32 and values.min(initial=0) < 0:
        return (values.view(np.uint32) >> 1).astype(np.int32)
    return values


def damage_of_tiff(file: BinaryIO) -> list[str]:
    """Damage that zlib and libjpeg report of strips or tiles; Pillow hides libtiff's warnings."""
    found = read_directory(file)
    if found.compression in DEFLATE:
        reasons = [_inflated(content) for content in _pieces(file, found)]
    elif found.compression == NEW_JPEG:
        pieces = list(_pieces(file, found))
        reasons = [_jpeg_damage(found, *piece) for piece in enumerate(pieces)]
    else:
        return []
    bad = [reason for reason in reasons if reason]
    return [f"damaged: {bad[0]}, in {len(bad)} of {len(reasons)} strips"] if bad else []


def _inflated(content: bytes) -> str:
    """Damage that zlib reports of a stream, by its checksum too."""
    inflater = zlib.decompressobj()
    try:
        while content and not inflater.eof:
            inflater.decompress(content, 2**20)
            content = inflater.unconsumed_tail
    except zlib.error as error:
        return f"{error} (zlib)"
    return "" if inflater.eof else "a stream without its end (zlib)"


def _jpeg_damage(found: Directory, number: int, strip: bytes) -> str:
    """Damage that libjpeg reports of a strip, whose tables may be separate (Technical Note 2)."""
    tables = bytes(found.tags.get(TABLES, ()))
    height = found.first(HEIGHT, 0)
    rows = found.first(TILE_ROWS, 0) or min(found.first(STRIP_ROWS, height), height)
    strips = max(-(-height // max(rows, 1)), 1)
    if TILE_ROWS not in found.tags:
        rows = min(rows, height - number % strips * rows)
    return jpeg_damage(tables[:-2] + strip[2:] if len(tables) > 4 else strip, rows)


def _pieces(file: BinaryIO, found: Directory) -> Iterator[bytes]:
    """The content of strips or tiles, unless it exceeds `MOST_BYTES`."""
    tiled = TILE_OFFSETS in found.tags
    starts: Sequence[int] = found.tags.get(TILE_OFFSETS if tiled else OFFSETS, ())
    sizes: Sequence[int] = found.tags.get(TILE_COUNTS if tiled else COUNTS, ())
    if sum(sizes) > MOST_BYTES:
        return
    for start, size in zip(starts, sizes, strict=False):
        file.seek(start)
        yield file.read(size)
