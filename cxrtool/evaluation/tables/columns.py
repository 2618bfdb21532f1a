"""What anybody's table of labels or scores has for columns, and by which names."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxrtool.core.csv_tables import FALLBACK, OTHER_SEPARATORS, read_foreign_table
from cxrtool.core.errors import DataError, first_few
from cxrtool.data.manifest import DESCRIBING, RESERVED
from cxrtool.data.prediction_rows import AFTER
from cxrtool.evaluation.tables.keys import KNOWN, PATIENTS, fold

MEANS = {
    **{"sex": "sex", "gender": "sex", "patientsex": "sex", "patientgender": "sex"},
    **{"age": "age", "patientage": "age", "view": "view", "frontal/lateral": "view"},
    **{"orientation": "orientation", "ap/pa": "orientation", "viewposition": "orientation"},
}
"""What other tables call the manifest's columns; names as `fold` writes them."""
_NO_LABELS = {fold(name) for name in (*DESCRIBING, *RESERVED, *AFTER, *PATIENTS, *KNOWN, *MEANS)}
_INDEX = re.compile(r"(?:unnamed:\d+|index|level\d+|row|rownumber)?")


def read_columns(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a table as text; and what the user should know of how.

    Raises:
        DataError: see `tables.read_table`; or it has one column only.
    """
    frame, encoding, _ = read_foreign_table(path, ())
    columns = [str(column) for column in frame.columns]
    if len(columns) == 1:
        other = [mark for mark in OTHER_SEPARATORS if mark in columns[0]]
        hint = f" (separated by {other[0]!r}? save it with commas)" if other else ""
        raise DataError(
            f"{path} has only one column, {columns[0]}{hint}: a key and at least one label are "
            "needed"
        )
    odd = [f"{path.name} is not UTF-8: it was read as Windows-1252"]
    return frame, odd if encoding == FALLBACK else []


def other_names(named: dict[str, str], path: Path) -> list[str]:
    """A note of the labels whose columns are called something else."""
    other = [f"{column} as {label}" for label, column in named.items() if column != label]
    return [f"{path.name}: read {first_few(other, 14)}"] if other else []


def named_columns(names: Sequence[str], columns: Sequence[str], path: Path) -> dict[str, str]:
    """Which column each name is, in the columns' order: of the very name, or folded the same.

    Raises:
        DataError: two columns are one name's.
    """
    by_fold = {fold(name): name for name in names}
    found: dict[str, list[str]] = {}
    for column in columns:
        name = column if column in names else by_fold.get(fold(column))
        if name is not None:
            found.setdefault(name, []).append(column)
    twice = [" and ".join(those) for those in found.values() if len(those) > 1]
    if twice:
        raise DataError(f"{path} has two columns of one label: {first_few(twice)}: remove one")
    return {name: those[0] for name, those in found.items()}


def may_be_label(column: str) -> bool:
    """Whether a column's name is none of those that mean something else."""
    return fold(column) not in _NO_LABELS and not is_index(column)


def is_index(column: str) -> bool:
    """Whether a column is called as pandas calls the rows' numbers."""
    return bool(_INDEX.fullmatch(fold(column)))
