"""Tables of predictions: a row an image, a probability a label, what is positive, what failed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrtool.errors import DataError, first_few
from cxrtool.prediction_rows import Row, header
from cxrtool.tables import line_numbers, read_table


def frame_of_rows(rows: Iterable[Row], labels: Sequence[str], *, exact: bool) -> pd.DataFrame:
    """Rows as a table; one with an error has NaN scores and no decision.

    Args:
        rows: in the order wanted.
        labels: the columns' names.
        exact: whether scores are float64, and not float32.
    """
    frame = pd.DataFrame([row.as_json(labels) for row in rows], columns=header(labels))
    return frame.astype(dict.fromkeys(labels, np.float64 if exact else np.float32))


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
