"""The labels that a run and another data set both have, and those that only one of them has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrtool.core.errors import DataError, first_few
from cxrtool.core.json_files import JsonResult
from cxrtool.data.label_names import match_labels
from cxrtool.data.manifest import label_columns


@dataclass(frozen=True, kw_only=True)
class SharedLabels(JsonResult):
    """What a run's labels and a data set's have in common; names are the run's, but for `other`."""

    common: tuple[str, ...]
    """In the run's order."""
    renamed: Mapping[str, str]
    """What the data call some of them."""
    missing: tuple[str, ...]
    """Labels of the run that the data do not have."""
    empty: tuple[str, ...]
    """Labels that the data have as a column, blank in each row: nobody looked for them."""
    other: tuple[str, ...]
    """Labels of the data that the run does not have."""


@dataclass(frozen=True, kw_only=True)
class LabelCells(JsonResult):
    """What the cells of some labels hold, before any policy."""

    blank_means: str
    """Whether a blank is `not mentioned`, or a finding that is `absent`."""
    blank: float
    """The share of the cells that are blank."""
    uncertain: float
    """The same of -1."""

    @classmethod
    def of(cls, rows: pd.DataFrame, labels: Sequence[str], blank_means: str) -> "LabelCells":
        """Of a manifest's rows; labels that it lacks do not count."""
        cells = rows[[label for label in labels if label in rows]].to_numpy(dtype=float)
        return cls(
            blank_means=blank_means,
            blank=float(np.isnan(cells).mean()),
            uncertain=float((cells == -1).mean()),
        )


def share_labels(
    labels: Sequence[str], manifest: pd.DataFrame, name: str
) -> tuple[pd.DataFrame, SharedLabels]:
    """The manifest with the run's names for its labels, and what both have.

    Args:
        labels: the run's.
        manifest: of the data set.
        name: the data set's, for messages.

    Returns:
        The rows; labels of the run that the data lack are there as blanks, since a policy may name
        them, and are not among the common ones.

    Raises:
        DataError: no label is common, or a name could be two of them.
    """
    there = label_columns(manifest)
    matched = match_labels(labels, there, name)
    empty = [label for label in matched if manifest[matched[label]].isna().all()]
    common = tuple(label for label in matched if label not in empty)
    if not common:
        blank = f"; {first_few(empty)}: blank in each row" if empty else ""
        raise DataError(
            f"{name} has no label in common with the run: it has {first_few(there, 15)}, and the "
            f"run {first_few(labels, 15)}{blank}. Where the same finding has two names, rename its "
            "column in a table of your own (--format csv)"
        )
    rows = manifest.rename(columns={theirs: ours for ours, theirs in matched.items()})
    missing = tuple(label for label in labels if label not in matched)
    return rows.assign(**dict.fromkeys(missing, np.nan)), SharedLabels(
        common=common,
        renamed={ours: theirs for ours, theirs in matched.items() if ours != theirs},
        missing=missing,
        empty=tuple(empty),
        other=tuple(label for label in there if label not in matched.values()),
    )
