"""Pictures of a search: how the best score rose, which options mattered, and where the best lie."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from cxrtool.core.plotting import DOTS_PER_INCH, GRID, INK, make_plain
from cxrtool.search.space import Dimension, Space

BLUE, RED, GREY = "#2b6cb0", "#b83245", "#8a97a5"
LEAST = 4
"""Scored trials, below which a forest of regression trees says nothing about importances."""


def importances(study: optuna.Study, space: Space, seed: int) -> dict[str, float] | None:
    """The share of the scores' variance that each option explains; they sum to 1.

    By functional analysis of variance over a random forest (Hutter 2014, ICML, section 3). None
    for fewer than four scored trials, or where all have the same score.
    """
    scored = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    if len(scored) < LEAST or len({one.value for one in scored}) < 2:
        return None
    evaluator = FanovaImportanceEvaluator(seed=seed)
    found = get_param_importances(
        study, evaluator=evaluator, params=[one.name for one in space], normalize=True
    )
    return {name: float(share) for name, share in found.items()}


def draw_history(trials: Sequence[FrozenTrial], path: Path) -> None:
    """Each trial's mean AUROC on valid, and the best so far."""
    figure, axes = _canvas(7, 3.8)
    scored = [one for one in trials if one.state == TrialState.COMPLETE]
    numbers = [one.number + 1 for one in scored]
    scores = np.array([one.value for one in scored], float)
    best = np.maximum.accumulate(scores)
    axes.step(numbers, best, where="post", color=BLUE, linewidth=2, label="best so far")
    axes.scatter(numbers, scores, color=INK, s=26, zorder=3, label="a trial")
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
        axes.scatter(
            failed,
            [0.02] * len(failed),
            marker="x",
            color=RED,
            s=30,
            label="failed",
            transform=axes.get_xaxis_transform(),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, color=GRID)
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel("mean AUROC on valid", color=INK)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_importances(shares: Mapping[str, float], trials: int, path: Path) -> None:
    """Bars of how much of the scores' variance each option explains."""
    figure, axes = _canvas(7, 0.5 * len(shares) + 1.5)
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.62)
    for row, name in enumerate(names):
        axes.text(shares[name] + 0.01, row, f"{shares[name]:.2f}", va="center", color=INK)
    axes.set_xlim(0, 1.08)
    axes.xaxis.grid(True, color=GRID)
    axes.set_xlabel(f"share of the variance of {trials} scores (fANOVA)", color=INK)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def draw_slices(trials: Sequence[FrozenTrial], space: Space, path: Path) -> None:
    """Each option's values against the scores; later trials are darker."""
    columns = min(len(space), 4)
    rows = ceil(len(space) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.7 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    order = np.linspace(0.25, 1.0, len(trials))
    best = max(trials, key=lambda one: one.value or 0.0)
    for panel, dimension in zip(panels, space, strict=False):
        make_plain(panel)
        known = [one for one in trials if dimension.name in one.params]
        places = [_place(dimension, one.params[dimension.name]) for one in known]
        scores = [float(one.value or 0.0) for one in known]
        panel.scatter(places, scores, c=order[: len(known)], cmap="Blues", vmin=0, vmax=1, s=30)
        top = _place(dimension, best.params[dimension.name])
        panel.scatter([top], [best.value], facecolors="none", edgecolors=RED, s=90, linewidths=1.6)
        if dimension.log:
            panel.set_xscale("log")
        if dimension.choices:
            panel.set_xticks(range(len(dimension.choices)), [str(one) for one in dimension.choices])
            panel.tick_params(axis="x", rotation=30)
            panel.set_xlim(-0.5, len(dimension.choices) - 0.5)
        else:
            _mark_ends(panel, dimension)
        panel.grid(True, color=GRID)
        panel.set_xlabel(dimension.name, color=INK)
    for panel in panels[len(space) :]:
        panel.set_visible(False)
    for row in range(rows):
        panels[row * columns].set_ylabel("mean AUROC on valid", color=INK)
    figure.suptitle(
        "each trial, the later the darker; ringed: the best", fontsize=9, color=INK, x=0.5
    )
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _place(dimension: Dimension, value: object) -> float:
    if dimension.choices:
        return float(dimension.choices.index(value))  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def _mark_ends(panel: Axes, dimension: Dimension) -> None:
    """Show the whole range, so that a best at its end is seen to be there."""
    low, high = dimension.low, dimension.high
    if dimension.log:
        room = (high / low) ** 0.04
        panel.set_xlim(low / room, high * room)
    else:
        room = 0.04 * (high - low)
        panel.set_xlim(low - room, high + room)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    make_plain(axes)
    return figure, axes
