"""Pictures of a search: how the best score rose, which options mattered, and where the best lie.

Our own, although Optuna draws such figures (`optuna.visualization.matplotlib`): its trials count
from 0 and not as in the table, failed and pruned ones are left out, axes end at the values tried
instead of the range searched, long names are cut off, and it changes matplotlib's style for all
that is drawn afterwards.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from cxrtool.core.plotting import DOTS_PER_INCH, GRID, INK, canvas, make_plain
from cxrtool.search.space import Dimension, Space

BLUE, RED, GREY = "#2b6cb0", "#b83245", "#8a97a5"
LEAST = 4
"""Scored trials, below which a forest of regression trees says nothing about importances."""
COLUMNS = 4
SCORE = "mean AUROC on valid"


def importances(study: optuna.Study, space: Space, seed: int) -> dict[str, float] | None:
    """The share of the scores' variance that each option explains; they sum to 1.

    By functional analysis of variance over a random forest (Hutter 2014, ICML, section 3). None
    for fewer than four scored trials, or where all have the same score.
    """
    scored = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(scored) < LEAST or len({one.value for one in scored}) < 2:
        return None
    evaluator = FanovaImportanceEvaluator(seed=seed)
    return get_param_importances(study, evaluator=evaluator, params=list(space), normalize=True)


def draw_history(trials: Sequence[FrozenTrial], path: Path) -> None:
    """Each trial's mean AUROC on valid, and the best so far."""
    figure, axes = canvas(7, 3.8)
    scored = [one for one in trials if one.state == TrialState.COMPLETE]
    numbers = [one.number + 1 for one in scored]
    scores = np.array([one.value for one in scored], float)
    best = np.maximum.accumulate(scores)
    axes.step(numbers, best, where="post", color=BLUE, linewidth=2, label="best so far")
    axes.scatter(numbers, scores, color=INK, s=26, zorder=3, label="trial")
    pruned = [one for one in trials if one.state == TrialState.PRUNED and one.intermediate_values]
    if pruned:
        axes.scatter(
            [one.number + 1 for one in pruned],
            [max(one.intermediate_values.values()) for one in pruned],
            facecolors="none",
            edgecolors=GREY,
            s=26,
            label="pruned, its best",
        )
    failed = [one.number + 1 for one in trials if one.state == TrialState.FAIL]
    if failed:
        foot = axes.get_xaxis_transform()
        heights = [0.02] * len(failed)
        axes.scatter(failed, heights, marker="x", color=RED, s=30, label="failed", transform=foot)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, color=GRID)
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel(SCORE, color=INK)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_importances(shares: Mapping[str, float], trials: int, path: Path) -> None:
    """Bars of how much of the scores' variance each option explains."""
    figure, axes = canvas(7, 0.5 * len(shares) + 1.5)
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.62)
    axes.bar_label(bars, fmt="%.2f", padding=4, color=INK)
    axes.set_xlim(0, 1.08)
    axes.xaxis.grid(True, color=GRID)
    axes.set_xlabel(f"share of the variance of {trials} scores (fANOVA)", color=INK)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_slices(trials: Sequence[FrozenTrial], space: Space, path: Path) -> None:
    """Each option's values and their scores; later trials are darker."""
    columns = min(len(space), COLUMNS)
    rows = ceil(len(space) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.7 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, (name, dimension) in zip(panels, space.items(), strict=False):
        _draw_slice(panel, [one for one in trials if name in one.params], name, dimension)
    for panel in panels[len(space) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel(SCORE, color=INK)
    figure.suptitle("each trial, the later the darker; ringed: the best", fontsize=9, color=INK)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _draw_slice(
    panel: Axes, trials: Sequence[FrozenTrial], name: str, dimension: Dimension
) -> None:
    make_plain(panel)
    places = [dimension.to_internal_repr(one.params[name]) for one in trials]
    scores = [one.value or 0.0 for one in trials]
    shades = np.linspace(0.25, 1.0, len(trials))
    panel.scatter(places, scores, c=shades, cmap="Blues", vmin=0, vmax=1, s=30)
    best = int(np.argmax(scores))
    panel.scatter(
        places[best], scores[best], facecolors="none", edgecolors=RED, s=90, linewidths=1.6
    )
    if isinstance(dimension, CategoricalDistribution):
        panel.set_xticks(range(len(dimension.choices)), map(str, dimension.choices), rotation=30)
        panel.set_xlim(-0.5, len(dimension.choices) - 0.5)
    else:
        # The whole range, so that a best at its end is seen to be there.
        panel.set_xscale("log" if dimension.log else "linear")
        panel.set_xlim(*_with_room(dimension.low, dimension.high, log=dimension.log))
    panel.grid(True, color=GRID)
    panel.set_xlabel(name, color=INK)


def _with_room(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if log:
        room = (high / low) ** 0.04
        return low / room, high * room
    room = 0.04 * (high - low)
    return low - room, high + room
