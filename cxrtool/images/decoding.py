"""Image files to the networks' inputs, in threads, a bounded number ahead of who takes them."""

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
from cxrtool.images.reading import ImageError, read_for_scoring, squish

ImageSizes = tuple[int, ...]
"""The squares that an image is squished to in turn."""

VIEWS = ((0.0, 1.0), (-6.0, 1.0), (6.0, 1.0), (0.0, 0.95), (0.0, 1.05))
"""Degrees and scale of the five views of `--tta`: well within what training varies (20 degrees and
5 %), the first the image itself; never mirrored, since that would move the heart."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image as the networks see it, or why there is none."""

    index: int
    """Among the files."""
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
    """Decode files in batches, in their order; what cannot be read is among them.

    Threads are enough, and start at once: Pillow lets others run while it decodes and resizes.

    Args:
        files: any number of them; they are looked at as they are needed.
        image_sizes: of each image's inputs: the squares that it is resized to in turn.
        batch: files in a batch.
        workers: threads; 0: none, each batch is decoded when it is asked for.
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
                # Two batches ahead: one that is being put together, and one behind it.
                for index, file in islice(numbered, 2 * batch + workers - len(ahead)):
                    ahead.append(pool.submit(_decode, index, file, image_sizes, views))
                if not ahead:
                    return
                yield [ahead.popleft().result() for _ in range(min(batch, len(ahead)))]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # Whoever is still at work is waited for; others may be decoding, too.
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
    """The network's input of an image, seen in several ways: (views, image_size, image_size)."""
    plain = squish(grey, *image_sizes)
    return np.stack([_view(plain, degrees, scale) for degrees, scale in views])


def _view(square: NDArray[np.uint8], degrees: float, scale: float) -> NDArray[np.uint8]:
    """The image turned (counter-clockwise) and scaled about its middle, black outside."""
    if degrees == 0 and scale == 1:
        return square
    image_size = len(square)
    middle = image_size / 2
    turn = radians(degrees)
    # From a place in the result to the place in the image that is seen there.
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
