"""Where things stand in a picture: panels under their names, axes, and the legend over all.

Sizes are in inches, text in points. The layout is set here and not by matplotlib's constrained
one, which takes twice the time for 14 panels and yet needs the figure's height and the width of
each name's lines beforehand. Nor do scikit-learn's displays draw the curves: they load pyplot, and
each writes a legend of its own into its panel.
"""

import io
import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from cxrtool.core.errors import UsageError
from cxrtool.core.files import whole_file
from cxrtool.core.plotting import (
    DOTS_PER_INCH,
    GRID,
    INK,
    LINE,
    NORMAL,
    PARTS,
    SMALL,
    TITLE,
    families,
    fitted,
    make_plain,
    readable_names,
    text_style,
    width_of,
)

BLUE, GREY, RED, FAINT = PARTS["positive"], "#66727f", "#b8324a", "#aab4be"
COLOURS = 64
"""Of a figure: a handful, and their shades at the edges of lines and letters."""
GREEN = "#2f7d4f"
SIDES = {1: 3.3, 2: 2.6, 3: 2.1, 4: 1.75}
"""A panel's side where so many stand in a row."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How panels stand in a figure."""

    size: tuple[float, float] | None = None
    """A panel's width and height; None: square, by how many stand in a row."""
    most: int = 4
    """Panels in a row."""
    beside: float = 0.0
    """Room at the right of each panel, for numbers."""
    names: Sequence[tuple[str, bool]] = ()
    """Instead of the y-axis: what its height's equal parts are called, and which are headings."""
    own_scales: bool = False
    """Whether each panel needs numbers of its own at its axes."""


def make_panels(
    under: Mapping[str, Sequence[str]],
    legend: Sequence[Artist],
    words: tuple[str, str],
    grid: Grid | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a label, under its name and the lines that describe it.

    `legend` stands once over all panels; `words` name the x-axis of the lowest panels and the
    y-axis of the first ones. `Axes.get_label` is the label's name as it was given.
    """
    grid = grid or Grid()
    figure = empty_figure(under)
    columns = columns_for(len(under), grid.most)
    width, height = grid.size or (SIDES[columns], SIDES[columns])
    across, down = (0.42, 0.34) if grid.own_scales else (0.2, 0.16)
    across += grid.beside
    heads = _heads(figure, under, width + across - 0.14)
    in_rows = [heads[start : start + columns] for start in range(0, len(heads), columns)]
    names = [fitted(figure, name, 1.5, 1, SMALL)[0] for name, _ in grid.names]
    left = max([0.5, *(width_of(figure, name, SMALL, "bold") + 0.3 for name in names)])
    whole_width = max(left + columns * (width + across) - across + grid.beside + 0.12, 4.2)
    top = add_legend(figure, legend, left, whole_width)
    ends = np.cumsum([_head_height(row) + height + down for row in in_rows])
    whole_height = top + float(ends[-1]) - down + 0.46
    figure.set_size_inches(whole_width, whole_height)
    panels = []
    for place, (label, head) in enumerate(zip(under, heads, strict=True)):
        x = left + place % columns * (width + across)
        y = whole_height - top - float(ends[place // columns]) + down
        box = (x / whole_width, y / whole_height, width / whole_width, height / whole_height)
        axes = figure.add_axes(box, label=label)
        make_plain(axes)
        _write_head(axes, *head, max(len(under) for _, under in in_rows[place // columns]))
        _write_axes(axes, words, grid, place % columns == 0, place + columns >= len(under))
        panels.append(axes)
    return figure, panels


def columns_for(panels: int, most: int) -> int:
    """Panels in a row: nearly a square of them, with as few blanks in the last row as can be."""
    fewest = min(math.ceil(math.sqrt(panels)), most)
    return min(range(fewest, most + 1), key=lambda columns: (-panels % columns, columns))


def _heads(
    figure: Figure, under: Mapping[str, Sequence[str]], room: float
) -> list[tuple[list[str], list[str]]]:
    """Each panel's name, and the lines under it, in lines that fit."""
    return [
        (
            fitted(figure, name, room, 2, TITLE, "bold"),
            [part for line in lines if line for part in fitted(figure, line, room, 2, SMALL)],
        )
        for name, lines in zip(readable_names(under), under.values(), strict=True)
    ]


def _head_height(heads: Sequence[tuple[list[str], list[str]]]) -> float:
    """Room for the names and for the lines under them, over one row of panels."""
    title, under = (max(len(head[part]) for head in heads) for part in (0, 1))
    return (title * TITLE + under * SMALL) * LINE / 72 + 0.07


def _write_head(axes: Axes, title: list[str], under: list[str], most_under: int) -> None:
    """Write a panel's name and the lines under it over its lines, all names at one height."""
    pad = 4 + most_under * SMALL * LINE
    font = text_style(TITLE) | {"fontweight": "bold", "va": "bottom"}
    axes.set_title("\n".join(title), loc="left", y=1.0, pad=pad, **font)
    below = (most_under - len(under)) * SMALL * LINE
    axes.annotate(
        "\n".join(under),
        (0, 1),
        (0, 4 + below),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        linespacing=LINE,
        annotation_clip=False,
        **text_style(SMALL, "#4a5561"),
    )


def _write_axes(
    axes: Axes, words: tuple[str, str], grid: Grid, is_first: bool, is_lowest: bool
) -> None:
    """Leave an axis' numbers and words where no panel before it or below it has the same."""
    axes.tick_params(labelsize=SMALL, pad=3)
    axes.tick_params(
        labelbottom=is_lowest or grid.own_scales, labelleft=is_first or grid.own_scales
    )
    if is_lowest:
        axes.set_xlabel(words[0], labelpad=3, **text_style(SMALL))
    if is_first and not grid.names:
        axes.set_ylabel(words[1], labelpad=3, **text_style(SMALL))
    if not is_first:
        return
    figure = _figure_of(axes)
    start = -72 * axes.get_position().x0 * figure.get_figwidth()
    for place, (name, heads) in enumerate(grid.names):
        axes.annotate(
            fitted(figure, name, 1.5, 1, SMALL)[0],
            (0, 1 - (place + 0.5) / len(grid.names)),
            (start + (9 if heads else 15), 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            fontweight="bold" if heads else "normal",
            **text_style(SMALL),
        )


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def unit_square(axes: Axes) -> None:
    """Give both axes 0 to 1, with a grid at the quarters."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.spines["bottom"].set_visible(False)  # the grid has a line at 0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(True, color=GRID, linewidth=0.6)


def say_nothing_drawn(axes: Axes, note: str) -> None:
    """Leave a panel without lines, with the reason in its middle."""
    axes.grid(False)
    axes.set_facecolor("#f7f8fa")
    figure = _figure_of(axes)
    room = axes.get_position().width * figure.get_figwidth() - 0.2
    lines = fitted(figure, note or "not defined", room, 5, SMALL)
    font = text_style(SMALL, GREY) | {"ha": "center", "va": "center", "fontstyle": "italic"}
    axes.text(0.5, 0.5, "\n".join(lines), transform=axes.transAxes, **font)


def empty_figure(drawn: Sized) -> Figure:
    """A figure that needs no pyplot, with what measures its text; UsageError for no label."""
    if not len(drawn):
        raise UsageError("there is no label to draw: pass at least one")
    figure = Figure(dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of few colours, a third of the size, whole or not at all."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_INCH, format="png")
    with whole_file(path) as temporary, Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(temporary, format="png", optimize=True)


def add_legend(figure: Figure, handles: Sequence[Artist], left: float, width: float) -> float:
    """Put a legend at the figure's top, in as many columns as fit; its height and some room."""
    figure.set_size_inches(width, 4)
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles,
            ["not yet named"] * len(handles),  # a name with _ in front would be left out
            loc="upper left",
            bbox_to_anchor=((left - 0.04) / width, 1),
            ncols=columns,
            frameon=False,
            borderaxespad=0.4,
            borderpad=0.2,
            handletextpad=0.6,
            columnspacing=1.6,
            prop=FontProperties(family=families(), size=NORMAL),
            labelcolor=INK,
        )
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set(text=handle.get_label(), parse_math=False)
        size = legend.get_window_extent()
        if columns == 1 or left + size.width / figure.dpi < width:
            break
        legend.remove()
    return float(size.height / figure.dpi) + 0.12
