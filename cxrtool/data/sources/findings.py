"""How a table writes findings: a column each, or a list of what is there; and CheXpert's names."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.csv_tables import need_columns
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.label_names import match_labels, spelling
from cxrtool.data.labels import CHEXPERT_LABELS, NEGATIVE, POSITIVE, UNCERTAIN
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rows import Labels, Lines, label_cells, places


@dataclass(frozen=True, kw_only=True)
class Found:
    """A table's findings."""

    names: tuple[str, ...]
    """By the data set's own names."""
    values: Labels
    """(rows, names) 1, 0, -1, and NaN where nothing is known."""
    bad: NDArray[np.bool_]
    """(rows,) which rows have cells that cannot be read; they are noted."""
    columns: tuple[str, ...]
    """Of the table, which were read for them."""


class Findings(Protocol):
    """How a table writes findings."""

    def read(self, frame: pd.DataFrame, path: Path | Lines, problems: Problems) -> Found:
        """The findings of each row of a table of text.

        Raises:
            DataError: the table has no column for them.
        """


@dataclass(frozen=True)
class FindingColumns:
    """A column for each finding, of 1, 0, -1 and blank, or in words (`YES`, `False`).

    Those are read that are there: releases differ.
    """

    names: tuple[str, ...]

    def read(self, frame: pd.DataFrame, path: Path | Lines, problems: Problems) -> Found:
        """As `Findings.read`."""
        there = match_labels(self.names, frame.columns, path.name)
        if not there:
            raise DataError(
                f"{path.name} has no column of a finding ({first_few(self.names, 30)}): "
                f"its columns are {first_few(list(frame.columns), 30)}"
            )
        values, bad = label_cells(frame, list(there.values()), path, problems)
        return Found(names=tuple(there), values=values, bad=bad, columns=tuple(there.values()))


@dataclass(frozen=True, kw_only=True)
class FindingList:
    """A column that lists what is there (`Mass|Nodule`); what it does not list is absent."""

    column: str
    split: Callable[[str], Sequence[str] | None]
    """A cell's names; None where it cannot be read."""
    known: tuple[str, ...] | None = None
    """All the names there are, in their order; None: whatever the table lists."""
    always: tuple[str, ...] = ()
    """Names that are absent, not unknown, where no row of the table lists them."""
    other_spellings: Mapping[str, str] | None = None
    """What else is written for a known name, as `label_names.spelling` has it."""
    none: Collection[str] = ()
    """Names that are no findings: with these alone nothing is known of an image."""

    def read(self, frame: pd.DataFrame, path: Path | Lines, problems: Problems) -> Found:
        """As `Findings.read`. A row that lists an unknown name, or no finding at all, is bad."""
        need_columns(frame, [self.column], path.name)
        # Hundreds of thousands of rows have some thousand different texts: each is read once.
        codes, texts = pd.factorize(frame[self.column].str.strip().to_numpy())
        listed = [self._listed(str(text)) for text in texts]
        occurring = {name for one in listed for name in one or ()}
        names = self.known or tuple(sorted(occurring.union(self.always)))
        column = {name: at for at, name in enumerate(names)}
        strange = np.array([one is None or not column.keys() >= set(one) for one in listed])
        empty = np.array([one is not None and not one for one in listed])
        self._note("label value", (strange & ~empty)[codes], frame, path, problems)
        self._note("no labels", empty[codes], frame, path, problems)
        values = np.full((len(texts), len(names)), NEGATIVE, dtype=np.float32)
        for row in np.flatnonzero(~(strange | empty)):
            values[row, [column[name] for name in listed[row] or ()]] = POSITIVE
        return Found(
            names=names,
            values=values[codes],
            bad=(strange | empty)[codes],
            columns=(self.column,),
        )

    def _listed(self, text: str) -> list[str] | None:
        given = self.split(text)
        if given is None:
            return None
        bare = [name.strip() for name in given]
        return [self._named(name) for name in bare if name not in self.none]

    def _named(self, name: str) -> str:
        same = {spelling(one): one for one in self.known or ()} | dict(self.other_spellings or {})
        return same.get(spelling(name), name)

    def _note(
        self,
        kind: str,
        rows: NDArray[np.bool_],
        frame: pd.DataFrame,
        path: Path | Lines,
        problems: Problems,
    ) -> None:
        detail = [f"{self.column}: {text!r}" for text in frame[self.column][rows]]
        problems.add(kind, places(path, rows), detail, kept=False)


def as_chexpert(found: Found, meaning: Mapping[str, Collection[str]]) -> Found:
    """The same under CheXpert's 14 names; a label that the data set knows nothing of is NaN.

    Several findings may be one label: it is there where any of them is, uncertain where none is
    and any may be, and absent where one is said to be absent.

    Args:
        found: by the data set's own names.
        meaning: for each of CheXpert's labels, which of them it is. Others are left.
    """
    values = np.full((len(found.values), len(CHEXPERT_LABELS)), np.nan, dtype=np.float32)
    for at, label in enumerate(CHEXPERT_LABELS):
        own = [n for n, name in enumerate(found.names) if name in meaning.get(label, ())]
        for answer in (NEGATIVE, UNCERTAIN, POSITIVE):
            values[(found.values[:, own] == answer).any(axis=1), at] = answer
    return replace(found, names=CHEXPERT_LABELS, values=values)
