"""Results to pictures, drawn without a display."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID = "#1f2933", "#d9dee3"
PARTS = {"positive": "#2b6cb0", "uncertain": "#e0a526", "negative": "#8a97a5"}
SEXES = {"Female": "#b8527a", "Male": "#2b6cb0"}
DOTS_PER_INCH = 150


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that needs no pyplot, so that no global state and no display are touched."""
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=INK, length=0)
    axes.set_axisbelow(True)
    return figure, axes


def draw_label_counts(labels: dict[str, dict[str, int]], path: Path) -> None:
    """Bars of each label's positive, uncertain and negative images (blank ones are left out)."""
    figure, axes = _canvas(8, 0.42 * len(labels) + 1.3)
    names = list(labels)[::-1]
    left = np.zeros(len(names))
    for part, colour in PARTS.items():
        counts = np.array([labels[name][part] for name in names])
        axes.barh(names, counts, left=left, color=colour, label=part, height=0.72)
        left += counts
    for row, name in enumerate(names):
        text = f" {labels[name]['positive']:,}"
        axes.text(left[row], row, text, va="center", color=INK, fontsize=8)
    axes.set_xlim(0, max(float(left.max()), 1) * 1.12)
    axes.xaxis.grid(True, color=GRID)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("images (the number at the bar: positives)", color=INK)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_ages(ages: "pd.Series[int]", sex: "pd.Series[str]", path: Path) -> None:
    """The distribution of ages over all rows read, by sex."""
    figure, axes = _canvas(8, 3.6)
    years = ages.to_numpy(dtype=float, na_value=np.nan)
    bins = np.arange(0, max(95, np.nanmax(years, initial=0) + 5), 5)
    for name, colour in SEXES.items():
        chosen = years[(sex == name).to_numpy(dtype=bool) & ~np.isnan(years)]
        axes.hist(
            chosen, bins=bins.tolist(), histtype="step", color=colour, linewidth=2, label=name
        )
    axes.yaxis.grid(True, color=GRID)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("age in years", color=INK)
    axes.set_ylabel("rows", color=INK)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
