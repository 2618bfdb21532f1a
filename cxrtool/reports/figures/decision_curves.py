"""Pictures of net benefit: what deciding by a label is worth beside treating all or none."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cxrtool.core.numbers import percent
from cxrtool.core.plotting import GRID
from cxrtool.evaluation.net_benefit import DecisionCurve
from cxrtool.reports.figures.panels import BLUE, FAINT, GREY, Grid, make_panels, say_nothing_drawn

MODEL: dict[str, Any] = {"color": BLUE, "linewidth": 1.6}
ALL: dict[str, Any] = {"color": GREY, "linewidth": 1.1, "linestyle": (0, (4, 2))}
NONE: dict[str, Any] = {"color": FAINT, "linewidth": 1.0}


def decision_figure(curves: Mapping[str, DecisionCurve | None]) -> Figure:
    """Net benefit over the threshold probability: a panel a label, each with scales of its own.

    Below 0 only a little is shown: where treating all does harm, how much is of no interest.
    """
    legend = [
        Line2D([], [], label="treat by the model, 95 % interval", **MODEL),
        Line2D([], [], label="treat all", **ALL),
        Line2D([], [], label="treat none", **NONE),
    ]
    under = {label: [_useful(curve)] if curve else [] for label, curve in curves.items()}
    words = ("threshold probability", "net benefit (true positives per row)")
    figure, panels = make_panels(under, legend, words, Grid(own_scales=True))
    for axes, curve in zip(panels, curves.values(), strict=True):
        if curve is None:
            axes.set(xticks=[], yticks=[])
            say_nothing_drawn(axes, "without positives and negatives there is no net benefit")
            continue
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.axhline(0, zorder=1, **NONE)
        axes.plot(curve.threshold, curve.treat_all, zorder=2, **ALL)
        if curve.low:
            axes.fill_between(
                curve.threshold, curve.low, curve.high, color=BLUE, alpha=0.15, linewidth=0
            )
        axes.plot(curve.threshold, curve.net_benefit, zorder=3, **MODEL)
        top = max(*curve.net_benefit, *curve.treat_all, *curve.high, 1e-4)
        axes.set_xlim(0, curve.threshold[-1])
        axes.set_ylim(-0.25 * top, 1.08 * top)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return figure


def _useful(curve: DecisionCurve) -> str:
    if not curve.low:
        return ""
    ends = curve.useful_range
    if ends is None:
        return "nowhere clearly better than treating all or none"
    return f"better than both from {percent(ends[0])} to {percent(ends[1])}"
