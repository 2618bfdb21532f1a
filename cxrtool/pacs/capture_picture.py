"""The picture that a Secondary Capture holds: the film, what speaks for a finding, and words."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.plotting import DOTS_PER_INCH, ONE_AT_A_TIME, fitted, text_style
from cxrtool.evaluation.decisions import Finding
from cxrtool.images.heat_grid import HeatMap
from cxrtool.inference.heatmap_figures import NOTHING, NOTICE, heat_layer, laid_over
from cxrtool.inference.model_facts import ModelFacts

LONGEST = 1024
"""Pixels of the film's longer side, at most."""
LEAST_WIDTH = 640
"""Pixels of the picture, so that words have room."""
MARGIN, HEAD, FOOT = 14, 74, 74
"""Pixels beside the words, and over and under the film: no word hides a place of it."""
LARGE, NORMAL, SMALL = 13.0, 9.0, 7.0
PAPER, INK, MUTED, LOUD = "black", "#f2f2f2", "#b5bcc4", "#ffc466"


def draw_capture(
    film: Image.Image,
    heat: HeatMap | None,
    finding: Finding,
    model: ModelFacts,
    without_maps: str = "",
) -> NDArray[np.uint8]:
    """A film with a finding's heat map over it, and what is said of it above and below.

    Nothing of the patient is written.

    Args:
        film: in grey, at its own size.
        heat: the finding's map; None: it is not known.
        finding: what is shown.
        model: whose finding it is.
        without_maps: why the map is not known.

    Returns:
        (height, width, 3) in RGB.
    """
    shown = _smaller(film)
    pixels = np.dstack([np.asarray(shown)] * 3)
    if heat is not None:
        layer = heat_layer(heat.values, heat.cells, shown.width, shown.height)
        pixels = laid_over(layer, pixels)
    across, down = max(shown.width, LEAST_WIDTH), HEAD + shown.height + FOOT
    with ONE_AT_A_TIME:
        figure = Figure(figsize=(across / DOTS_PER_INCH, down / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
        figure.set_facecolor(PAPER)
        figure.figimage(pixels, (across - shown.width) // 2, FOOT, origin="upper")
        _draw_words(figure, finding, _explained(heat, without_maps), model)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="rgba", dpi=DOTS_PER_INCH)
    return np.frombuffer(drawn.getvalue(), np.uint8).reshape(down, across, 4)[..., :3].copy()


def _smaller(film: Image.Image) -> Image.Image:
    if max(film.size) <= LONGEST:
        return film
    scale = LONGEST / max(film.size)
    size = (max(1, round(film.width * scale)), max(1, round(film.height * scale)))
    return film.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _draw_words(figure: Figure, finding: Finding, explained: str, model: ModelFacts) -> None:
    height = figure.bbox.height
    _write(figure, height - 12, finding.label, LARGE, INK, weight="bold")
    _write(figure, height - 46, _decided(finding), NORMAL, INK)
    _write(figure, FOOT - 10, NOTICE, NORMAL, LOUD, weight="bold")
    _write(figure, FOOT - 34, explained, SMALL, MUTED)
    told = f"{model.name}, weights {model.short_fingerprint}, cxrtool {model.version}"
    _write(figure, FOOT - 52, told, SMALL, MUTED)


def _decided(finding: Finding) -> str:
    if finding.threshold is None:
        return f"probability {finding.shown}; it has no threshold"
    side = "at or over" if finding.probability >= finding.threshold else "under"
    verdict = f"; triage: {finding.verdict}" if finding.verdict else ""
    return (
        f"probability {finding.shown}, {side} its threshold of {finding.shown_threshold}{verdict}"
    )


def _explained(heat: HeatMap | None, without_maps: str) -> str:
    if heat is None:
        return f"no heat map: {without_maps}" if without_maps else "no heat map"
    most = float(heat.values.max())
    if most <= 0:
        return f"heat map: {NOTHING} in any one place"
    return f"heat map: bright where most speaks for it, at most {most:.2g} in logits"


def _write(
    figure: Figure, top: float, words: str, size: float, colour: str, *, weight: str = "normal"
) -> None:
    """One line under a height in pixels, as much of it as fits."""
    room = (figure.bbox.width - 2 * MARGIN) / DOTS_PER_INCH
    line = fitted(figure, words, room, 1, size, weight)[0]
    style = text_style(size, colour) | {"transform": IdentityTransform(), "fontweight": weight}
    figure.text(MARGIN, top, line, va="top", **style)
