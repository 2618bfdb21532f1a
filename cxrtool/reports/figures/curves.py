"""Pictures of what a label's scores are worth: ROC and precision-recall, reliability, scores."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cxrtool.core.numbers import number, with_interval
from cxrtool.reports.figures.panels import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    RED,
    Grid,
    make_panels,
    say_nothing_drawn,
    unit_square,
)
from cxrtool.reports.figures.series import Curve, ReaderPoint, Reliability, Scores

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
READER: dict[str, Any] = POINT | {"color": GREEN, "marker": "D", "markersize": 4.5}


def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """The labels' ROC curves, each with its operating point: a panel a label, in their order."""
    chance = Line2D([], [], label="chance", **CHANCE)
    return _curves_figure(curves, "ROC", "AUROC", ("1 − specificity", "sensitivity"), chance)


def precision_recall_figure(curves: Mapping[str, Curve]) -> Figure:
    """The labels' precision-recall curves over the dotted prevalence: a panel a label.

    Drawn in steps, each precision from the recall before it: the area under the line is the
    average precision, which straight lines would flatter (Davis & Goadrich 2006, ICML).
    """
    dotted = CHANCE | {"linestyle": ":", "color": GREY, "linewidth": 1.3}
    chance = Line2D([], [], label="prevalence (chance)", **dotted)
    words = ("recall (sensitivity)", "precision (PPV)")
    return _curves_figure(curves, "precision-recall", "AUPRC", words, chance)


def _curves_figure(
    curves: Mapping[str, Curve], name: str, area: str, words: tuple[str, str], chance: Line2D
) -> Figure:
    legend = [Line2D([], [], color=BLUE, linewidth=1.7, label=f"{name} curve")]
    if any(curve.point for curve in curves.values()):
        legend.append(Line2D([], [], label="operating point", **POINT))
    if any(curve.readers for curve in curves.values()):
        legend.append(Line2D([], [], label="human reader, 95 % intervals", **READER))
    legend.append(chance)
    under = {
        label: [f"{area} {with_interval(curve.area)}", curve.note] if curve.x.size else []
        for label, curve in curves.items()
    }
    figure, panels = make_panels(under, legend, words)
    for axes, curve in zip(panels, curves.values(), strict=True):
        unit_square(axes)
        if not curve.x.size:
            say_nothing_drawn(axes, curve.note)
            continue
        if curve.baseline is None:
            axes.plot([0, 1], [0, 1], **CHANCE)
        else:
            axes.plot([0, 1], [curve.baseline] * 2, color=GREY, linewidth=1.3, linestyle=":")
        draw = axes.plot if curve.baseline is None else partial(axes.step, where="pre")
        draw(curve.x, curve.y, color=BLUE, linewidth=1.7, zorder=3)
        for reader in curve.readers:
            _draw_reader(axes, reader)
        if curve.point:
            axes.plot(*curve.point, **POINT)
    return figure


def _draw_reader(axes: Axes, reader: ReaderPoint) -> None:
    """A cross as wide and as high as the intervals, with a mark where the reader is."""
    line: dict[str, Any] = {"color": READER["color"], "linewidth": 0.9, "alpha": 0.6, "zorder": 3}
    if reader.x_ends:
        axes.hlines(reader.y, *reader.x_ends, **line)
    if reader.y_ends:
        axes.vlines(reader.x, *reader.y_ends, **line)
    axes.plot(reader.x, reader.y, **READER)


def reliability_figure(bins: Mapping[str, Reliability]) -> Figure:
    """The share of positives against the mean score; a dot's area goes with its bin's images."""
    dot: dict[str, Any] = {"color": BLUE, "marker": "o", "linewidth": 1.1}
    smooth: dict[str, Any] = {"color": RED, "linewidth": 1.3}
    of_bins = "bin of scores (larger: more images), 95 % interval"
    legend = [Line2D([], [], markersize=4.5, label=of_bins, **dot)]
    if any(one.curve for one in bins.values()):
        legend += [Line2D([], [], label="smooth curve, 95 % interval", **smooth)]
    faint: dict[str, Any] = {"color": FAINT, "marker": "s", "markersize": 2.6, "linewidth": 0.9}
    if any(one.before for one in bins.values()):
        legend += [Line2D([], [], label="before calibration", **faint)]
    legend += [Line2D([], [], label="perfect calibration", **CHANCE)]
    under = {
        label: [*_calibration_lines(one), one.note] if one.bins else []
        for label, one in bins.items()
    }
    figure, panels = make_panels(
        under, legend, ("mean predicted probability", "share of positives")
    )
    for axes, one in zip(panels, bins.values(), strict=True):
        unit_square(axes)
        if one.bins is None:
            say_nothing_drawn(axes, one.note)
            continue
        axes.plot([0, 1], [0, 1], **CHANCE)
        if one.before:
            axes.plot(*one.before, zorder=2, **faint)
        if one.curve:
            at, ends = one.curve.predicted, (one.curve.low, one.curve.high)
            if ends[0]:
                axes.fill_between(at, *ends, color=RED, alpha=0.15, linewidth=0, zorder=2)
            axes.plot(at, one.curve.observed, zorder=3, **smooth)
        x, y, count = one.bins.predicted, one.bins.observed, one.bins.count
        axes.plot(x, y, color=BLUE, linewidth=0.9, alpha=0.5, zorder=3)
        axes.vlines(x, one.bins.low, one.bins.high, color=BLUE, linewidth=1.0, zorder=3)
        areas = 9 + 41 * count / count.max()
        axes.scatter(x, y, areas, BLUE, linewidths=0, zorder=4, clip_on=False)
    return figure


def _calibration_lines(one: Reliability) -> list[str]:
    """What stands under a label's name: its errors, then intercept and slope."""
    lines = [f"Brier {number(one.brier)}, ECE {number(one.ece)}"]
    if one.intercept is not None and one.slope is not None:
        lines.append(
            f"intercept {number(one.intercept.value, 2)}, slope {number(one.slope.value, 2)}"
        )
    return lines


def distributions_figure(scores: Mapping[str, Scores]) -> Figure:
    """How positives and negatives score, with the threshold; every panel has its own scales."""
    filled: dict[str, Any] = {"facecolor": "#dde2e7", "edgecolor": FAINT, "linewidth": 0.8}
    legend: list[Artist] = [
        Line2D([], [], color=BLUE, linewidth=1.5, label="positives"),
        Patch(label="negatives", **filled),
    ]
    line: dict[str, Any] = {"color": RED, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 4}
    if any(one.threshold is not None for one in scores.values()):
        legend += [Line2D([], [], label="threshold", **line)]
    under = {
        label: [one.note or f"{one.positives:,} positive, {one.negatives:,} negative"]
        if one.positives or one.negatives
        else []
        for label, one in scores.items()
    }
    words = ("score", "share of the class's images")
    figure, panels = make_panels(under, legend, words, Grid(own_scales=True))
    for axes, one in zip(panels, scores.values(), strict=True):
        if not under[str(axes.get_label())]:
            axes.set(xticks=[], yticks=[])
            say_nothing_drawn(axes, one.note)
            continue
        axes.stairs(one.negative, one.edges, fill=True, zorder=2, **filled)
        axes.stairs(one.positive, one.edges, color=BLUE, linewidth=1.5, zorder=3)
        if one.threshold is not None:
            axes.axvline(one.threshold, **line)
        ends = [one.edges[0], one.edges[-1], *([] if one.threshold is None else [one.threshold])]
        room = 0.03 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_ylim(0, 1.06 * max(one.positive.max(), one.negative.max()))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return figure
