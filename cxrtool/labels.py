"""The observations, and how their raw values become targets and a mask under a policy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrtool.config import POLICIES
from cxrtool.errors import DataError

NO_FINDING = "No Finding"
SUPPORT_DEVICES = "Support Devices"

CHEXPERT_LABELS = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    SUPPORT_DEVICES,
)
"""The 14 observations of CheXpert, in the order of its tables (Irvin et al. 2019, Table 1)."""

POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0


def label_number(text: str) -> float | None:
    """A label's cell as 1, 0, -1 or (blank) NaN; None where it is none of these."""
    bare = text.strip()
    if not bare or bare.lower() == "nan":
        return float("nan")
    try:
        number = float(bare)
    except ValueError:
        return None
    return number if number in (POSITIVE, NEGATIVE, UNCERTAIN) else None


def targets_and_mask(
    raw: NDArray[np.floating], labels: Sequence[str], policy: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Map raw label values to training targets: the one place where that is done.

    Args:
        raw: (n, labels) with 1 positive, 0 negative, -1 uncertain, NaN not mentioned.
        labels: the names of the columns.
        policy: `zeros` (U-Zeros: -1 becomes 0) or `ones` (U-Ones: -1 becomes 1). A label that
            is not mentioned becomes 0 under both (Irvin et al. 2019, section 3.1).

    Returns:
        Targets (n, labels) in {0, 1}, and a mask of the same shape: True where the target counts
        in losses and scores (everywhere, under these two policies).

    Raises:
        DataError: a value that is none of the four, or an unknown policy.

    Under `zeros` a row that is left without any positive gets No Finding = 1, unless No Finding
    is an explicit 0 there: radiologists' own negatives stay.
    """
    if policy not in POLICIES:
        raise DataError(f"uncertainty policy {policy!r} is not known: use {' or '.join(POLICIES)}")
    values = np.asarray(raw, dtype=np.float64)
    known = np.isnan(values) | np.isin(values, (POSITIVE, NEGATIVE, UNCERTAIN))
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise DataError(
            f"row {row} of the labels has {values[row, column]:g} for {labels[column]}: "
            "expected 1, 0, -1 or nothing"
        )
    targets = np.where(values == UNCERTAIN, float(policy == "ones"), np.nan_to_num(values))
    if policy == "zeros" and NO_FINDING in labels:
        column = list(labels).index(NO_FINDING)
        unsaid = ~(targets == 1).any(axis=1) & (values[:, column] != NEGATIVE)
        targets[unsaid, column] = 1
    return targets.astype(np.float32), np.ones(targets.shape, dtype=bool)
