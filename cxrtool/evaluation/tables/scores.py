"""Anybody's table of scores: which columns are what, and where in the truth its rows are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.csv_tables import FIRST_ROW
from cxrtool.core.errors import DataError, counted, first_few, unknown_name
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.logits import rows_apart
from cxrtool.data.prediction_rows import logit_column
from cxrtool.evaluation.tables.columns import may_be_label, named_columns, other_names, read_columns
from cxrtool.evaluation.tables.keys import (
    IMAGE,
    KNOWN,
    STUDY,
    KeyColumn,
    Rows,
    fold,
    key_columns,
    key_name,
)
from cxrtool.evaluation.tables.rows import Pair, Side, choose_pair
from cxrtool.evaluation.tables.truth import TruthTable

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """A table of scores, and where in the truth its rows are."""

    path: Path
    unit: str
    """What a row is: "image" or "study"."""
    keys: list[str]
    """(n,) CheXpert's paths from the patient on."""
    labels: tuple[str, ...]
    """Those that the truth has too, in its order."""
    scores: Scores
    """(n, labels) finite, of any range."""
    logits: Scores | None
    """(n, labels) whose probabilities the scores are, where the table has them too."""
    ignored: tuple[str, ...]
    """Columns that are no labels."""
    rows: Rows
    """(n,) the truth's row of each, or the first of its study; -1 where the truth has none."""
    by: str
    """What the keys are of that found the rows: "image" or "study"."""
    failed: int
    """Rows left out because they have an error and no scores."""
    notes: tuple[str, ...]
    """What the user should know of how it was read."""


def read_score_table(path: Path, truth: TruthTable, key: str | None = None) -> ScoreTable:
    """Read a table of scores, a CSV or a gzipped one, and find its rows in the truth by `key`.

    `key` is as `--key` takes it; where it is None, the columns that fit are taken.

    Raises:
        DataError: the file cannot be read, no label or key is the truth's, a column may be an
            unknown label, scores are no finite numbers, or keys are blank or given twice.
        UsageError: `key` is no column.
    """
    frame, notes = read_columns(path)
    columns = [str(column) for column in frame.columns]
    name = key_name(key, columns, path, truth=False)
    named = _shared_labels(columns, name, truth, path)
    odds = {label: logit_column(column) for label, column in named.items()}
    ours = {logit_column(column) for column in columns}
    rest = [name for name in columns if name not in named.values() and name not in ours]
    beyond = _refuse_unknown(frame[rest], name, truth, path)
    scores, failed = _scores(frame, named, path)
    side = Side(path=path, columns=_score_keys(frame[rest], name, truth), key=name, names=columns)
    pair = choose_pair(side, truth.side)
    logits, odd = _logits(frame, odds, scores, path)
    notes += odd
    notes += other_names(named, path) + _table_notes(path, truth, named, beyond, failed)
    if pair.place.how:
        notes.append(f"{path.name}: its rows were found in the truth by {pair.place.how}")
    return ScoreTable(
        path=path,
        unit=_unit(pair, truth),
        keys=list((pair.mine.normal if pair.mine.images is None else pair.mine.images)[~failed]),
        labels=tuple(named),
        scores=scores[~failed],
        logits=None if logits is None else logits[~failed],
        ignored=tuple(rest),
        rows=pair.place.rows[~failed],
        by=pair.theirs.unit,
        failed=int(failed.sum()),
        notes=tuple(notes),
    )


def _unit(pair: Pair, truth: TruthTable) -> str:
    """What a row of the scores is."""
    if pair.mine.images is not None or not pair.mine.unique:
        return IMAGE
    return IMAGE if truth.unit == pair.theirs.unit == IMAGE else STUDY


def _shared_labels(
    columns: Sequence[str], key: str | None, truth: TruthTable, path: Path
) -> dict[str, str]:
    found = named_columns(truth.labels, [name for name in columns if name != key], path)
    if not found:
        raise DataError(
            f"{path} and {truth.path} have no label in common: {path.name} has the columns "
            f"{first_few(columns, 30)}, the truth the labels {first_few(truth.labels, 30)}"
        )
    return {label: found[label] for label in truth.labels if label in found}


def _refuse_unknown(
    frame: pd.DataFrame, key: str | None, truth: TruthTable, path: Path
) -> list[str]:
    """CheXpert's labels that the truth lacks; refuses columns that may be labels by another name.

    Raises:
        DataError: it names the columns and what they may mean.
    """
    chexpert = {fold(label): label for label in CHEXPERT_LABELS}
    theirs = {fold(name) for name in truth.side.names}
    beyond, unknown = [], []
    for column in map(str, frame.columns):
        if column == key or fold(column) in theirs:
            continue
        if fold(column) in chexpert:
            beyond.append(chexpert[fold(column)])
        elif may_be_label(column):
            unknown += [column] * _is_numeric(frame[column])
    if unknown:
        told = "\n".join(unknown_name("label", name, truth.labels) for name in unknown)
        raise DataError(
            f"{path} has {counted(len(unknown), 'column')} of numbers by names that are no label "
            f"of {truth.path}: "
            f"rename or remove them\n{told}"
        )
    return beyond


def _is_numeric(cells: "pd.Series[str]") -> bool:
    filled = cells[cells.str.strip() != ""]
    return len(filled) > 0 and bool(pd.to_numeric(filled, errors="coerce").notna().all())


def _score_keys(frame: pd.DataFrame, key: str | None, truth: TruthTable) -> list[KeyColumn]:
    """Columns with a name that keys have, and others that are the truth's by name."""
    theirs = {fold(column.name) for column in truth.side.columns}
    names = [str(column) for column in frame.columns]
    known = [name for name in names if fold(name) in theirs | set(KNOWN) or name == key]
    return key_columns(frame, known)


def _scores(
    frame: pd.DataFrame, named: dict[str, str], path: Path
) -> tuple[Scores, NDArray[np.bool_]]:
    """(n, labels) scores, and which rows have an error and none.

    Raises:
        DataError: other cells are blank, infinite or no numbers: it names lines and columns.
    """
    scores = np.column_stack([_numbers(frame[column]) for column in named.values()])
    bad = ~np.isfinite(scores)
    errors = np.zeros(len(frame), dtype=bool)
    if "error" in frame:
        errors = (frame["error"].str.strip() != "").to_numpy(dtype=bool)
    columns, told = list(named.values()), []
    blank = {"", "nan"}
    for row, column in np.argwhere(bad):
        cell = str(frame[columns[column]].iloc[row]).strip()
        if not (errors[row] and cell.lower() in blank):
            told.append(f"line {row + FIRST_ROW}, {columns[column]}: {cell or 'blank'}")
    if told:
        raise DataError(
            f"{path}: no finite number in {counted(len(told), 'cell')} of scores "
            f"({first_few(told)}): correct them, or remove the rows"
        )
    return scores, errors & bad.any(axis=1)


def _logits(
    frame: pd.DataFrame, columns: dict[str, str], scores: Scores, path: Path
) -> tuple[Scores | None, list[str]]:
    """(n, labels) the logits of the scores, and what is told of those that are none."""
    if not all(column in frame for column in columns.values()):
        return None, []
    logits = np.column_stack([_numbers(frame[column]) for column in columns.values()])
    known = np.isfinite(scores).all(axis=1)
    if rows_apart(logits[known], scores[known]).any():
        return None, [f"{path.name}: its logits are not those of its scores: they are left out"]
    return logits, []


def _numbers(cells: "pd.Series[str]") -> Scores:
    """Text as numbers, NaN for what is none."""
    texts = cells.to_numpy(dtype=object)
    try:
        return texts.astype(np.float64)
    except ValueError:  # some cell is none: the slow way
        return np.array([_number(text) for text in texts])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _table_notes(
    path: Path,
    truth: TruthTable,
    named: dict[str, str],
    beyond: Sequence[str],
    failed: NDArray[np.bool_],
) -> list[str]:
    notes = []
    lacking = [label for label in truth.labels if label not in named]
    if lacking:
        notes.append(f"{path.name} has no predictions of {first_few(lacking, 14)}")
    if beyond:
        notes.append(f"{path.name} predicts {first_few(beyond, 14)}: the truth has no such label")
    if failed.any():
        notes.append(
            f"{path.name}: {failed.sum()} rows have an error and no scores: they count as missing"
        )
    return notes
