"""By what counts and labels CheXpert's own tables are known among those laid out like them.

Irvin et al. 2019 (arXiv 1901.07031) and the tables of version 1.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.origin import MISSING
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING

PARTS = {"train": (1, 64_540), "valid": (64_541, 64_740), "test": (64_741, 65_240)}
"""The patients' numbers in the parts of CheXpert."""
ROWS = {"train": 223_414, "valid": 234, "test": 668}
"""The rows of CheXpert's tables."""
FRONTAL = 191_027
"""Frontal rows of train.csv; a table that holds these alone is in wide use."""
FRONTAL_PATIENTS = 64_534
WITHOUT_POSITIVE, WITHOUT_ANY = 7_766, 2_760
"""Its frontal rows with no label at 1, and with none at 1 or -1: they know the labels, too."""
SAMPLES = {"valid": (234, 202, 200), "test": (668, 518, 500)}
"""All images, the frontal ones, or the studies of the parts that radiologists labelled."""
POSITIVES_IN_VALID = {"Fracture": 0, "Lung Lesion": 1, "Pleural Other": 1}


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Rows of a table that is laid out as CheXpert's."""

    numbers: NDArray[np.int64]
    """(n,) the patients'."""
    frontal: NDArray[np.bool_]
    """(n,)."""
    labels: Sequence[str]
    raw: NDArray[np.floating]
    """(n, labels) 1, 0, -1, and NaN for a blank."""


def is_chexperts(part: str, rows: LabelledRows) -> bool:
    """Whether rows are those of CheXpert's own table of a part, by its counts and its labels."""
    low, high = PARTS[part]
    if not len(rows.numbers) or rows.numbers.min() < low or rows.numbers.max() > high:
        return False
    return _is_train(rows) if part == "train" else _is_sample(part, rows)


def _is_train(rows: LabelledRows) -> bool:
    """All rows, or all frontal rows, but for a few that a copy lost."""
    if len(rows.numbers) > ROWS["train"] or tuple(rows.labels) != CHEXPERT_LABELS:
        return False
    raw, patients = rows.raw[rows.frontal], rows.numbers[rows.frontal]
    missing = FRONTAL - len(patients)
    if not 0 <= missing <= MISSING * FRONTAL:
        return False
    counted = {
        FRONTAL_PATIENTS: len(np.unique(patients)),
        WITHOUT_POSITIVE: int((~(raw == 1).any(axis=1)).sum()),
        WITHOUT_ANY: int((~np.isin(raw, (1, -1)).any(axis=1)).sum()),
    }
    # Every row that is missing can lower a count by one, and none can raise it.
    fits = all(total - missing <= count <= total for total, count in counted.items())
    return fits and not (raw[:, CHEXPERT_LABELS.index(NO_FINDING)] == 0).any()


def _is_sample(part: str, rows: LabelledRows) -> bool:
    low, high = PARTS[part]
    if len(rows.numbers) not in SAMPLES[part] or len(np.unique(rows.numbers)) != high - low + 1:
        return False
    if not np.isin(rows.raw, (0, 1)).all():
        return False  # radiologists leave nothing out
    known = POSITIVES_IN_VALID if part == "valid" else {}
    counts = dict(zip(rows.labels, (rows.raw == 1).sum(axis=0).tolist(), strict=True))
    # Without the laterals there may be one less.
    return all(counts.get(label, most) in (most, max(most - 1, 0)) for label, most in known.items())
