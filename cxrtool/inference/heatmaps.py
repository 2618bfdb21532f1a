"""The heat maps of `predict`: pictures and raw maps, a file a finding of an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.config import PredictConfig
from cxrtool.core.console import Reporter
from cxrtool.core.files import whole_file
from cxrtool.core.marked_folders import make_room
from cxrtool.core.names import names_for_files, plain_name
from cxrtool.core.runs import RunFolder
from cxrtool.data.labels import named_ones
from cxrtool.data.prediction_rows import Row
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_grey
from cxrtool.inference.ensemble import Ensemble
from cxrtool.inference.heatmap_figures import save_heatmap
from cxrtool.networks.class_activation import Explainer, load_explainer

MARK = ".cxrtool-heatmaps"
"""Says that a folder is one of heat maps, which --force may empty."""


class Heatmaps:
    """Draws where a run's network looked, into a folder."""

    def __init__(
        self,
        folder: Path,
        explainer: Explainer,
        ensemble: Ensemble,
        labels: Sequence[str] | None,
        method: str,
    ) -> None:
        self.folder, self.explainer, self.ensemble = folder, explainer, ensemble
        self.labels, self.method = labels, method
        self._names = names_for_files(ensemble.labels)
        self.drawn = 0

    def draw(self, place: int, file: str | Path, pixels: NDArray[np.uint8], row: Row) -> None:
        """Draw an image's findings: those asked for, or those over their thresholds.

        Its files begin with its `place` among all, from 0; `pixels` (image_size, image_size) is
        what the network saw.
        """
        labels = self._labels_of(row)
        if not labels:
            return
        assert row.scores is not None
        scores = dict(zip(self.ensemble.labels, row.scores, strict=True))
        try:
            grey = read_grey(Path(file))
        except ImageError:  # it was there a moment ago; what the network saw still is
            grey = Image.fromarray(pixels)
        maps = self.explainer.maps(pixels, labels, self.method)
        for label, heat in zip(labels, maps, strict=True):
            picture = self._picture(place, row, label)
            with whole_file(picture.with_suffix(".npy")) as temporary:
                np.save(temporary, heat)
            save_heatmap(
                picture,
                grey,
                heat,
                label=label,
                probability=scores[label],
                threshold=self.ensemble.thresholds[label],
                cells=self.explainer.cells,
                name=Path(row.path).name,
            )
            self.drawn += 1

    def lacks(self, place: int, row: Row) -> bool:
        """Whether a map of an image, by its place and its row, is still to be drawn."""
        # The picture is the last of a map's files.
        pictures = (self._picture(place, row, label) for label in self._labels_of(row))
        return not all(picture.is_file() for picture in pictures)

    def _labels_of(self, row: Row) -> Sequence[str]:
        if row.scores is None:
            return ()
        return row.positive if self.labels is None else self.labels

    def _picture(self, place: int, row: Row, label: str) -> Path:
        stem = plain_name(Path(row.path).stem) or "image"
        name = f"{place + 1:05d}-{stem}-{self._names[label]}.png"
        return self.folder / name


def open_heatmaps(
    config: PredictConfig, run: RunFolder, ensemble: Ensemble, reporter: Reporter, *, first: bool
) -> Heatmaps:
    """Get the folder and the network ready; of several processes the first one makes room.

    Raises:
        DataError: the folder holds something, and neither --force nor --resume is given.
        UsageError: a label that the model does not have.
    """
    folder = config.heatmaps
    assert folder is not None
    labels = None
    if config.heatmap_labels is not None:
        labels = named_ones("--heatmap-labels", config.heatmap_labels, ensemble.labels)
    if first:
        make_room(
            folder,
            MARK,
            option="--heatmaps",
            what="heat maps",
            force=config.force,
            resume=config.resume,
        )
    with reporter.busy("loading torch"):
        device = ensemble.members[0].engine.device
        explainer = load_explainer(run, device)
    return Heatmaps(folder, explainer, ensemble, labels, config.heatmap_method)
