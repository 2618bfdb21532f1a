"""Pictures of an evaluation: a panel a label of what the scores are worth, drawn and not computed.

Every `*_figure` raises `UsageError` where there is nothing to draw.
"""

from pathlib import Path

from matplotlib.figure import Figure

from cxrtool.core.files import whole_file
from cxrtool.core.plotting import DOTS_PER_INCH
from cxrtool.reports.figures.curves import (
    distributions_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from cxrtool.reports.figures.forest import comparison_figure, forest_figure
from cxrtool.reports.figures.series import Curve, Reliability, Scores

__all__ = [
    "Curve",
    "Reliability",
    "Scores",
    "comparison_figure",
    "distributions_figure",
    "forest_figure",
    "precision_recall_figure",
    "reliability_figure",
    "roc_figure",
    "save_figure",
]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png")
