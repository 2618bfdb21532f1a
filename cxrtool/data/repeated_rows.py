"""Rows of a table that name the same thing, and whether they say the same of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, counted, first_few

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class RepeatedRows:
    """The rows whose name several rows have; a group has one name."""

    rows: NDArray[np.intp]
    """(m,) those of a group together, in the table's order."""
    starts: NDArray[np.intp]
    """(groups,) where in `rows` each group begins."""

    @classmethod
    def of(cls, names: NDArray[np.intp]) -> "RepeatedRows":
        """Find them among all rows, whose names (n,) are numbers from 0."""
        several = np.bincount(names) > 1 if len(names) else np.zeros(0, bool)
        rows = np.flatnonzero(several[names])
        rows = rows[np.argsort(names[rows], kind="stable")]
        return cls(rows, np.flatnonzero(np.diff(names[rows], prepend=-1)))

    @property
    def first(self) -> NDArray[np.intp]:
        """(groups,) each group's first row."""
        return self.rows[self.starts]

    def spread(self, values: NDArray[Kind]) -> NDArray[Kind]:
        """A value a group (groups, ...) for each of its rows (m, ...)."""
        return np.repeat(values, np.diff(self.starts, append=len(self.rows)), axis=0)

    def differ(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(groups, ...) whether a group's rows differ in values of all rows (n, ...).

        NaN is no different from NaN.
        """
        own, first = values[self.rows], self.spread(values[self.first])
        unlike = (own != first) & ~((own != own) & (first != first))
        return np.logical_or.reduceat(unlike, self.starts) if len(self.rows) else unlike

    def contradictions(
        self, names: "pd.Series[str]", values: NDArray[np.floating], labels: Sequence[str]
    ) -> list[str]:
        """The groups whose rows differ, and in which labels.

        Args:
            names: (n,) of all rows.
            values: (n, labels) of all rows.
            labels: their names.
        """
        differ = self.differ(values)
        bad = np.asarray(differ.any(axis=1))
        called = np.array(labels, dtype=object)
        first = names.to_numpy()[self.first[bad]]
        pairs = zip(first, differ[bad], strict=True)
        return [f"{name} ({first_few(called[of])})" for name, of in pairs]


def refuse_different_labels(
    names: "pd.Series[str]", values: NDArray[np.floating], labels: Sequence[str], table: Path
) -> None:
    """Refuse a table of labels alone that says two things of one image or study.

    Args:
        names: (n,) of images or studies, in any writing in which equal ones are the same.
        values: (n, labels), NaN for a blank.
        labels: their names.
        table: the file.

    Raises:
        DataError: it names some.
    """
    told = RepeatedRows.of(pd.factorize(names)[0]).contradictions(names, values, labels)
    if told:
        raise DataError(
            f"{table}: {counted(len(told), 'name')} in several rows with different labels "
            f"({first_few(told)}): remove all but one row of each"
        )
