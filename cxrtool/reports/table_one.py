"""Table 1: who is in each part of the data, and what is known of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import SPLITS
from cxrtool.data.labels import UNCERTAIN, targets_and_mask
from cxrtool.data.manifest import label_columns
from cxrtool.evaluation.protocol import NOT_KNOWN, Protocol
from cxrtool.reports.cohort import Cohort


@dataclass(frozen=True, kw_only=True)
class Ages:
    """Years of patients at the first of their images."""

    middle: float
    """The median; the quartiles are beside it."""
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """One label in a part."""

    positives: int
    n: int
    """Images that count under the protocol."""
    uncertain: int
    blank: int
    """Of all images, as the tables have them, before the protocol made something of them."""

    @property
    def prevalence(self) -> float | None:
        """The share of positives among the images that count."""
        return self.positives / self.n if self.n else None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A part of the data."""

    name: str
    images: int
    patients: int
    ages: Ages | None
    without_age: int
    """Patients."""
    sexes: Mapping[str, int]
    """Patients."""
    views: Mapping[str, int]
    """Images."""
    labels: Mapping[str, LabelCount]


@dataclass(frozen=True, kw_only=True)
class TableOne:
    """The parts side by side, and what they are compared in."""

    columns: Sequence[Column]
    sexes: tuple[str, ...]
    views: tuple[str, ...]
    labels: tuple[str, ...]


def table_one(cohorts: Mapping[str, Cohort], labels: Sequence[str], protocol: Protocol) -> TableOne:
    """Describe each part of each data set.

    Args:
        cohorts: data sets by their names; of one with a split, each part has a column.
        labels: those that were scored.
        protocol: what their values count as.
    """
    columns = [
        _column(part, rows, labels, protocol)
        for name, cohort in cohorts.items()
        for part, rows in _parts(name, cohort)
    ]
    return TableOne(
        columns=columns,
        sexes=_all_of([one.sexes for one in columns]),
        views=_all_of([one.views for one in columns]),
        labels=tuple(label for label in labels if any(label in one.labels for one in columns)),
    )


def _parts(name: str, cohort: Cohort) -> list[tuple[str, pd.DataFrame]]:
    if cohort.parts is None:
        return [(name, cohort.rows)]
    there = set(cohort.parts)
    return [(part, cohort.rows[cohort.parts == part]) for part in SPLITS if part in there]


def _all_of(counts: Sequence[Mapping[str, int]]) -> tuple[str, ...]:
    """The values that occur in any column, those that are not known last."""
    found = {value for one in counts for value in one}
    return tuple(sorted(found, key=lambda value: (value == NOT_KNOWN, value)))


def _column(name: str, rows: pd.DataFrame, labels: Sequence[str], protocol: Protocol) -> Column:
    people = rows.groupby("patient_id", sort=False).agg({"age": "first", "sex": _first_known})
    ages = people["age"].dropna().to_numpy(dtype=float)
    views = (rows["view"] + " " + rows["orientation"]).str.strip()
    return Column(
        name=name,
        images=len(rows),
        patients=len(people),
        ages=_ages(ages),
        without_age=len(people) - len(ages),
        sexes=_counted(people["sex"]),
        views=_counted(views),
        labels=_labels(rows, labels, protocol),
    )


def _first_known(values: "pd.Series[str]") -> str:
    return next((value for value in values if value), "")


def _ages(years: NDArray[np.float64]) -> Ages | None:
    if not len(years):
        return None
    low, middle, high = np.quantile(years, [0.25, 0.5, 0.75]).tolist()
    return Ages(low=low, middle=middle, high=high)


def _counted(values: "pd.Series[str]") -> dict[str, int]:
    return dict(Counter(value or NOT_KNOWN for value in values.tolist()))


def _labels(rows: pd.DataFrame, labels: Sequence[str], protocol: Protocol) -> dict[str, LabelCount]:
    columns = label_columns(rows)
    raw = rows[columns].to_numpy(dtype=float)
    # As in the scores: what No Finding becomes may depend on all labels.
    targets, mask = targets_and_mask(raw, columns, protocol.uncertainty, protocol.blank)
    found = {}
    for at, label in enumerate(columns):
        if label in labels:
            found[label] = LabelCount(
                positives=int(targets[:, at].sum()),
                n=int(mask[:, at].sum()),
                uncertain=int((raw[:, at] == UNCERTAIN).sum()),
                blank=int(np.isnan(raw[:, at]).sum()),
            )
    return found
