"""Where a heat map's cells lie in its image, and the map at the image's size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AROUND = 2
"""Cells that the border is continued by: more than the image ever reaches beyond the centres."""


@dataclass(frozen=True)
class Cells:
    """Where a map's cells lie in the image, across as down: in shares of the side.

    The network saw the image squished to a square, so that shares hold for the image as it was.
    """

    first: float
    """From the edge to the first cell's centre."""
    step: float
    """From a cell's centre to the next one's."""


def spread(heat: NDArray[np.float32], cells: Cells, width: int, height: int) -> NDArray[np.float32]:
    """A map (h, w) at an image's size (height, width): each cell's value at the cell's centre.

    Between the centres it is bilinear, and beyond the outermost ones level.
    """
    padded = Image.fromarray(np.pad(np.asarray(heat, np.float32), AROUND, mode="edge"))
    start = AROUND + 0.5 - cells.first / cells.step
    end = start + 1 / cells.step
    whole = padded.resize((width, height), Image.Resampling.BILINEAR, box=(start, start, end, end))
    return np.asarray(whole)
