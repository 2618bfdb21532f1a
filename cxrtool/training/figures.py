"""Pictures of a training: its curves, and a learning-rate range test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from cxrtool.core.plotting import DOTS_PER_INCH, GRID, INK, make_plain
from cxrtool.training.schedules import ALL, HEAD, PHASES, PROBE, TOP

BLUE, ORANGE, RED, FAINT = "#2b6cb0", "#d97706", "#b8324a", "#bfc8d1"
BEST: dict[str, Any] = {"color": RED, "marker": "o", "markersize": 7, "linestyle": "", "zorder": 4}
BEST_LINE: dict[str, Any] = {"color": RED, "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}
PHASE_COLOURS = {HEAD: "#e6ebf0", TOP: "#f1f4f7", ALL: "#ffffff"}
"""Behind each of a history's phases."""
SHOWN_FALL = 1e-3
"""How far down a schedule is shown."""
LAST_FIGURE = "seconds"
"""The columns of a history after this one are labels."""
MOST_LABELS = 20
"""Lines of single labels, if there are more, are a fog."""
MOST_MARKERS, MOST_LEVELS = 40, 8
MARKERS: dict[str, Any] = {"marker": "o", "markersize": 3.5}
WIDEST_NAMES = 75
"""Letters of the names of lines that have room beside each other over a panel."""
SMOOTHING = 0.98
"""fastai's, on whose curve the suggested rate is found."""

Numbers = NDArray[np.float64]


def draw_curves(
    history: pd.DataFrame,
    path: Path,
    *,
    validations: int | None = None,
    training_loss: str = "",
) -> None:
    """Draw losses, valid AUROC and learning rates over the epochs, as a PNG.

    Args:
        history: a row a validation, as `history.csv` holds it.
        path: where the picture goes.
        validations: in an epoch; None: as many as the history has in one, which is too few only
            while the first epoch is not done.
        training_loss: what the training loss is and what weighs in it, for its name in the
            picture; the validation loss is always the plain cross-entropy.
    """
    figure = curves_figure(history, validations, training_loss)
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def curves_figure(
    history: pd.DataFrame, validations: int | None = None, training_loss: str = ""
) -> Figure:
    """The figure that `draw_curves` saves: axes of losses, AUROC and learning rates.

    Of a last layer that was fitted to features, losses and AUROC over the penalty's strength.
    """
    if set(history["phase"]) == {PROBE}:
        return _fits_figure(history, training_loss)
    figure = Figure(figsize=(8, 8.4), layout="constrained")
    losses, aurocs, rates = figure.subplots(3, 1, sharex=True, height_ratios=(5, 6, 4))
    done = epochs_done(history, validations)
    shading = [_panel(axes, history, done) for axes in (losses, aurocs, rates)][-1]
    markers = MARKERS if len(history) <= MOST_MARKERS else {}
    _draw_losses(losses, history, done, markers, training_loss)
    _draw_aurocs(aurocs, history, done, markers)
    _mark_best(figure.axes, history, done, "in epoch {epoch}")
    _draw_rates_used(rates, history, done, markers)
    _name(losses, "loss")
    _name(aurocs, "AUROC on valid")
    _name(rates, "learning rate", shading)
    rates.set_xlabel("epochs", color=INK)
    rates.set_xlim(0, done[-1] * 1.02)
    rates.xaxis.set_major_locator(MaxNLocator("auto", integer=done[-1] >= 2, steps=[1, 2, 5, 10]))
    return figure


def _fits_figure(history: pd.DataFrame, training_loss: str) -> Figure:
    """Each fit by the strength of its penalty, from strong to weak."""
    figure = Figure(figsize=(8, 6.2), layout="constrained")
    losses, aurocs = figure.subplots(2, 1, sharex=True, height_ratios=(5, 6))
    strengths = _numbers(history, "weight_decay")
    for axes in (losses, aurocs):
        make_plain(axes)
        axes.grid(True, color=GRID, linewidth=0.8)
    _draw_losses(losses, history, strengths, MARKERS, training_loss)
    _draw_aurocs(aurocs, history, strengths, MARKERS)
    _mark_best(figure.axes, history, strengths, "at {weight_decay:g}")
    _name(losses, "loss")
    _name(aurocs, "AUROC on valid")
    if (strengths > 0).all():
        aurocs.set_xscale("log")
    aurocs.invert_xaxis()
    aurocs.set_xlabel("strength of the penalty (l2): weaker to the right", color=INK)
    return figure


def _draw_losses(
    axes: Axes, history: pd.DataFrame, places: Numbers, markers: dict[str, Any], training_loss: str
) -> None:
    for column, name, colour in (
        ("train_loss", f"training: {training_loss}" if training_loss else "training", BLUE),
        ("valid_loss", "validation: plain cross-entropy", ORANGE),
    ):
        axes.plot(places, _numbers(history, column), color=colour, label=name, **markers)


def _numbers(history: pd.DataFrame, column: str) -> Numbers:
    return history[column].to_numpy(dtype=float)


def epochs_done(history: pd.DataFrame, validations: int | None = None) -> Numbers:
    """How many epochs of training were done at each row, with the fraction of the last one."""
    place = history.groupby("epoch").cumcount().to_numpy(dtype=float) + 1
    in_epoch = validations or place.max()
    done = _numbers(history, "epoch") - 1 + place / in_epoch
    whole = np.flatnonzero(place == in_epoch)
    if "step" in history and whole.size:
        # Validations are only nearly evenly spread where an epoch has few batches.
        steps = _numbers(history, "step")
        done = steps * done[whole[-1]] / steps[whole[-1]]
    return done


def _panel(axes: Axes, history: pd.DataFrame, done: Numbers) -> list[Patch]:
    """Make a panel ready, the phases behind it; the patches are for a legend."""
    make_plain(axes)
    axes.grid(True, color=GRID, linewidth=0.8)
    phases = history["phase"].astype(str).tolist()
    if len(set(phases)) < 2:
        return []
    starts = [0.0, *done[:-1]]
    for phase, start, end in zip(phases, starts, done, strict=True):
        axes.axvspan(start, end, color=PHASE_COLOURS.get(phase, "white"), zorder=0, linewidth=0)
    return [
        Patch(facecolor=colour, edgecolor=FAINT, linewidth=0.6, label=PHASES[phase])
        for phase, colour in PHASE_COLOURS.items()
        if phase in phases
    ]


def _name(axes: Axes, title: str, more: Sequence[Patch] = ()) -> None:
    """Name a panel above it at the left, and its lines at the right: never over the lines."""
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    shown, names = axes.get_legend_handles_labels()
    side_by_side = sum(map(len, names)) <= WIDEST_NAMES
    axes.legend(
        handles=[*shown, *more],
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.985),
        borderaxespad=0.2,
        ncols=len(shown) + len(more) or 1 if side_by_side else 1,
        fontsize=9,
        labelcolor=INK,
    )


def _draw_aurocs(axes: Axes, history: pd.DataFrame, done: Numbers, markers: dict[str, Any]) -> None:
    mean = _numbers(history, "valid_mean_auroc")
    if np.isnan(mean).all():
        text = "not defined: no label has both positive and negative images in valid"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=INK)
        axes.set_yticks([])
        return
    labels = label_columns(history)
    if 1 < len(labels) <= MOST_LABELS:
        alone = "." if len(history) == 1 else ""
        for number, label in enumerate(labels):
            name = "single labels" if number == 0 else None
            scores = _numbers(history, label)
            axes.plot(done, scores, color=FAINT, linewidth=0.8, marker=alone, label=name, zorder=2)
    axes.plot(done, mean, color=BLUE, linewidth=2, label="mean", zorder=3, **markers)


def label_columns(history: pd.DataFrame) -> list[str]:
    """The columns of a history that are labels."""
    columns = [str(column) for column in history.columns]
    return columns[columns.index(LAST_FIGURE) + 1 :] if LAST_FIGURE in columns else []


def _draw_rates_used(
    axes: Axes, history: pd.DataFrame, done: Numbers, markers: dict[str, Any]
) -> None:
    """The head's learning rate, and the body's where it moves and its rate is another."""
    head = _numbers(history, "lr")
    body = _numbers(history, "body_lr" if "body_lr" in history else "lr")
    body = np.where(history["phase"] == "head", np.nan, body)
    lines = [("head", head, BLUE), ("body", body, ORANGE)]
    if not (~np.isnan(body) & (body != head)).any():
        lines = [("_a single line needs no name", head, BLUE)]
    # A rate that stays for epochs and then falls was never in between.
    steady = len(head) == 1 or bool((np.diff(head) == 0).any())
    for name, rates, colour in lines:
        shown = np.where(rates > 0, rates, np.nan)
        if steady:
            _draw_steps(axes, done, shown, name, colour)
        else:
            axes.plot(done, shown, color=colour, label=name, **markers)
    positive = [rates[rates > 0] for _, rates, _ in lines if (rates > 0).any()]
    if positive:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        # A cosine ends at next to nothing, and the rest of it is what there is to see.
        lowest = min(rates.min() for rates in positive)
        shown_to = SHOWN_FALL * min(rates.max() for rates in positive)
        if not steady and lowest < shown_to:
            axes.set_ylim(bottom=shown_to)


def _draw_steps(axes: Axes, done: Numbers, rates: Numbers, name: str, colour: str) -> None:
    """A rate that changes between epochs: each row's held until that row, its value above it."""
    starts = [0.0, *done[:-1]]
    axes.plot([0.0, *done], [rates[0], *rates], color=colour, label=name, drawstyle="steps-pre")
    axes.margins(y=0.18)
    changed = [
        row for row, rate in enumerate(rates) if rate > 0 and (not row or rate != rates[row - 1])
    ]
    for row in changed if len(changed) <= MOST_LEVELS else ():
        place = (starts[row], rates[row])
        text = f"{rates[row]:.3g}"
        axes.annotate(text, place, (4, 3), textcoords="offset points", color=INK, fontsize=8)


def _mark_best(panels: Sequence[Axes], history: pd.DataFrame, done: Numbers, where: str) -> None:
    """Mark the validation with the best mean AUROC, whose weights a run keeps; `where` names it by
    what its row holds."""
    mean = _numbers(history, "valid_mean_auroc")
    if np.isnan(mean).all():
        return
    best = int(np.nanargmax(mean))
    for axes in panels:
        axes.axvline(done[best], **BEST_LINE)
    name = f"best: {mean[best]:.4f} {where.format(**history.iloc[best])}"
    panels[1].plot(done[best], mean[best], label=name, **BEST)


def draw_rates(
    rates: Sequence[float], losses: Sequence[float], suggestion: float | None, path: Path
) -> None:
    """Draw a learning-rate range test: each batch's loss against its rate, as a PNG.

    Args:
        rates: rising, above 0.
        losses: the batches' own, not smoothed; finite.
        suggestion: the rate to mark; None: there is none.
        path: where the picture goes.
    """
    rates_figure(rates, losses, suggestion).savefig(path, dpi=DOTS_PER_INCH, format="png")


def rates_figure(
    rates: Sequence[float], losses: Sequence[float], suggestion: float | None
) -> Figure:
    """The figure that `draw_rates` saves."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    make_plain(axes)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_xscale("log")
    smooth = smoothed(losses)
    axes.plot(rates, losses, color=FAINT, linewidth=1, label="each batch")
    axes.plot(rates, smooth, color=BLUE, linewidth=2, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, **BEST_LINE)
        height = np.interp(np.log(suggestion), np.log(rates), smooth)
        name = f"suggested: {suggestion:.1e}"
        axes.plot(suggestion, height, label=name, **BEST)
    axes.set_ylim(*_shown_losses(smooth, np.array(losses)))
    axes.set_xlabel("learning rate", color=INK)
    _name(axes, "loss")
    return figure


def smoothed(losses: Sequence[float]) -> Numbers:
    """The exponential moving average of losses, its start corrected for having no past."""
    average, averages = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages.append(average / (1 - SMOOTHING**number))
    return np.array(averages, dtype=float)


def _shown_losses(smooth: Numbers, losses: Numbers) -> tuple[float, float]:
    """The range to show: the fall in full, and of the explosion at the end only the beginning."""
    until = int(np.argmin(smooth)) + 1
    bottom, top = float(losses[:until].min()), float(losses[:until].max())
    room = 0.08 * max(top - bottom, 0.1 * abs(top), 1e-6)
    return bottom - room, top + 4 * room
