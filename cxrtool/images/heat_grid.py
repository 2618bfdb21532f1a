"""The position of a heat map's cells in its image, and the map at the image's size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AROUND = 2
"""Cells of padding: more than the image extends beyond the outermost centres."""


@dataclass(frozen=True)
class Cells:
    """Positions of a map's cells, as shares of the image's width and equally of its height."""

    first: float
    """From the edge to the centre of the first cell."""
    step: float
    """From one centre to the next."""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """What speaks for a finding, and where in its image."""

    values: NDArray[np.float32]
    """(h, w), in logits."""
    cells: Cells


def spread(heat: NDArray[np.float32], cells: Cells, width: int, height: int) -> NDArray[np.float32]:
    """Resize a map (h, w) to (height, width): bilinear between cells' centres, constant beyond."""
    padded = Image.fromarray(np.pad(np.asarray(heat, np.float32), AROUND, mode="edge"))
    start = AROUND + 0.5 - cells.first / cells.step
    end = start + 1 / cells.step
    whole = padded.resize((width, height), Image.Resampling.BILINEAR, box=(start, start, end, end))
    return np.asarray(whole)
