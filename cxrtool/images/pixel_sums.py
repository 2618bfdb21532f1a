"""What the mean and the deviation of images' pixels are computed from, without rounding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POWERS = np.stack([np.arange(256), np.arange(256) ** 2], axis=1)


def pixel_sums(histograms: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The sum and the sum of squares of 8-bit grey images' pixels, exact.

    Args:
        histograms: of each image, how many pixels it has of each of the 256 levels.

    Returns:
        (images, 2).
    """
    # Of many images at once: converting one list takes NumPy as long as adding it up.
    sums: NDArray[np.int64] = np.array(histograms, dtype=np.int64).reshape(-1, 256) @ POWERS
    return sums
