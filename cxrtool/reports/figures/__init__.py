"""Pictures of an evaluation: a panel a label of what the scores are worth, drawn and not computed.

Every `draw_*` writes a PNG, every `*_figure` builds what it writes.

Raised by all: `UsageError` where there is nothing to draw.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cxrtool.core.numbers import Interval
from cxrtool.core.plotting import DOTS_PER_INCH
from cxrtool.reports.figures.curves import (
    distributions_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from cxrtool.reports.figures.forest import comparison_figure, forest_figure
from cxrtool.reports.figures.series import Curve, ForestRow, Reliability, Scores

__all__ = [
    "Curve",
    "ForestRow",
    "Interval",
    "Reliability",
    "Scores",
    "comparison_figure",
    "distributions_figure",
    "draw_comparison",
    "draw_distributions",
    "draw_forest",
    "draw_precision_recall",
    "draw_reliability",
    "draw_roc",
    "forest_figure",
    "precision_recall_figure",
    "reliability_figure",
    "roc_figure",
]


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
