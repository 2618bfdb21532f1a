"""A heat map over its image: the picture of what speaks for a finding, and where."""

from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.files import whole_file
from cxrtool.core.plotting import DOTS_PER_INCH, readable, text_style, width_of
from cxrtool.images.heat_grid import Cells, spread

COLOURS = (255 * colormaps["inferno"](np.linspace(0.35, 0.95, 256))[:, :3]).astype(np.uint8)
"""From no heat to the map's maximum, in even steps to the eye; the ends look grey and are left
out."""
OPACITY = 0.7
"""Of the hottest place; where there is no heat, the image is as it was."""
GROUND = 90
"""The grey that the colour bar is laid over."""
LONGEST = 600
"""Pixels of a panel's longer side."""
LEAST_WIDTH, LEAST_HEIGHT = 860, 240
"""Pixels of the picture, and of its part between heading and foot, so that words have room."""
MARGIN, GAP, HEAD, FOOT = 30, 16, 104, 62
"""Pixels around the picture, between the panels, over and under them."""
BAR, BAR_LENGTH, SCALE = 24, 150, 160
"""Pixels of the colour bar, across and down, and across with the words under it."""
LARGE, NORMAL, SMALL = 13.0, 9.0, 7.0
MUTED = "#5b6773"
NOTHING = "nothing speaks for it"
NOTICE = "research only, not for diagnosis"


def heat_layer(
    heat: NDArray[np.float32], cells: Cells, width: int, height: int
) -> NDArray[np.uint8]:
    """A map as a layer (height, width, 4), red, green, blue and opacity, to lay over its image.

    Colour and opacity rise with the share of the map's own maximum. What is below 0 speaks against
    the finding and is clear; so is all of a map without a positive value.
    """
    most = float(np.max(heat))
    level = np.zeros((height, width), np.uint8)
    if most > 0:
        share = np.clip(spread(heat, cells, width, height) / most, 0, 1)
        level = _bytes(255 * share)
    return _layer(level)


def save_heatmap(
    path: Path,
    grey: Image.Image,
    heat: NDArray[np.float32],
    *,
    cells: Cells,
    label: str,
    probability: float,
    threshold: float | None,
    name: str,
) -> None:
    """Draw an image, and the same with a label's map over it, as one PNG.

    Args:
        path: where the picture goes.
        grey: the image as it was, of any shape.
        heat: the label's map (h, w), in logits, of `Explainer.maps`.
        cells: where the map's cells lie, of the same explainer.
        label: what the map speaks for.
        probability: the label's.
        threshold: at which it counts as there, on the probability's scale; None: it has none.
        name: the image's.
    """
    image = _panel(grey)
    width, height = image.size
    layer = heat_layer(heat, cells, width, height)
    beside = MARGIN + width + GAP
    across = max(beside + width + GAP + SCALE + MARGIN, LEAST_WIDTH)
    down = HEAD + max(height, LEAST_HEIGHT) + FOOT
    figure = Figure(figsize=(across / DOTS_PER_INCH, down / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    low = down - HEAD - height
    plain = np.dstack([np.asarray(image)] * 3)
    figure.figimage(plain, MARGIN, low, origin="upper")
    figure.figimage(laid_over(layer, plain), beside, low, origin="upper")
    if heat.max() > 0:
        _draw_scale(figure, beside + width + GAP, down - HEAD, float(heat.max()))
    else:
        _say_nothing(figure, beside + width / 2, low + height / 2)
    _draw_words(figure, label, _told(probability, threshold), name)
    with whole_file(path) as temporary:
        # At the library's own level of compression the file takes twice as long to write.
        options = {"compress_level": 3}
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png", pil_kwargs=options)


def _layer(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour and opacity (height, width, 4) of heat in 0..255."""
    return np.dstack([COLOURS[level], _bytes(OPACITY * level)])


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.round(values).astype(np.uint8)


def _panel(grey: Image.Image) -> Image.Image:
    """The image at the size it is shown in: smaller, or larger."""
    scale = LONGEST / max(grey.size)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def laid_over(layer: NDArray[np.uint8], plain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (height, width, 3) under a layer of its size, of `heat_layer`."""
    opacity = layer[..., 3:] / np.float32(255)
    return _bytes(opacity * layer[..., :3] + (1 - opacity) * plain)


def _told(probability: float, threshold: float | None) -> str:
    if threshold is None:
        return f"probability {probability:.2f}; it has no threshold"
    side = "at or over" if probability >= threshold else "under"
    return f"probability {probability:.2f}, {side} its threshold of {threshold:.2f}"


def _draw_scale(figure: Figure, left: int, top: int, most: float) -> None:
    """The colour bar, as the map's colours look over grey, and what they mean."""
    layer = _layer(_bytes(np.linspace(255, 0, BAR_LENGTH))[:, None])
    bar = np.repeat(laid_over(layer, np.full_like(layer[..., :3], GROUND)), BAR, axis=1)
    figure.figimage(bar, left, top - BAR_LENGTH, origin="upper")
    for share in (0.0, 0.5, 1.0):
        height = top - BAR_LENGTH * (1 - share)
        _write(figure, left + BAR + 8, height, f"{share:g}", SMALL, va="center")
    words = f"share of the map's\nmaximum, which is\n{most:.2g} in logits"
    _write(figure, left, top - BAR_LENGTH - 14, words, SMALL, va="top")


def _draw_words(figure: Figure, label: str, told: str, name: str) -> None:
    width, height = (figure.dpi * inches for inches in figure.get_size_inches())
    room = (width - 2 * MARGIN) / DOTS_PER_INCH
    label = _cut(figure, label, room, LARGE, "bold")
    _write(figure, MARGIN, height - 28, label, LARGE, va="top", fontweight="bold")
    _write(figure, MARGIN, height - 64, told, NORMAL, va="top")
    notice = _write(figure, width - MARGIN, 24, NOTICE, SMALL, ha="right", color=MUTED)
    room -= notice.get_window_extent().width / DOTS_PER_INCH + 0.2
    name = _cut(figure, name, room, SMALL)
    _write(figure, MARGIN, 24, name, SMALL, color=MUTED)


def _cut(figure: Figure, text: str, room: float, size: float, weight: str = "normal") -> str:
    """As much of a text as goes into one line of `room` inches."""
    text = readable(text)
    if width_of(figure, text, size, weight) <= room:
        return text
    lengths = range(1, len(text) + 1)
    fits = bisect_right(lengths, room, key=lambda end: width_of(figure, text[:end], size, weight))
    return text[: max(fits - 1, 0)] + "…"


def _say_nothing(figure: Figure, across: float, down: float) -> None:
    around = {"boxstyle": "square,pad=0.6", "facecolor": "white", "edgecolor": "none"}
    _write(figure, across, down, NOTHING, NORMAL, ha="center", va="center", bbox=around)


def _write(
    figure: Figure, across: float, down: float, words: str, size: float, **style: Any
) -> Text:
    """Write at a place in pixels from the lower left corner."""
    options = text_style(size) | {"transform": IdentityTransform()} | style
    return figure.text(across, down, words, **options)
