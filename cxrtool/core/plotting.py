"""The style that all pictures share."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID = "#1f2933", "#d9dee3"
PARTS = {"positive": "#2b6cb0", "uncertain": "#e0a526", "negative": "#8a97a5"}
SEXES = {"Female": "#b8527a", "Male": "#2b6cb0"}
OTHER_SEX = "#8a97a5"
DOTS_PER_INCH = 150


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that needs no pyplot, so that no global state and no display are touched."""
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    make_plain(axes)
    return figure, axes


def make_plain(axes: Axes) -> None:
    """Leave only the line at the bottom, and put the grid behind what is drawn."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=INK, which="both", length=0)
    axes.set_axisbelow(True)
