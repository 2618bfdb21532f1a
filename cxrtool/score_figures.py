"""Pictures of an evaluation: a panel a label of what the scores are worth, drawn and not computed.

Every `draw_*` writes a PNG, every `*_figure` builds what it writes. Sizes here are in inches, text
in points, and the layout is set by hand: what stands over a panel can then never be over its lines.

Raised by all: `UsageError` where there is nothing to draw.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cxrtool.errors import UsageError
from cxrtool.figures import DOTS_PER_INCH, GRID, INK, PARTS, make_plain

Floats = NDArray[np.float64]
Interval = tuple[float, float] | None

BLUE, GREY, RED, FAINT = PARTS["positive"], "#66727f", "#b8324a", "#aab4be"
RUNS = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#000000", "D"),
    ("#cc79a7", "v"),
    ("#56b4e9", "P"),
    ("#e69f00", "X"),
    ("#7f7f7f", "*"),
)
"""Colours that the colour-blind tell apart (Okabe & Ito 2008), and markers for grey print."""
CHANCE: dict[str, Any] = {"color": FAINT, "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}
POINT: dict[str, Any] = {
    "color": RED,
    "marker": "o",
    "markersize": 5.5,
    "markeredgecolor": "white",
    "markeredgewidth": 0.8,
    "linestyle": "",
    "zorder": 4,
    "clip_on": False,
}
WHISKER: dict[str, Any] = {"linewidth": 1.1, "zorder": 3, "solid_capstyle": "butt"}
SMALL, NORMAL, TITLE, LINE = 7.0, 8.0, 8.5, 1.25
"""Sizes of text, and a line's height over its text's size."""
SIDES = {1: 3.3, 2: 2.6, 3: 2.1, 4: 1.75}
"""A panel's side where so many stand in a row."""
FOREST_WIDTH = {1: 2.8, 2: 2.0, 3: 1.5}
LINE_HEIGHT = 0.165
BOX = "□"
"""For a character that no font here has."""
UNSEEN = ("Cc", "Cf", "Cs", "Co")
"""Categories of characters (Unicode) that have no picture."""
FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "IPAGothic",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)
"""Taken, where installed, for what DejaVu Sans cannot write: it comes with matplotlib, and knows
Latin, Greek, Cyrillic and Arabic."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One label's ROC or precision-recall curve.

    x and y are (k,) in [0, 1] from left to right, the start included; empty where the label is
    not defined. `area` is its AUROC or AUPRC, NaN where not defined.
    """

    x: Floats
    y: Floats
    point: tuple[float, float] | None
    """The operating point."""
    area: float
    interval: Interval
    baseline: float | None = None
    """What chance gets at any x: the prevalence. None: the diagonal."""
    note: str = ""
    """Why there is nothing to draw, such as `no positive among 40 images`."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One label's scores against what was found, in bins that hold at least one image.

    Arrays are (b,), from left to right: mean score, share of positives with the 95 % interval's
    ends, and images. Empty where the label is not defined.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Floats
    brier: float
    ece: float
    note: str = ""
    before: tuple[Floats, Floats] | None = None
    """`predicted` and `observed` without calibration, where some was fitted."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One label's distributions of scores, on any scale.

    `edges` (b + 1,) rise. `positive` and `negative` (b,) are shares of the class's images in each
    bin: they sum to 1, or to 0 where the class has no image.
    """

    edges: Floats
    positive: Floats
    negative: Floats
    positives: int
    negatives: int
    threshold: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One label's AUROC in one group of a column (`sex`: `Female`), or in `all` (column empty)."""

    group: str
    column: str
    auroc: float
    interval: Interval
    n: int
    positives: int
    too_few: bool
    """Too small a group to say anything."""


def draw_roc(curves: Mapping[str, Curve], path: Path) -> None:
    """Write the labels' ROC curves, each with its operating point, as a PNG."""
    _save(roc_figure(curves), path)


def draw_precision_recall(curves: Mapping[str, Curve], path: Path) -> None:
    """Write the labels' precision-recall curves over the dotted prevalence, as a PNG."""
    _save(precision_recall_figure(curves), path)


def draw_reliability(bins: Mapping[str, Reliability], path: Path) -> None:
    """Write the share of positives against the mean score, bin by bin, as a PNG."""
    _save(reliability_figure(bins), path)


def draw_distributions(scores: Mapping[str, Scores], path: Path) -> None:
    """Write how positives and negatives score, with the threshold, as a PNG."""
    _save(distributions_figure(scores), path)


def draw_forest(
    rows: Mapping[str, Sequence[ForestRow]], path: Path, *, level: float = 0.95
) -> None:
    """Write each label's AUROC in groups, with intervals of a level, as a PNG."""
    _save(forest_figure(rows, level=level), path)


def draw_comparison(
    runs: Mapping[str, Mapping[str, tuple[float, Interval]]], path: Path, *, level: float = 0.95
) -> None:
    """Write the AUROC of each label in each run, with intervals of a level, as a PNG."""
    _save(comparison_figure(runs, level=level), path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """The figure that `draw_roc` saves: a panel a label, in their order."""
    legend = [Line2D([], [], color=BLUE, linewidth=1.7, label="ROC curve")]
    legend += _point_in_legend(curves.values())
    legend += [Line2D([], [], label="chance", **CHANCE)]
    return _curves_figure(curves, "AUROC", ("1 − specificity", "sensitivity"), legend)


def precision_recall_figure(curves: Mapping[str, Curve]) -> Figure:
    """The figure that `draw_precision_recall` saves: a panel a label, in their order.

    Drawn in steps, each precision from the recall before it: the area under the line is the
    average precision, which straight lines would flatter (Davis & Goadrich 2006, ICML).
    """
    legend = [Line2D([], [], color=BLUE, linewidth=1.7, label="precision-recall curve")]
    legend += _point_in_legend(curves.values())
    dotted = CHANCE | {"linestyle": ":", "color": GREY, "linewidth": 1.3}
    legend += [Line2D([], [], label="prevalence (chance)", **dotted)]
    words = ("recall (sensitivity)", "precision (PPV)")
    return _curves_figure(curves, "AUPRC", words, legend)


def _point_in_legend(curves: Iterable[Curve]) -> list[Line2D]:
    pointed = any(curve.point for curve in curves)
    return [Line2D([], [], label="operating point", **POINT)] if pointed else []


def _curves_figure(
    curves: Mapping[str, Curve], area: str, words: tuple[str, str], legend: Sequence[Line2D]
) -> Figure:
    told = {
        label: [f"{area} {_with_interval(curve.area, curve.interval)}", curve.note]
        if curve.x.size
        else []
        for label, curve in curves.items()
    }
    figure, panels = _panels(told, legend, words)
    for axes, curve in zip(panels, curves.values(), strict=True):
        _unit_square(axes)
        if not curve.x.size:
            _say_nothing_drawn(axes, curve.note)
            continue
        if curve.baseline is None:
            axes.plot([0, 1], [0, 1], **CHANCE)
        else:
            axes.plot([0, 1], [curve.baseline] * 2, color=GREY, linewidth=1.3, linestyle=":")
        style: Any = "default" if curve.baseline is None else "steps-pre"
        axes.plot(curve.x, curve.y, color=BLUE, linewidth=1.7, drawstyle=style, zorder=3)
        if curve.point:
            axes.plot(*curve.point, **POINT)
    return figure


def reliability_figure(bins: Mapping[str, Reliability]) -> Figure:
    """The figure that `draw_reliability` saves; a dot's area goes with the images in its bin."""
    dot: dict[str, Any] = {"color": BLUE, "marker": "o", "linewidth": 1.1}
    words = "bin of scores (larger: more images), 95 % interval"
    legend = [Line2D([], [], markersize=4.5, label=words, **dot)]
    faint: dict[str, Any] = {"color": FAINT, "marker": "s", "markersize": 2.6, "linewidth": 0.9}
    if any(one.before for one in bins.values()):
        legend += [Line2D([], [], label="before calibration", **faint)]
    legend += [Line2D([], [], label="perfect calibration", **CHANCE)]
    told = {
        label: [f"Brier {_number(one.brier)}, ECE {_number(one.ece)}", one.note]
        if one.predicted.size
        else []
        for label, one in bins.items()
    }
    figure, panels = _panels(told, legend, ("mean predicted probability", "share of positives"))
    for axes, one in zip(panels, bins.values(), strict=True):
        _unit_square(axes)
        if not one.predicted.size:
            _say_nothing_drawn(axes, one.note)
            continue
        axes.plot([0, 1], [0, 1], **CHANCE)
        if one.before:
            axes.plot(*one.before, zorder=2, **faint)
        axes.plot(one.predicted, one.observed, color=BLUE, linewidth=0.9, alpha=0.5, zorder=3)
        axes.vlines(one.predicted, one.low, one.high, color=BLUE, linewidth=1.0, zorder=3)
        areas = 9 + 41 * one.count / one.count.max()
        axes.scatter(
            one.predicted, one.observed, areas, BLUE, linewidths=0, zorder=4, clip_on=False
        )
    return figure


def distributions_figure(scores: Mapping[str, Scores]) -> Figure:
    """The figure that `draw_distributions` saves; every panel has scales of its own."""
    filled: dict[str, Any] = {"facecolor": "#dde2e7", "edgecolor": FAINT, "linewidth": 0.8}
    legend: list[Artist] = [
        Line2D([], [], color=BLUE, linewidth=1.5, label="positives"),
        Patch(label="negatives", **filled),
    ]
    line: dict[str, Any] = {"color": RED, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 4}
    if any(one.threshold is not None for one in scores.values()):
        legend += [Line2D([], [], label="threshold", **line)]
    told = {
        label: [one.note or f"{one.positives:,} positive, {one.negatives:,} negative"]
        if one.positives or one.negatives
        else []
        for label, one in scores.items()
    }
    words = ("score", "share of the class's images")
    figure, panels = _panels(told, legend, words, _Grid(own_scales=True))
    for axes, one in zip(panels, scores.values(), strict=True):
        if not told[str(axes.get_label())]:
            axes.set(xticks=[], yticks=[])
            _say_nothing_drawn(axes, one.note)
            continue
        axes.stairs(one.negative, one.edges, fill=True, zorder=2, **filled)
        axes.stairs(one.positive, one.edges, color=BLUE, linewidth=1.5, zorder=3)
        if one.threshold is not None:
            axes.axvline(one.threshold, **line)
        ends = [one.edges[0], one.edges[-1], *([] if one.threshold is None else [one.threshold])]
        room = 0.03 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_ylim(0, 1.06 * max(one.positive.max(), one.negative.max()))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return figure


def forest_figure(rows: Mapping[str, Sequence[ForestRow]], *, level: float = 0.95) -> Figure:
    """The figure that `draw_forest` saves: the same groups in every panel, and the same x-range.

    The range holds every interval. A group that a label has no row of stays empty there.
    """
    lines = _forest_lines(rows)
    if not lines:
        raise UsageError("there is no group to draw: pass at least one row of a label")
    shown = [row for of_label in rows.values() for row in of_label if not math.isnan(row.auroc)]
    told = {
        label: [
            f"AUROC {_with_interval(row.auroc, row.interval)}" for row in of_label if not row.column
        ][:1]
        for label, of_label in rows.items()
    }
    legend = [_whiskered(f"AUROC, {100 * level:g} % interval", BLUE, "o")]
    if any(row.too_few for row in shown):
        legend += [_whiskered("too few patients to say (*)", GREY, "o", hollow=True)]
    legend += [Line2D([], [], color=INK, linewidth=0.8, label="AUROC of all")]
    edges = _number_edges([row for of_label in rows.values() for row in of_label])
    grid = _Grid(
        size=(FOREST_WIDTH[_columns(len(rows), 3)], LINE_HEIGHT * len(lines)),
        most=3,
        beside=edges[-1] + 0.1,
        names=[(name, not column) for name, column in lines],
    )
    figure, panels = _panels(told, legend, ("AUROC", ""), grid)
    limits = _auroc_limits((row.auroc, row.interval) for row in shown)
    for axes, of_label in zip(panels, rows.values(), strict=True):
        axes.set(ylim=(len(lines) - 0.5, -0.5), yticks=[], xlim=limits)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.grid(True, color=GRID, linewidth=0.7)
        _draw_forest_rows(axes, of_label, lines, edges)
    return figure


def _forest_lines(rows: Mapping[str, Sequence[ForestRow]]) -> list[tuple[str, str | None]]:
    """Each line's group and column, columns together; (column, None) stands over its groups."""
    groups: dict[str, dict[str, None]] = {}
    for row in (row for of_label in rows.values() for row in of_label):
        groups.setdefault(row.column, {})[row.group] = None
    lines: list[tuple[str, str | None]] = []
    for column, names in groups.items():
        lines += [(column, None)] if column else []
        lines += [(name, column) for name in names]
    return lines


def _draw_forest_rows(
    axes: Axes,
    rows: Sequence[ForestRow],
    lines: Sequence[tuple[str, str | None]],
    edges: tuple[float, float],
) -> None:
    """Draw one label's rows; `edges` are where its numbers end, at the right of the panel."""
    for edge, word in zip(edges, ("n", "pos."), strict=True):
        _write_beside(axes, edge, -0.7, word, GREY)
    overall = [row.auroc for row in rows if not row.column and not math.isnan(row.auroc)]
    for value in overall[:1]:
        axes.axvline(value, color=INK, linewidth=0.8, zorder=2)
    for row in rows:
        height = lines.index((row.group, row.column))
        ink = GREY if row.too_few else INK
        for edge, number in zip(edges, (row.n, row.positives), strict=True):
            _write_beside(axes, edge, height, f"{number:,}", ink)
        if row.too_few:
            _write_beside(axes, edges[-1] + 0.07, height, "*", ink)
        if math.isnan(row.auroc):
            _say_undefined(axes, height)
            continue
        colour = GREY if row.too_few else BLUE
        _draw_whisker(axes, row.auroc, row.interval, height, colour, "o", row.too_few)


def _number_edges(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Where the numbers of images and of positives end, in inches from their panel's right."""
    digit = 0.062
    first = 0.1 + digit * max([4, *(len(f"{row.n:,}") for row in rows)])
    return first, first + 0.1 + digit * max([4, *(len(f"{row.positives:,}") for row in rows)])


def _write_beside(axes: Axes, edge: float, height: float, text: str, ink: str) -> None:
    """Write what ends so far at the right of a panel, at a height of its rows."""
    place, font = (1.0, height), _text(SMALL, ink) | {"ha": "right", "va": "center"}
    axes.annotate(
        text,
        place,
        (72 * edge, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        annotation_clip=False,
        **font,
    )


def comparison_figure(
    runs: Mapping[str, Mapping[str, tuple[float, Interval]]], *, level: float = 0.95
) -> Figure:
    """The figure that `draw_comparison` saves: runs beside each other in every label's row.

    A label that a run lacks, or whose AUROC is NaN there, has no mark of it. Raises `UsageError`
    for more runs than there are colours and markers.
    """
    if len(runs) > len(RUNS):
        raise UsageError(
            f"{len(runs)} runs in one picture cannot be told apart: compare at most {len(RUNS)}"
        )
    labels = list(dict.fromkeys(label for of_run in runs.values() for label in of_run))
    figure = _empty_figure(labels)
    names = [_fitted(figure, name, 2.4, 2, NORMAL) for name in _names(labels)]
    left = max(_width(figure, line, NORMAL) for name in names for line in name) + 0.2
    beside = 0.13 if len(runs) < 4 else 0.1
    step = max(beside * len(runs) + 0.11, 0.17 * max(len(name) for name in names) + 0.05)
    handles = [
        _whiskered(_fitted(figure, name, 6.0, 1, NORMAL)[0], *mark)
        for name, mark in zip(_names(runs), RUNS, strict=False)
    ]
    width, height = 7.9, step * len(labels)
    top = _add_legend(figure, handles, left, width)
    whole = top + height + 0.5
    figure.set_size_inches(width, whole)
    axes = figure.add_axes(
        (left / width, 0.45 / whole, (width - left - 0.15) / width, height / whole)
    )
    make_plain(axes)
    axes.tick_params(labelsize=SMALL)
    values = [value for of_run in runs.values() for value in of_run.values()]
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=_auroc_limits(values))
    axes.set_yticks(range(len(labels)), ["\n".join(name) for name in names], **_text(NORMAL))
    axes.xaxis.grid(True, color=GRID, linewidth=0.7)
    axes.set_xlabel(f"AUROC, {100 * level:g} % interval", **_text(NORMAL))
    for row, label in enumerate(labels):
        _draw_runs(axes, row, [of_run.get(label) for of_run in runs.values()], beside / step)
    return figure


def _draw_runs(
    axes: Axes, row: int, values: Sequence[tuple[float, Interval] | None], step: float
) -> None:
    """One label's row: a band behind every second, and the runs below each other in their order."""
    if row % 2:
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f6f8", linewidth=0, zorder=0)
    for place, value in enumerate(values):
        if value is not None and not math.isnan(value[0]):
            height = row + step * (place - (len(values) - 1) / 2)
            _draw_whisker(axes, *value, height, *RUNS[place])
    if all(value is None or math.isnan(value[0]) for value in values):
        _say_undefined(axes, row)


def _whiskered(name: str, colour: str, marker: str, *, hollow: bool = False) -> Line2D:
    """A dot on its whisker, for a legend."""
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=4.8,
        markerfacecolor="white" if hollow else colour,
        linewidth=1.1,
        label=name,
    )


def _draw_whisker(
    axes: Axes,
    value: float,
    interval: Interval,
    height: float,
    colour: str,
    marker: str,
    hollow: bool = False,
) -> None:
    if interval:
        axes.plot(interval, [height, height], color=colour, **WHISKER)
    inside = "white" if hollow else colour
    axes.plot(
        value,
        height,
        color=colour,
        marker=marker,
        markersize=4.8,
        markerfacecolor=inside,
        zorder=4,
    )


def _auroc_limits(values: Iterable[tuple[float, Interval]]) -> tuple[float, float]:
    """The x-range that holds every AUROC and interval, and some room for the dots."""
    ends = [end for value, interval in values for end in (value, *(interval or ()))]
    ends = [end for end in ends if not math.isnan(end)] or [0.5, 1.0]
    low, high = min(ends), max(ends)
    room = max(0.04 * (high - low), 0.015)
    return low - room, high + room


def _say_undefined(axes: Axes, height: float) -> None:
    place, across = (0.02, height), axes.get_yaxis_transform()
    box = {"facecolor": "white", "linewidth": 0, "pad": 0.8, "alpha": 0.9}
    words = axes.text(*place, "not defined", transform=across, va="center", **_text(6.5, GREY))
    words.set(bbox=box, fontstyle="italic")


@dataclass(frozen=True, kw_only=True)
class _Grid:
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


def _panels(
    told: Mapping[str, Sequence[str]],
    legend: Sequence[Artist],
    words: tuple[str, str],
    grid: "_Grid | None" = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a label, under its name and the lines that are told of it.

    `legend` stands once over all panels; `words` name the x-axis of the lowest panels and the
    y-axis of the first ones. `Axes.get_label` is the label's name as it was given.
    """
    grid = grid or _Grid()
    figure = _empty_figure(told)
    columns = _columns(len(told), grid.most)
    width, height = grid.size or (SIDES[columns], SIDES[columns])
    across, down = (0.42, 0.34) if grid.own_scales else (0.2, 0.16)
    across += grid.beside
    heads = _heads(figure, told, width + across - 0.14)
    in_rows = [heads[start : start + columns] for start in range(0, len(heads), columns)]
    names = [_fitted(figure, name, 1.5, 1, SMALL)[0] for name, _ in grid.names]
    left = max([0.5, *(_width(figure, name, SMALL, "bold") + 0.3 for name in names)])
    whole_width = max(left + columns * (width + across) - across + grid.beside + 0.12, 4.2)
    top = _add_legend(figure, legend, left, whole_width)
    ends = np.cumsum([_head_height(row) + height + down for row in in_rows])
    whole_height = top + float(ends[-1]) - down + 0.46
    figure.set_size_inches(whole_width, whole_height)
    panels = []
    for place, (label, head) in enumerate(zip(told, heads, strict=True)):
        x = left + place % columns * (width + across)
        y = whole_height - top - float(ends[place // columns]) + down
        box = (x / whole_width, y / whole_height, width / whole_width, height / whole_height)
        axes = figure.add_axes(box, label=label)
        make_plain(axes)
        _write_head(axes, *head, max(len(under) for _, under in in_rows[place // columns]))
        _write_axes(axes, words, grid, place % columns == 0, place + columns >= len(told))
        panels.append(axes)
    return figure, panels


def _columns(panels: int, most: int) -> int:
    """Panels in a row: nearly a square of them, with as few blanks in the last row as can be."""
    fewest = min(math.ceil(math.sqrt(panels)), most)
    return min(range(fewest, most + 1), key=lambda columns: (-panels % columns, columns))


def _heads(
    figure: Figure, told: Mapping[str, Sequence[str]], room: float
) -> list[tuple[list[str], list[str]]]:
    """Each panel's name, and what is told of it, in lines that fit."""
    return [
        (
            _fitted(figure, name, room, 2, TITLE, "bold"),
            [part for line in lines if line for part in _fitted(figure, line, room, 2, SMALL)],
        )
        for name, lines in zip(_names(told), told.values(), strict=True)
    ]


def _head_height(heads: Sequence[tuple[list[str], list[str]]]) -> float:
    """Room for the names and for what is told of them, over one row of panels."""
    title, under = (max(len(head[part]) for head in heads) for part in (0, 1))
    return (title * TITLE + under * SMALL) * LINE / 72 + 0.07


def _write_head(axes: Axes, title: list[str], under: list[str], most_under: int) -> None:
    """Write a panel's name and what is told of it over its lines, all names at one height."""
    pad = 4 + most_under * SMALL * LINE
    font = _text(TITLE) | {"fontweight": "bold", "va": "bottom"}
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
        **_text(SMALL, "#4a5561"),
    )


def _write_axes(
    axes: Axes, words: tuple[str, str], grid: _Grid, is_first: bool, is_lowest: bool
) -> None:
    """Leave an axis' numbers and words where no panel before it or below it has the same."""
    axes.tick_params(labelsize=SMALL, pad=3)
    axes.tick_params(
        labelbottom=is_lowest or grid.own_scales, labelleft=is_first or grid.own_scales
    )
    if is_lowest:
        axes.set_xlabel(words[0], labelpad=3, **_text(SMALL))
    if is_first and not grid.names:
        axes.set_ylabel(words[1], labelpad=3, **_text(SMALL))
    if not is_first:
        return
    figure = _figure_of(axes)
    start = -72 * axes.get_position().x0 * figure.get_figwidth()
    for place, (name, heads) in enumerate(grid.names):
        axes.annotate(
            _fitted(figure, name, 1.5, 1, SMALL)[0],
            (0, 1 - (place + 0.5) / len(grid.names)),
            (start + (9 if heads else 15), 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            fontweight="bold" if heads else "normal",
            **_text(SMALL),
        )


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.spines["bottom"].set_visible(False)  # the grid has a line at 0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(True, color=GRID, linewidth=0.6)


def _say_nothing_drawn(axes: Axes, note: str) -> None:
    """Leave a panel without lines, with the reason in its middle."""
    axes.grid(False)
    axes.set_facecolor("#f7f8fa")
    figure = _figure_of(axes)
    room = axes.get_position().width * figure.get_figwidth() - 0.2
    lines = _fitted(figure, note or "not defined", room, 5, SMALL)
    font = _text(SMALL, GREY) | {"ha": "center", "va": "center", "fontstyle": "italic"}
    axes.text(0.5, 0.5, "\n".join(lines), transform=axes.transAxes, **font)


def _empty_figure(drawn: Sized) -> Figure:
    """A figure that needs no pyplot, with what measures its text."""
    if not len(drawn):
        raise UsageError("there is no label to draw: pass at least one")
    figure = Figure(dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def _add_legend(figure: Figure, handles: Sequence[Artist], left: float, width: float) -> float:
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
            prop=FontProperties(family=_fonts()[0], size=NORMAL),
            labelcolor=INK,
        )
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set(text=handle.get_label(), parse_math=False)
        size = legend.get_window_extent()
        if columns == 1 or left + size.width / figure.dpi < width:
            break
        legend.remove()
    return float(size.height / figure.dpi) + 0.12


def _text(size: float, colour: str = INK) -> dict[str, Any]:
    return {"fontsize": size, "color": colour, "family": _fonts()[0], "parse_math": False}


@cache
def _fonts() -> tuple[list[str], frozenset[int]]:
    """The fonts to write with, in the order they are asked, and the characters that they know."""
    installed = set(fontManager.get_font_names())
    names = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
    known = [get_font(findfont(FontProperties(family=name))).get_charmap() for name in names]
    return names, frozenset().union(*known)


def _readable(text: str) -> str:
    """One line of text without what no font can write: a box stands for such a character."""
    shown = (char for char in " ".join(text.split()) if unicodedata.category(char) not in UNSEEN)
    return "".join(char if ord(char) in _fonts()[1] else BOX for char in shown)


def _names(given: Iterable[str]) -> list[str]:
    """Names as they can be written: with a number where boxes alone would tell nobody apart."""
    shown = [_readable(name) for name in given]
    return [
        f"no. {place}: {name}" if BOX in name or not name else name
        for place, name in enumerate(shown, start=1)
    ]


def _width(figure: Figure, text: str, size: float, weight: str = "normal") -> float:
    written = figure.text(0, 0, _readable(text), **_text(size) | {"fontweight": weight})
    width = written.get_window_extent().width / figure.dpi
    written.remove()
    return float(width)


def _fitted(
    figure: Figure, text: str, room: float, most: int, size: float, weight: str = "normal"
) -> list[str]:
    """Break text into lines that are no wider than `room`; what needs more than `most` is cut."""
    left, lines = _readable(text), list[str]()
    while left:
        end = len(left)
        while end > 1 and _width(figure, left[:end], size, weight) > room:
            end -= 1
        if end == len(left):
            return [*lines, left]
        if len(lines) == most - 1:
            return [*lines, left[: end - 1].rstrip() + "…"]
        space = left.rfind(" ", 1, end + 1)
        end = space if space > 0 else end
        lines.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return lines or [""]


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _with_interval(value: float, interval: Interval) -> str:
    told = _number(value)
    return told if interval is None else f"{told} ({interval[0]:.3f}–{interval[1]:.3f})"
