"""One truth and some tables of scores, row beside row: what is in all of them, image or study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError, counted, first_few, unknown_name
from cxrtool.data.labels import MAJORITY, UNCERTAIN
from cxrtool.evaluation.sample import AGGREGATES, combine_logits, combine_scores
from cxrtool.evaluation.tables.keys import IMAGE, STUDY, Rows
from cxrtool.evaluation.tables.scores import Scores, ScoreTable
from cxrtool.evaluation.tables.truth import TruthTable

BLANK, OVER_HALF = np.float32(-1), np.nextafter(np.float32(MAJORITY), np.float32(1))
"""How strong a label is that is blank, and one that is uncertain, among those from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The rows and labels that a truth and all tables of scores have, in the truth's order."""

    keys: list[str]
    """(n,)"""
    unit: str
    """What a row is: "image" or "study"."""
    aggregate: str | None
    """How a study's score was made of its images'; None where no table has images of studies."""
    labels: tuple[str, ...]
    rows: Rows
    """(n,) rows of the truth; where its images became studies, the first image of each."""
    raw: NDArray[np.float32]
    """(n, labels) the truth: 1, 0, -1, and NaN for a blank; or shares of readers."""
    whole: NDArray[np.float32]
    """(n, all labels of the truth) the same with those that not all tables have."""
    patients: NDArray[np.str_]
    """(n,)"""
    about: pd.DataFrame
    """(n, *) as of the truth; blank (an age NaN) where a study's images differ."""
    scores: list[Scores]
    """(n, labels) of each table."""
    logits: list[Scores | None]
    """(n, labels) of each table that has them, of the same."""
    missing: dict[str, int]
    """By each table's path: how many of the truth's images or studies it has no scores of."""
    extra: dict[str, int]
    """By each table's path: how many of its rows the truth has nothing of."""
    notes: list[str]
    """What was left out, combined or ignored, in sentences."""


def match_scores(
    truth: TruthTable, tables: Sequence[ScoreTable], aggregate: str = "mean"
) -> Matched:
    """Set the rows of some tables of scores beside the truth's.

    Rows and labels count that are in all of them. Where the truth or a table has studies only,
    all become studies: a study's score is the `aggregate` ("mean" or "max") of its images' that
    the truth has, and its label the first that an image has of positive, uncertain, negative and
    blank.

    Raises:
        DataError: no row or no label is in all of them.
        UsageError: there is no such aggregate, or no table.
    """
    if aggregate not in AGGREGATES:
        raise UsageError(unknown_name("aggregate", aggregate, AGGREGATES))
    if not tables:
        raise UsageError("there is no table of predictions: give at least one --predictions")
    labels = _shared(truth, tables)
    unit, groups, keys = _groups(truth, tables)
    first = np.unique(groups, return_index=True)[1]
    size = len(first)
    both = [_of_table(table, labels, groups, size, aggregate) for table in tables]
    combined, logits = [scores for scores, _ in both], [known for _, known in both]
    there = np.array([~np.isnan(scores[:, 0]) for scores in combined])
    present: NDArray[np.bool_] = np.logical_and.reduce(there)
    if not present.any():
        raise DataError(_none_left(truth, tables, unit))
    columns = [truth.labels.index(label) for label in labels]
    raw, differ = _combine_truth(truth.raw[:, columns], groups)
    studies = unit == STUDY and any(table.unit == IMAGE for table in tables)
    paths = [str(table.path) for table in tables]
    return Matched(
        keys=[keys[group] for group in np.flatnonzero(present)],
        unit=unit,
        aggregate=aggregate if studies else None,
        labels=labels,
        rows=first[present],
        raw=raw[present],
        whole=_combine_truth(truth.raw, groups)[0][present],
        patients=truth.patients[first[present]],
        about=_about(truth.about, groups, first).loc[present].reset_index(drop=True),
        scores=[scores[present] for scores in combined],
        logits=[None if values is None else values[present] for values in logits],
        missing=dict(zip(paths, (~there).sum(axis=1).tolist(), strict=True)),
        extra=dict(zip(paths, [_extra(table) for table in tables], strict=True)),
        notes=[
            *truth.notes,
            *(note for table in tables for note in table.notes),
            *_left_out(truth, tables, unit, there),
            *_combined_notes(truth, tables, unit, aggregate, int(differ[present].sum())),
        ],
    )


def _of_table(
    table: ScoreTable,
    labels: Sequence[str],
    groups: Rows,
    size: int,
    aggregate: str,
) -> tuple[Scores, Scores | None]:
    """A table's scores of each group and label, and their logits where the table has them."""
    columns = [table.labels.index(label) for label in labels]
    scores = _combine(combine_scores, table.scores[:, columns], table, groups, size, aggregate)
    if table.logits is None:
        return scores, None
    known = table.logits[:, columns]
    return scores, _combine(combine_logits, known, table, groups, size, aggregate)


def _extra(table: ScoreTable) -> int:
    return int((table.rows < 0).sum())


def _shared(truth: TruthTable, tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    labels = tuple(label for label in truth.labels if all(label in t.labels for t in tables))
    if not labels:
        told = "; ".join(f"{table.path} has {first_few(table.labels, 14)}" for table in tables)
        raise DataError(f"no label is in all tables of predictions: {told}")
    return labels


def _groups(truth: TruthTable, tables: Sequence[ScoreTable]) -> tuple[str, Rows, list[str]]:
    """The unit; the number of the image or study that each of the truth's rows is of; its key."""
    coarse = any(table.by == STUDY for table in tables)
    if truth.unit == STUDY or not coarse:
        return truth.unit, np.arange(len(truth.keys)), truth.keys
    assert truth.studies is not None  # a table was found by them
    codes, names = pd.factorize(truth.studies.astype(object))
    return STUDY, codes.astype(np.int64), list(names)


def _combine(
    combine: Callable[[Scores, Rows, int, str], Scores],
    values: Scores,
    table: ScoreTable,
    groups: Rows,
    size: int,
    aggregate: str,
) -> Scores:
    """(size, labels) a table's scores or logits by group, NaN where it has none."""
    combined = np.full((size, values.shape[1]), np.nan)
    rows = np.flatnonzero(table.rows >= 0)
    # By key, so that another order of the table's rows gives the same sums.
    keys = np.array(table.keys, dtype=object)[rows].astype(np.str_)
    rows = rows[np.argsort(keys, kind="stable")]
    found, of = np.unique(groups[table.rows[rows]], return_inverse=True)
    if len(found):
        combined[found] = combine(values[rows], of, len(found), aggregate)
    return combined


def _combine_truth(
    raw: NDArray[np.float32], groups: Rows
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(groups, labels) the strongest label of each group; and in which groups rows differ.

    Of shares of readers the greatest; uncertain comes after one half, and blank before all.
    """
    strength = np.where(np.isnan(raw), BLANK, np.where(raw == UNCERTAIN, OVER_HALF, raw))
    order = np.argsort(groups, kind="stable")
    starts = np.unique(groups[order], return_index=True)[1]
    highest = np.maximum.reduceat(strength[order], starts, axis=0)
    lowest = np.minimum.reduceat(strength[order], starts, axis=0)
    strongest = np.where(highest == BLANK, np.float32(np.nan), highest)
    strongest[highest == OVER_HALF] = UNCERTAIN
    return strongest, (highest != lowest).any(axis=1)


def _about(about: pd.DataFrame, groups: Rows, first: Rows) -> pd.DataFrame:
    """What is said of each group's first row, blank where its other rows say something else."""
    chosen = about.iloc[first].reset_index(drop=True)
    if len(first) == len(groups):
        return chosen
    for column in about.columns:
        codes = pd.factorize(about[column].to_numpy())[0]
        other = np.zeros(len(first), dtype=bool)
        other[groups[codes != codes[first][groups]]] = True
        chosen.loc[other, column] = np.nan if chosen[column].dtype.kind == "f" else ""
    return chosen


def _none_left(truth: TruthTable, tables: Sequence[ScoreTable], unit: str) -> str:
    if len(tables) == 1:
        return f"{tables[0].path} has no scores of any {unit} of {truth.path}: all rows failed"
    told = "; ".join(f"{table.path} has {table.keys[:1]}" for table in tables)
    return f"no {unit} of {truth.path} is in all tables of predictions: {told}"


def _left_out(
    truth: TruthTable, tables: Sequence[ScoreTable], unit: str, there: NDArray[np.bool_]
) -> list[str]:
    """Notes of what is not in both; `there` (tables, images or studies) says which has what."""
    notes = []
    for table, has in zip(tables, there, strict=True):
        lacks, more = int((~has).sum()), _extra(table)
        if lacks:
            notes.append(
                f"{table.path.name} has no scores of {lacks:,} of {counted(len(has), unit)} of "
                f"{truth.path.name}: they are left out"
            )
        if more:
            notes.append(
                f"{truth.path.name} does not have {more:,} of {counted(len(table.keys), 'row')} of "
                f"{table.path.name}: they are left out"
            )
    if len(tables) > 1 and not there.all():
        shared = int(there.all(axis=0).sum())
        notes.append(f"only what is in all tables counts: {counted(shared, unit)}")
    return notes


def _combined_notes(
    truth: TruthTable, tables: Sequence[ScoreTable], unit: str, aggregate: str, differ: int
) -> list[str]:
    if unit == IMAGE:
        return []
    notes = [
        f"{table.path.name}: a study's score is the {aggregate} of its images'"
        for table in tables
        if table.unit == IMAGE
    ]
    if truth.unit == IMAGE:
        told = f", as in {counted(differ, 'study')} a positive label goes before" if differ else ""
        told += " an uncertain one, a negative one and a blank" if differ else ""
        notes.append(f"{truth.path.name}: its images count as studies{told}")
    return notes
