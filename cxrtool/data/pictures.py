"""Fingerprints of pictures: of their exact grey pixels, and of how they look.

Chest X-rays look alike, and a hash of 64 bits, as `imagehash` makes it by default, takes different
patients for one: of 416 X-rays of 288 patients the closest two are 4 bits apart in it, while one
picture saved again moves by 6. In the 256 bits used here (pHash: signs of the lowest 16 x 16
frequencies of a cosine transform about their median; Zauner 2010, ch. 3.2.1) none of the 86,065
pairs of different patients is closer than 62, and one picture resized (0.5 to 3.2 times), saved as
JPEG (quality 30 to 95) or scaled otherwise from 16 bits moves by 12 at most. What is cropped,
turned or mirrored is not found. The package `imagehash` would add PyWavelets for these few lines.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.csv_tables import read_table
from cxrtool.core.errors import DataError
from cxrtool.data.near_pictures import LENGTH, first_near
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_grey

EXACT, LOOKS = 16, LENGTH
"""Bytes of the two fingerprints."""
WORDS = 16
"""Of as many bits each, to which neighbouring frequencies go in turn."""
SIDE, FREQUENCIES = 32, 16
COLUMNS = ("path", "exact", "looks")
"""Of pictures.csv: hexadecimal."""

Bytes = NDArray[np.uint8]


def fingerprint(grey: Image.Image) -> str:
    """A grey picture's two fingerprints, one behind the other, in hexadecimal."""
    width, height = grey.size
    # SHA-256: processors have it built in, and are twice as fast with it as with BLAKE2.
    exact = hashlib.sha256(f"{width}x{height} ".encode())
    exact.update(grey.tobytes())
    # Without `reducing_gap`, which rounds a pixel's place: a resized picture moved by 22 bits.
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    waves = _waves()
    found = (waves @ np.asarray(small, np.float64) @ waves.T).ravel()
    # The first is the brightness of all of it, and not one of those that the median is of.
    middle = (len(found) - 1) // 2
    bits = found > np.partition(found[1:], middle)[middle]
    bits[0] = False
    # Neighbouring frequencies go to different words: the lowest ones, in which X-rays are most
    # alike, would make one word the same in all of them.
    looks = np.packbits(bits.reshape(-1, WORDS).T)
    return exact.hexdigest()[: 2 * EXACT] + looks.tobytes().hex()


@cache
def _waves() -> NDArray[np.float64]:
    """(FREQUENCIES, SIDE) the cosines of a discrete cosine transform (type II)."""
    place = np.arange(SIDE)[None] * 2 + 1
    waves: NDArray[np.float64] = np.cos(
        np.pi * place * np.arange(FREQUENCIES)[:, None] / (2 * SIDE)
    )
    return waves


@dataclass(frozen=True)
class Pictures:
    """The fingerprints of n pictures."""

    exact: Bytes
    """(n, 16)."""
    looks: Bytes
    """(n, 32)."""

    def __len__(self) -> int:
        return len(self.exact)

    def choose(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Pictures":
        """Some of them."""
        return Pictures(self.exact[rows], self.looks[rows])

    def among(self, others: "Pictures") -> NDArray[np.bool_]:
        """Which of these pictures are among others, byte by byte or by their looks: (n,)."""
        if not len(self) or not len(others):
            return np.zeros(len(self), bool)
        exact = np.isin(keys_of(self.exact), keys_of(others.exact))
        found: NDArray[np.bool_] = exact | (self.counterparts(others) >= 0)
        return found

    def counterparts(self, others: "Pictures") -> NDArray[np.intp]:
        """The first of the others that looks like each of these pictures: (n,); -1: none does."""
        return first_near(self.looks, others.looks)


def pictures_of(texts: Sequence[str]) -> Pictures:
    """Fingerprints of `fingerprint` as one table.

    Raises:
        ValueError: one is not as it was made.
    """
    if any(len(text) != 2 * (EXACT + LOOKS) for text in texts):
        raise ValueError("a fingerprint is cut off")
    content = np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, EXACT + LOOKS)
    return Pictures(content[:, :EXACT].copy(), content[:, EXACT:].copy())


def joined_pictures(parts: Sequence[Pictures]) -> Pictures:
    """Several tables of fingerprints as one."""
    empty = Pictures(np.zeros((0, EXACT), np.uint8), np.zeros((0, LOOKS), np.uint8))
    return Pictures(
        np.concatenate([empty.exact, *(part.exact for part in parts)]),
        np.concatenate([empty.looks, *(part.looks for part in parts)]),
    )


def keys_of(exact: Bytes) -> NDArray[np.bytes_]:
    """(n,) exact fingerprints as one value each, to be looked up."""
    return np.ascontiguousarray(exact).view(f"S{EXACT}").ravel()


def read_pictures(path: Path) -> dict[str, str]:
    """Each image's fingerprint, as `pictures.csv` of a workspace has it.

    Raises:
        DataError: the table cannot be read, or was altered.
    """
    frame = read_table(path, COLUMNS)
    texts = frame["exact"] + frame["looks"]
    if not texts.str.fullmatch(f"[0-9a-f]{{{2 * (EXACT + LOOKS)}}}").all():
        raise DataError(f"{path} was altered: run `cxrtool prepare` again")
    return dict(zip(frame["path"], texts, strict=True))


def pictures_frame(fingerprints: Mapping[str, str]) -> pd.DataFrame:
    """The rows of pictures.csv for images' fingerprints, by their paths."""
    rows = [(path, text[: 2 * EXACT], text[2 * EXACT :]) for path, text in fingerprints.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def fingerprint_files(
    files: Sequence[Path], workers: int, advance: Callable[[int], None]
) -> list[str]:
    """The fingerprints of image files, in threads; "" where one cannot be read."""
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="fingerprint") as pool:
        found = []
        for text in pool.map(_of_file, files):
            found.append(text)
            advance(1)
    return found


def _of_file(file: Path) -> str:
    try:
        return fingerprint(read_grey(file))
    except ImageError:
        return ""
