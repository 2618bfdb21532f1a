"""Where the model was most wrong: the worst misses and false alarms of each label.

CLAIM asks for an analysis of failures. The page names no patient and no file: a row of the table of
predictions, which only its owner has, is where one can be found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import BOTH
from cxrtool.core.numbers import number_pair
from cxrtool.evaluation.result import LabelScores
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.scoring import Scored

MOST = 3
"""Of each kind a label."""
Key = tuple[str, str]
"""A patient, and what a row is called."""
Lines = Mapping[Key, Sequence[int]]
"""Of a patient and what a row is called, the lines of its images in the table of predictions."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One row that was called wrongly."""

    score: str
    threshold: str
    """Both with so many digits that they differ."""
    groups: Mapping[str, str]
    """The groups that it is in, by their columns."""
    lines: Sequence[int]
    """Where the table of predictions has it; empty: not known."""
    pictures: Sequence[str] = ()
    """Its images as `data:` addresses, where they were asked for."""


@dataclass(frozen=True, kw_only=True)
class LabelFailures:
    """One label's."""

    label: str
    misses: Sequence[Failure]
    """Positives with the lowest scores, one a patient."""
    false_alarms: Sequence[Failure]
    """Negatives with the highest."""
    missed: int
    alarmed: int
    """How many there are in all."""


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Those of all labels that have a threshold and enough patients."""

    labels: Sequence[LabelFailures]
    left_out: Sequence[str]
    """The labels that have not."""
    columns: tuple[str, ...]
    """What the groups are of; the intersections say nothing new of a row."""
    table: str
    """The name of the table of predictions; empty: not known."""
    shown: bool = False
    """Whether there are pictures: then the page shows patients."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where an evaluation's rows can be found again."""

    lines: Lines = field(default_factory=dict)
    """In the table of predictions."""
    table: str = ""
    """That table's name; empty: not known."""
    pictures: Callable[[Key], Sequence[str]] | None = None
    """Makes a row's images `data:` addresses; None: no pictures."""


NOWHERE = Sources()


def worst_failures(scored: Scored, sources: Sources = NOWHERE) -> Failures:
    """The worst misses and false alarms of an evaluation, at most `MOST` of each kind a label.

    Args:
        scored: the evaluation.
        sources: where its rows are.
    """
    sample, result = scored.sample, scored.result
    columns = tuple(name for name in sample.groups if BOTH not in name)
    found, left_out = [], []
    for at, (label, scores) in enumerate(result.labels.items()):
        if scores.threshold is None or scores.too_few:
            left_out.append(label)
            continue
        found.append(_of_label(sample, at, scores, columns, sources))
    return Failures(
        labels=found,
        left_out=left_out,
        columns=columns,
        table=sources.table,
        shown=sources.pictures is not None,
    )


def _of_label(
    sample: Sample, at: int, scores: LabelScores, columns: Sequence[str], sources: Sources
) -> LabelFailures:
    assert scores.threshold is not None
    positive, score, mask = sample.column(at)
    called = score >= scores.threshold
    missed = np.flatnonzero(mask & positive & ~called)
    alarmed = np.flatnonzero(mask & ~positive & called)
    return LabelFailures(
        label=sample.labels[at],
        misses=[
            _failure(sample, row, at, scores.threshold, columns, sources)
            for row in _worst(missed, score[missed], sample.patients)
        ],
        false_alarms=[
            _failure(sample, row, at, scores.threshold, columns, sources)
            for row in _worst(alarmed, -score[alarmed], sample.patients)
        ],
        missed=len(missed),
        alarmed=len(alarmed),
    )


def _worst(
    rows: NDArray[np.intp], order: NDArray[np.float64], patients: NDArray[np.str_]
) -> list[int]:
    """The first rows in an order, no patient twice."""
    found: list[int] = []
    seen: set[str] = set()
    for row in rows[np.argsort(order, kind="stable")].tolist():
        if patients[row] not in seen:
            seen.add(patients[row])
            found.append(row)
        if len(found) == MOST:
            break
    return found


def _failure(
    sample: Sample, row: int, at: int, threshold: float, columns: Sequence[str], sources: Sources
) -> Failure:
    score, shown = number_pair(float(sample.scores[row, at]), threshold)
    key = (str(sample.patients[row]), str(sample.keys[row]))
    return Failure(
        score=score,
        threshold=shown,
        groups={name: str(sample.groups[name][row]) for name in columns},
        lines=sources.lines.get(key, ()),
        pictures=() if sources.pictures is None else sources.pictures(key),
    )
