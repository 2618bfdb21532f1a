"""Tables of predictions: a row an image, a probability a label, what is positive, what failed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cxrtool.core.csv_tables import line_numbers, read_table
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.logits import logits_of, probabilities_of, rows_apart
from cxrtool.data.prediction_rows import Row, decide, header, logit_column


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A run's table of predictions, indexed by `path`."""

    scores: pd.DataFrame
    """(n, labels) float64 probabilities."""
    logits: pd.DataFrame
    """(n, labels) float64: what ranks are taken from."""

    def of(self, paths: Sequence[str]) -> "Predictions":
        """Those of some paths, in that order."""
        wanted = list(paths)
        return Predictions(scores=self.scores.loc[wanted], logits=self.logits.loc[wanted])


def rows_of(
    paths: Sequence[str],
    logits: ArrayLike,
    labels: Sequence[str],
    thresholds: Mapping[str, float | None],
) -> Iterator[Row]:
    """Rows of images that were all scored: (n, labels) logits."""
    values = np.asarray(logits, np.float64)
    scores = probabilities_of(values)
    for path, found, of_found in zip(paths, scores.tolist(), values.tolist(), strict=True):
        positive = decide(found, labels, thresholds)
        yield Row(path=path, scores=tuple(found), logits=tuple(of_found), positive=positive)


def frame_of_rows(rows: Iterable[Row], labels: Sequence[str]) -> pd.DataFrame:
    """Rows as a table; one with an error has NaN scores (float64) and no decision."""
    known = list(rows)
    judged = any(row.verdicts is not None for row in known)
    columns = header(labels, verdicts=judged, more=tuple(known[0].more) if known else ())
    frame = pd.DataFrame([row.as_json(labels) for row in known], columns=columns)
    return frame.astype(dict.fromkeys(labels, np.float64))


def predictions_of(rows: Sequence[Row], labels: Sequence[str]) -> Predictions:
    """The predictions of rows that were all scored, with their logits."""
    index = pd.Index([row.path for row in rows])
    scores, logits = (
        pd.DataFrame([getattr(row, name) for row in rows], index, list(labels), np.float64)
        for name in ("scores", "logits")
    )
    return Predictions(scores=scores, logits=logits)


def read_predictions(path: Path, labels: Sequence[str]) -> Predictions:
    """A run's table of predictions.

    Tables of version 0.1 hold no logits: there they are those of the probabilities, which gives
    the same ranks.

    Raises:
        DataError: a label's column is missing, a cell is no finite number, a path stands twice, or
            a probability is not its logit's.
    """
    frame = read_table(path, ("path", *labels))
    scores = _finite(frame, list(labels), path)
    columns = [logit_column(label) for label in labels]
    lacking = [column for column in columns if column not in frame]
    if not lacking:
        logits = _finite(frame, columns, path)
        apart = rows_apart(logits, scores)
        if apart.any():
            raise DataError(
                f"{path}: {apart.sum()} rows have probabilities that are not those of their logits "
                f"(lines {first_few(line_numbers(apart))}): it was edited"
            )
    elif len(lacking) == len(columns):
        logits = logits_of(scores)
    else:
        raise DataError(f"{path} lacks the columns {first_few(lacking)}: it was edited")
    index = pd.Index(frame["path"])
    if index.has_duplicates:
        twice = index[index.duplicated()].tolist()
        raise DataError(f"{path}: {len(twice)} paths are given twice ({first_few(twice)})")
    return Predictions(
        scores=pd.DataFrame(scores, index, list(labels)),
        logits=pd.DataFrame(logits, index, list(labels)),
    )


def _finite(frame: pd.DataFrame, columns: list[str], path: Path) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = (
        frame[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    )
    bad: NDArray[np.bool_] = np.logical_or.reduce(~np.isfinite(numbers), axis=1)
    if bad.any():
        raise DataError(
            f"{path}: {bad.sum()} rows have scores that are not numbers "
            f"(lines {first_few(line_numbers(bad))})"
        )
    return numbers
