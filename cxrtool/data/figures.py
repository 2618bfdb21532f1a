"""Results to pictures, drawn without a display."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap

from cxrtool.core.plotting import (
    DOTS_PER_INCH,
    GRID,
    INK,
    OTHER_SEX,
    PARTS,
    SEXES,
    canvas,
    readable_names,
    text_style,
)
from cxrtool.data.labels import majority

SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#2b6cb0"])
AXIS_TEXT = 10.0
"""The size of labels at an axis."""
MOST_LABELS = 40
"""In one picture: PadChest has 190, and their pairs would take minutes and gigabytes to draw."""


def draw_label_counts(labels: dict[str, dict[str, int]], path: Path) -> None:
    """Bars of each label's positive, uncertain and negative images (blank ones are left out).

    Images on which readers are evenly divided are drawn as uncertain. Of very many labels the
    most frequent are drawn, and that is said.
    """
    chosen, which = _most_frequent({name: one["positive"] for name, one in labels.items()})
    labels = {name: labels[name] for name in chosen}
    figure, axes = canvas(8, 0.42 * len(labels) + 1.3)
    names = list(labels)[::-1]
    left, rows = np.zeros(len(names)), range(len(names))
    for part, colour in PARTS.items():
        kinds = (part, "divided") if part == "uncertain" else (part,)
        counts = np.array([sum(labels[name].get(kind, 0) for kind in kinds) for name in names])
        named = " or ".join(kind for kind in kinds if any(kind in labels[name] for name in names))
        axes.barh(rows, counts, left=left, color=colour, label=named, height=0.72)
        left += counts
    axes.set_yticks(rows, readable_names(labels)[::-1], **text_style(AXIS_TEXT))
    for row, name in enumerate(names):
        text = f" {labels[name]['positive']:,}"
        axes.text(left[row], row, text, va="center", color=INK, fontsize=8)
    axes.set_xlim(0, max(float(left.max()), 1) * 1.12)
    axes.xaxis.grid(True, color=GRID)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(f"images (the number at the bar: positives){which}", color=INK)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_ages(ages: "pd.Series[int]", sex: "pd.Series[str]", path: Path) -> None:
    """The distribution of ages over all rows read, by sex."""
    figure, axes = canvas(8, 3.6)
    years = ages.to_numpy(dtype=float, na_value=np.nan)
    bins = np.arange(0, max(95, np.nanmax(years, initial=0) + 5), 5)
    groups = {name: (sex == name, colour) for name, colour in SEXES.items()}
    groups["not known"] = (~sex.isin(list(SEXES)), OTHER_SEX)
    for name, (of_this, colour) in groups.items():
        chosen = years[of_this.to_numpy(dtype=bool) & ~np.isnan(years)]
        if not chosen.size:
            continue
        axes.hist(
            chosen, bins=bins.tolist(), histtype="step", color=colour, linewidth=2, label=name
        )
    axes.yaxis.grid(True, color=GRID)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("age in years", color=INK)
    axes.set_ylabel("rows", color=INK)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_cooccurrence(labels: pd.DataFrame, path: Path) -> None:
    """Of the images with a row's label, the share that have a column's label too.

    Of very many labels the most frequent are drawn, and that is said.
    """
    positives = majority(labels.to_numpy(dtype=float))[0].sum(axis=0).tolist()
    chosen, which = _most_frequent(dict(zip(labels.columns, positives, strict=True)))
    labels = labels[list(chosen)]
    positive = majority(labels.to_numpy(dtype=float))[0].astype(float)
    together = positive.T @ positive
    counts = np.diag(together)
    shares = together / np.maximum(counts, 1)[:, None]
    side = 0.46 * len(counts) + 2.4
    figure, axes = canvas(side + 0.4, side)
    shown = np.where(np.eye(len(counts), dtype=bool), 0.0, shares)
    axes.imshow(shown, cmap=SHARES, vmin=0, vmax=1)
    for row, column in np.ndindex(*shares.shape):
        if counts[row] and row != column:
            ink = "white" if shares[row, column] > 0.6 else INK
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    names = readable_names(str(name) for name in labels.columns)
    told = [f"{name} ({count:,.0f})" for name, count in zip(names, counts, strict=True)]
    axes.set_yticks(range(len(names)), told, **text_style(AXIS_TEXT))
    axes.set_xticks(range(len(names)), names, rotation=90, **text_style(AXIS_TEXT))
    axes.spines["bottom"].set_visible(False)
    axes.set_title(
        f"of the images with the label at the left (how many), % with the one below{which}",
        fontsize=9,
        color=INK,
        loc="right",
    )
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _most_frequent(positives: Mapping[str, int]) -> tuple[tuple[str, ...], str]:
    """As many labels as fit into a picture, in their order, and what to say where some do not."""
    if len(positives) <= MOST_LABELS:
        return tuple(positives), ""
    frequent = sorted(positives, key=positives.__getitem__, reverse=True)[:MOST_LABELS]
    chosen = tuple(name for name in positives if name in set(frequent))
    return chosen, f"; the {MOST_LABELS} most frequent of {len(positives)} labels"
