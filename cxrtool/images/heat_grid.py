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

    @property
    def peak(self) -> tuple[float, float] | None:
        """The centre of its hottest cell, as shares of the image's width and height.

        None where nothing speaks for the finding. Of several such cells it is the first, row by
        row; a centre that is beyond the image's edge is on it.
        """
        if not float(self.values.max()) > 0:
            return None
        row, column = np.unravel_index(int(np.argmax(self.values)), self.values.shape)
        places = [self.cells.first + int(at) * self.cells.step for at in (column, row)]
        across, down = (min(max(place, 0.0), 1.0) for place in places)
        return across, down


def spread(heat: NDArray[np.float32], cells: Cells, width: int, height: int) -> NDArray[np.float32]:
    """Resize a map (h, w) to (height, width): bilinear between cells' centres, constant beyond."""
    padded = Image.fromarray(np.pad(np.asarray(heat, np.float32), AROUND, mode="edge"))
    start = AROUND + 0.5 - cells.first / cells.step
    end = start + 1 / cells.step
    whole = padded.resize((width, height), Image.Resampling.BILINEAR, box=(start, start, end, end))
    return np.asarray(whole)
