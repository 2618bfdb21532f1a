"""Tables of predictions: a row an image, a probability a label, what is positive, what failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.errors import DataError, first_few
from cxrtool.tables import line_numbers, read_table

AFTER = ("positive", "warning", "error")
"""The columns after the labels."""
SEPARATOR = ";"

Thresholds = Mapping[str, float | None]


def decisions(
    scores: NDArray[np.floating], labels: Sequence[str], thresholds: Thresholds
) -> NDArray[np.bool_]:
    """Which of (n, labels) scores are at or over their label's threshold; none without one."""
    limits = [thresholds[label] for label in labels]
    numbers = np.array([np.inf if limit is None else limit for limit in limits])
    decided: NDArray[np.bool_] = scores.astype(np.float64) >= numbers
    return decided


def prediction_frame(
    paths: Sequence[str],
    scores: NDArray[np.floating],
    labels: Sequence[str],
    thresholds: Thresholds,
    *,
    warnings: Sequence[str] | None = None,
    errors: Sequence[str] | None = None,
) -> pd.DataFrame:
    """A table of predictions; a row with an error has NaN scores and no decision.

    Args:
        paths: (n,) as the rows shall name them.
        scores: (n, labels) probabilities.
        labels: the columns' names.
        thresholds: each label's, or None.
        warnings: (n,) what is odd about each image; nothing by default.
        errors: (n,) why each image has no scores; nothing by default.
    """
    positive = decisions(scores, labels, thresholds)
    names = np.array(labels, dtype=object)
    frame = pd.DataFrame({"path": list(paths)})
    frame[list(labels)] = scores
    frame["positive"] = [SEPARATOR.join(names[row]) for row in positive]
    frame["warning"] = list(warnings) if warnings is not None else ""
    frame["error"] = list(errors) if errors is not None else ""
    return frame


def format_scores(frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The table with its scores as text, with as many digits as are read back exactly.

    Nine for float32; calibrated scores are float64, since two that are as close as float32 knows
    may be closer afterwards.
    """
    written = frame.copy()
    for label in labels:
        values = frame[label].to_numpy()
        digits = 9 if values.dtype == np.float32 else 17
        written[label] = ["" if value != value else f"{value:.{digits}g}" for value in values]
    return written


def read_scores(path: Path, labels: Sequence[str]) -> pd.DataFrame:
    """The scores of a table of predictions, indexed by `path`, as float32.

    Raises:
        DataError: a label's column is missing, a cell is no finite number, a path stands twice.
    """
    frame = read_table(path, ("path", *labels))
    scores = frame[list(labels)].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    assert isinstance(scores, pd.DataFrame)
    bad = ~np.isfinite(scores.to_numpy()).all(axis=1)
    if bad.any():
        raise DataError(
            f"{path}: {bad.sum()} rows have scores that are not numbers "
            f"(lines {first_few(line_numbers(bad))})"
        )
    scores.index = pd.Index(frame["path"])
    if scores.index.has_duplicates:
        twice = scores.index[scores.index.duplicated()].tolist()
        raise DataError(f"{path}: {len(twice)} paths are given twice ({first_few(twice)})")
    return scores
