"""Decode image files to network inputs in threads, a bounded number ahead of the consumer."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import cos, radians, sin
from pathlib import Path
from threading import get_ident
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrtool.images.apart import APART
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import squish

ImageSizes = tuple[int, ...]
"""The sizes to which an image is resized in turn; the last is the network's input."""

VIEWS = ((0.0, 1.0), (-6.0, 1.0), (6.0, 1.0), (0.0, 0.95), (0.0, 1.05))
"""Degrees and scale of the five views of `--tta`: well within what training varies (20 degrees and
5 %), the first the image itself; never mirrored, since that would move the heart."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A decoded image, or why there is none."""

    index: int
    """Its position among the files."""
    pixels: dict[ImageSizes, NDArray[np.uint8]]
    """Grey (views, size, size) for each of the sizes asked for; nothing where it failed."""
    warning: str = ""
    error: str = ""


def decode_batches(
    files: Iterable[Path | str],
    image_sizes: Sequence[ImageSizes],
    *,
    batch: int,
    workers: int,
    views: Sequence[tuple[float, float]] = VIEWS[:1],
) -> Iterator[list[Decoded]]:
    """Decode files in batches, in order; files that cannot be read are included.

    Threads suffice: Pillow releases the GIL while it decodes and resizes.

    Args:
        files: consumed as they are needed.
        image_sizes: of each image's inputs: the squares that it is resized to in turn.
        batch: files per batch.
        workers: threads; 0: each batch is decoded when it is requested.
        views: degrees and scale of each view of an image.
    """
    numbered = enumerate(files)
    if workers == 0:
        while taken := list(islice(numbered, batch)):
            yield [_decode(index, file, image_sizes, views) for index, file in taken]
        return
    threads: set[int] = set()

    def begin() -> None:
        threads.add(get_ident())

    with ThreadPoolExecutor(workers, "decode", begin) as pool:
        ahead: deque[Future[Decoded]] = deque()
        try:
            while True:
                # Two batches ahead: one being assembled and one behind it.
                for index, file in islice(numbered, 2 * batch + workers - len(ahead)):
                    ahead.append(pool.submit(_decode, index, file, image_sizes, views))
                if not ahead:
                    return
                yield [ahead.popleft().result() for _ in range(min(batch, len(ahead)))]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # Only this pool's threads: others may be decoding too.
            APART.stop(threads)


def _decode(
    index: int,
    file: Path | str,
    image_sizes: Sequence[ImageSizes],
    views: Sequence[tuple[float, float]],
) -> Decoded:
    try:
        grey, warning = read_for_scoring(Path(file))
    except ImageError as error:
        reason = str(error).removeprefix(f"{file}: ")
        return Decoded(index=index, pixels={}, error=reason)
    except MemoryError:
        return Decoded(index=index, pixels={}, error="too large for this machine's memory")
    pixels = {one: squished_views(grey, one, views) for one in image_sizes}
    return Decoded(index=index, pixels=pixels, warning=warning)


def squished_views(
    grey: Image.Image, image_sizes: ImageSizes, views: Sequence[tuple[float, float]]
) -> NDArray[np.uint8]:
    """The network's input for each view of an image: (views, image_size, image_size)."""
    plain = squish(grey, *image_sizes)
    return np.stack([_view(plain, degrees, scale) for degrees, scale in views])


def _view(square: NDArray[np.uint8], degrees: float, scale: float) -> NDArray[np.uint8]:
    """Rotate (counter-clockwise) and scale an image about its centre, black outside."""
    if degrees == 0 and scale == 1:
        return square
    image_size = len(square)
    middle = image_size / 2
    turn = radians(degrees)
    # Maps a position in the result to one in the image.
    a, b = cos(turn) / scale, -sin(turn) / scale
    d, e = sin(turn) / scale, cos(turn) / scale
    shifts = middle - a * middle - b * middle, middle - d * middle - e * middle
    matrix = (a, b, shifts[0], d, e, shifts[1])
    turned = Image.fromarray(square).transform(
        (image_size, image_size),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=0,
    )
    return np.asarray(turned)
