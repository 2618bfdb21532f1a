"""A table's raw labels to what training minimises against, under a policy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.errors import DataError, UsageError, first_few, unknown_names
from cxrtool.data.labels import NEGATIVE, POSITIVE, target_ranges
from cxrtool.data.manifest import DESCRIBING, RESERVED


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Which labels of a table are trained on, and what their raw values become."""

    labels: tuple[str, ...]
    """In the order of the network's logits."""
    every: tuple[str, ...]
    """All label columns of the table: under U-Zeros, No Finding depends on every label."""
    uncertainty: str = "ones"
    blank: str = "zeros"

    def ranges(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """The ends (n, labels, 2) of what targets are drawn from; both NaN where masked.

        Raises:
            DataError: a label column is missing, or has other values than 1, 0, -1 and blank.
            UsageError: an unknown policy.
        """
        missing = [label for label in self.every if label not in table.columns]
        if missing:
            raise DataError(
                f"the table has no column {first_few(missing)}: a table with labels needs all of "
                f"{first_few(self.every, 14)}"
            )
        try:
            raw = table[list(self.every)].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"label columns need numbers: 1, 0, -1 or NaN for a blank ({error})"
            ) from None
        ranges = target_ranges(raw, self.every, self.uncertainty, self.blank)
        return ranges[:, [self.every.index(label) for label in self.labels]]

    def trained(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """What training sees: (n, labels), or (n, labels, 2) where targets are drawn anew."""
        ranges = self.ranges(table)
        low, high = ranges[..., 0], ranges[..., 1]
        return ranges if ((low != high) & ~np.isnan(low)).any() else low

    def middle(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Targets (n, labels), in the middle of what they are drawn from; NaN where masked."""
        middle: NDArray[np.float32] = self.ranges(table).mean(axis=-1)
        return middle

    def scored(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """What scores are compared with: (n, labels), NaN wherever there is no one fixed value."""
        ranges = self.ranges(table)
        fixed = ranges[..., 0] == ranges[..., 1]  # NaN equals nothing
        return np.where(fixed, ranges[..., 0], np.float32(np.nan))


def _refuse_fractions(columns: pd.DataFrame) -> None:
    """A column of scores or sizes is no label by itself; who names it means it."""
    values = columns.to_numpy(dtype=float)
    between = np.any((values > NEGATIVE) & (values < POSITIVE), axis=0)
    names = [str(name) for name, found in zip(columns.columns, between, strict=True) if found]
    if names:
        raise DataError(
            f"{first_few(names)}: values between 0 and 1; if they are shares of readers, name all "
            "labels (labels=[...]), otherwise name those that are labels"
        )


def targets_of(
    table: pd.DataFrame,
    labels: Sequence[str] | None,
    every: Sequence[str] | None,
    uncertainty: str,
    blank: str,
) -> Targets:
    """The targets of any table: of the labels that are named, or of all columns of numbers.

    Raises:
        DataError: a column that is not named holds fractions: are they shares of readers?
        UsageError: a label that is no column, or no label at all.
    """
    columns = [
        str(name)
        for name, kind in table.dtypes.items()
        if name not in (*DESCRIBING, *RESERVED) and pd.api.types.is_numeric_dtype(kind)
    ]
    chosen = list(columns if labels is None else labels)
    unknown = [label for label in (*chosen, *(every or ())) if label not in table.columns]
    if unknown:
        raise UsageError(f"labels: {unknown_names('column', unknown, columns)}")
    if not chosen:
        raise UsageError(
            "the table has no labels: it needs a column of 1, 0, -1 or NaN for each, or name "
            "those that are labels (labels=[...])"
        )
    if labels is None:
        _refuse_fractions(table[chosen])
    targets = Targets(
        labels=tuple(chosen),
        every=tuple(every or chosen),
        uncertainty=uncertainty,
        blank=blank,
    )
    targets.ranges(table)  # wrong values and policies are found here, with the table at hand
    return targets
