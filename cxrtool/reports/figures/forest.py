"""Pictures of AUROCs with their intervals: a label's groups, and runs beside each other."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cxrtool.core.errors import UsageError
from cxrtool.core.numbers import Estimate, with_interval
from cxrtool.core.plotting import (
    GRID,
    INK,
    NORMAL,
    SMALL,
    fitted,
    make_plain,
    readable_names,
    text_style,
    width_of,
)
from cxrtool.evaluation.intervals import LEVEL
from cxrtool.evaluation.result import GroupScores, LabelScores, Subgroups
from cxrtool.reports.figures.panels import (
    BLUE,
    GREY,
    Grid,
    add_legend,
    columns_for,
    empty_figure,
    make_panels,
)

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
WHISKER: dict[str, Any] = {"linewidth": 1.1, "zorder": 3, "solid_capstyle": "butt"}
ALL = "all"
Row = LabelScores | GroupScores
FOREST_WIDTH = {1: 2.8, 2: 2.0, 3: 1.5}
LINE_HEIGHT = 0.165


def forest_figure(labels: Mapping[str, LabelScores], subgroups: Mapping[str, Subgroups]) -> Figure:
    """The AUROC of each defined label over all rows and in groups: a panel a label.

    The x-range is the same in every panel, and holds every interval.

    Raises:
        UsageError: no label is defined.
    """
    rows = {
        label: _rows(label, scores, subgroups)
        for label, scores in labels.items()
        if scores.auroc.value is not None
    }
    names = [(ALL, True)]
    for column, of in subgroups.items():
        names += [(column, True), *((name, False) for name in of.groups)]
    under = {label: [f"AUROC {with_interval(labels[label].auroc)}"] for label in rows}
    shown = [row for of_label in rows.values() for row in of_label if row is not None]
    legend = [_whiskered(f"AUROC, {100 * LEVEL:g} % interval", BLUE, "o")]
    if any(_too_few(row) and row.auroc.value is not None for row in shown):
        legend += [_whiskered("too few patients to say (*)", GREY, "o", hollow=True)]
    legend += [Line2D([], [], color=INK, linewidth=0.8, label="AUROC of all")]
    edges = _number_edges(shown)
    size = FOREST_WIDTH[columns_for(len(rows), 3)] if rows else 0, LINE_HEIGHT * len(names)
    grid = Grid(size=size, most=3, beside=edges[-1] + 0.1, names=names)
    figure, panels = make_panels(under, legend, ("AUROC", ""), grid)
    limits = _auroc_limits(row.auroc for row in shown)
    for axes, of_label in zip(panels, rows.values(), strict=True):
        axes.set(ylim=(len(names) - 0.5, -0.5), yticks=[], xlim=limits)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.grid(True, color=GRID, linewidth=0.7)
        _draw_forest_rows(axes, of_label, edges)
    return figure


def _rows(label: str, scores: LabelScores, subgroups: Mapping[str, Subgroups]) -> list[Row | None]:
    """One label's figures from top to bottom; None where the name of a column stands."""
    rows: list[Row | None] = [scores]
    for of in subgroups.values():
        rows += [None, *(group.labels[label] for group in of.groups.values())]
    return rows


def _too_few(row: Row) -> bool:
    return isinstance(row, GroupScores) and row.too_few


def _draw_forest_rows(axes: Axes, rows: Sequence[Row | None], edges: tuple[float, float]) -> None:
    """Draw one label's rows; `edges` are where its numbers end, at the right of the panel."""
    for edge, word in zip(edges, ("n", "pos."), strict=True):
        _write_beside(axes, edge, -0.7, word, GREY)
    for height, row in enumerate(rows):
        if row is None:
            continue
        few = _too_few(row)
        if height == 0 and row.auroc.value is not None:
            axes.axvline(row.auroc.value, color=INK, linewidth=0.8, zorder=2)
        for edge, number in zip(edges, (row.n, row.positives), strict=True):
            _write_beside(axes, edge, height, f"{number:,}", GREY if few else INK)
        if few:
            _write_beside(axes, edges[-1] + 0.07, height, "*", GREY)
        if not _draw_whisker(axes, row.auroc, height, GREY if few else BLUE, "o", few):
            _say_undefined(axes, height)


def _number_edges(rows: Sequence[Row]) -> tuple[float, float]:
    """Where the numbers of images and of positives end, in inches from their panel's right."""
    digit = 0.062
    first = 0.1 + digit * max([4, *(len(f"{row.n:,}") for row in rows)])
    return first, first + 0.1 + digit * max([4, *(len(f"{row.positives:,}") for row in rows)])


def _write_beside(axes: Axes, edge: float, height: float, text: str, ink: str) -> None:
    """Write what ends so far at the right of a panel, at a height of its rows."""
    place, font = (1.0, height), text_style(SMALL, ink) | {"ha": "right", "va": "center"}
    axes.annotate(
        text,
        place,
        (72 * edge, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        annotation_clip=False,
        **font,
    )


def comparison_figure(runs: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """The AUROC of each label in each run, with intervals: a row a label.

    A label that a run lacks, or whose AUROC is not defined there, has no mark of it.

    Raises:
        UsageError: there are more runs than colours and markers.
    """
    if len(runs) > len(RUNS):
        raise UsageError(
            f"{len(runs)} runs in one picture cannot be told apart: compare at most {len(RUNS)}"
        )
    labels = list(dict.fromkeys(label for of_run in runs.values() for label in of_run))
    figure = empty_figure(labels)
    names = [fitted(figure, name, 2.4, 2, NORMAL) for name in readable_names(labels)]
    left = max(width_of(figure, line, NORMAL) for name in names for line in name) + 0.2
    beside = 0.13 if len(runs) < 4 else 0.1
    step = max(beside * len(runs) + 0.11, 0.17 * max(len(name) for name in names) + 0.05)
    handles = [
        _whiskered(fitted(figure, name, 6.0, 1, NORMAL)[0], *mark)
        for name, mark in zip(readable_names(runs), RUNS, strict=False)
    ]
    width, height = 7.9, step * len(labels)
    top = add_legend(figure, handles, left, width)
    whole = top + height + 0.5
    figure.set_size_inches(width, whole)
    axes = figure.add_axes(
        (left / width, 0.45 / whole, (width - left - 0.15) / width, height / whole)
    )
    make_plain(axes)
    axes.tick_params(labelsize=SMALL)
    values = [value for of_run in runs.values() for value in of_run.values()]
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=_auroc_limits(values))
    axes.set_yticks(range(len(labels)), ["\n".join(name) for name in names], **text_style(NORMAL))
    axes.xaxis.grid(True, color=GRID, linewidth=0.7)
    axes.set_xlabel(f"AUROC, {100 * LEVEL:g} % interval", **text_style(NORMAL))
    for row, label in enumerate(labels):
        _draw_runs(axes, row, [of_run.get(label) for of_run in runs.values()], beside / step)
    return figure


def _draw_runs(axes: Axes, row: int, values: Sequence[Estimate | None], step: float) -> None:
    """One label's row: a band behind every second, and the runs below each other in their order."""
    if row % 2:
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f6f8", linewidth=0, zorder=0)
    heights = [row + step * (place - (len(values) - 1) / 2) for place in range(len(values))]
    drawn = [
        _draw_whisker(axes, value, height, *mark)
        for value, height, mark in zip(values, heights, RUNS, strict=False)
        if value is not None
    ]
    if not any(drawn):
        _say_undefined(axes, row)


def _whiskered(name: str, colour: str, marker: str, *, hollow: bool = False) -> Line2D:
    """A dot on its whisker, for a legend."""
    return Line2D([], [], linewidth=1.1, label=name, **_dot(colour, marker, hollow))


def _dot(colour: str, marker: str, hollow: bool) -> dict[str, Any]:
    inside = "white" if hollow else colour
    return {"color": colour, "marker": marker, "markersize": 4.8, "markerfacecolor": inside}


def _draw_whisker(
    axes: Axes,
    estimate: Estimate,
    height: float,
    colour: str,
    marker: str,
    hollow: bool = False,
) -> bool:
    """Draw a dot on its interval; False where there is none to draw."""
    if estimate.value is None:
        return False
    if estimate.interval:
        axes.plot(estimate.interval, [height, height], color=colour, **WHISKER)
    axes.plot(estimate.value, height, zorder=4, **_dot(colour, marker, hollow))
    return True


def _auroc_limits(values: Iterable[Estimate]) -> tuple[float, float]:
    """The x-range that holds every AUROC and interval, and some room for the dots."""
    ends = [end for one in values for end in (one.value, *(one.interval or ())) if end is not None]
    ends = ends or [0.5, 1.0]
    low, high = min(ends), max(ends)
    room = max(0.04 * (high - low), 0.015)
    return low - room, high + room


def _say_undefined(axes: Axes, height: float) -> None:
    place, across = (0.02, height), axes.get_yaxis_transform()
    box = {"facecolor": "white", "linewidth": 0, "pad": 0.8, "alpha": 0.9}
    words = axes.text(*place, "not defined", transform=across, va="center", **text_style(6.5, GREY))
    words.set(bbox=box, fontstyle="italic")
