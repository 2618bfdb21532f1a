"""Where the network looked, for the page: loaded while it is already served, drawn small."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import CxrToolError
from cxrtool.images.heat_grid import Cells, HeatMap

METHOD = "gradcam"
SIDE = 64
"""Pixels of a map's side on the page: a browser makes it as large as the image, smoothly."""

Layer = NDArray[np.uint8]
"""(SIDE, SIDE, 4): red, green, blue and opacity, to lay over the image."""


class Explains(Protocol):
    """What `explain.Explainer` is to the page."""

    @property
    def cells(self) -> Cells:
        """Where the maps' cells lie."""
        ...

    def maps(
        self, pixels: NDArray[np.uint8], labels: Sequence[str], method: str = METHOD
    ) -> NDArray[np.float32]:
        """(labels, h, w), in logits."""
        ...


class HeatMaps:
    """A network that is asked where it looked; safe to be used from several threads.

    With no way to load one there are no maps, and `absent` says why.
    """

    def __init__(self, load: Callable[[], Explains] | None, absent: str = "") -> None:
        self.absent = absent
        self._load = load
        self._loaded: Future[Explains] = Future()

    def start(self) -> None:
        """Begin to load; maps that are wanted before it is done wait for it."""
        if self._load is not None:
            # Not one of an executor's threads: those are waited for when the program ends.
            threading.Thread(target=self._fetch, name="heat maps", daemon=True).start()

    def _fetch(self) -> None:
        assert self._load is not None
        try:
            # What draws them is loaded here too: that takes a second.
            import cxrtool.inference.heatmap_figures  # noqa: F401

            self._loaded.set_result(self._load())
        except BaseException as error:
            self._loaded.set_exception(error)

    def maps(self, pixels: NDArray[np.uint8], labels: Sequence[str]) -> dict[str, HeatMap] | str:
        """Each label's map, or why there are none.

        Args:
            pixels: (image_size, image_size): what the network saw.
            labels: those wanted.
        """
        if self.absent:
            return self.absent
        try:
            explainer = self._loaded.result()
            found = explainer.maps(pixels, labels, METHOD)
        except CxrToolError as error:
            return str(error)
        cells = explainer.cells
        return {label: HeatMap(values, cells) for label, values in zip(labels, found, strict=True)}


def layer_of(heat: HeatMap) -> Layer | None:
    """A map scaled to its own greatest value; None where nothing speaks for the label."""
    from cxrtool.inference.heatmap_figures import OPACITY, heat_layer

    layer = heat_layer(heat.values, heat.cells, SIDE, SIDE)
    # The page has a slider for it.
    layer[..., 3] = np.minimum(np.round(layer[..., 3] / OPACITY), 255).astype(np.uint8)
    return layer if layer[..., 3].any() else None
