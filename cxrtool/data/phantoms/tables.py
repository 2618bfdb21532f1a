"""Draw the label tables of a data set: 1, 0, -1 and blank, at CheXpert's rates or the demo's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cxrtool.data.labels import (
    CHEXPERT_LABELS,
    NEGATIVE,
    NO_FINDING,
    POSITIVE,
    SUPPORT_DEVICES,
    UNCERTAIN,
)

ROWS = 223_414
"""Rows of CheXpert's train.csv."""


@dataclass(frozen=True)
class Rate:
    """Shares of rows: positive, uncertain, and negative among those that are neither."""

    positive: float
    uncertain: float
    negative_among_rest: float


_CHEXPERT = {
    "Enlarged Cardiomediastinum": (4.81, 5.41, 21_638),
    "Cardiomegaly": (12.26, 3.52, 11_116),
    "Lung Opacity": (49.39, 2.31, 6_599),
    "Lung Lesion": (3.65, 0.57, 1_270),
    "Edema": (26.06, 6.17, 20_726),
    "Consolidation": (6.78, 12.78, 28_097),
    "Pneumonia": (2.44, 8.34, 2_799),
    "Atelectasis": (15.63, 15.66, 1_328),
    "Pneumothorax": (9.23, 1.42, 56_341),
    "Pleural Effusion": (40.34, 5.02, 35_396),
    "Pleural Other": (1.30, 0.94, 316),
    "Fracture": (3.87, 0.26, 2_512),
    SUPPORT_DEVICES: (56.40, 0.48, 6_137),
}
"""Per cent positive and uncertain (Irvin et al. 2019, Table 1) and train.csv's explicit zeros."""

_DEMO = {
    "Enlarged Cardiomediastinum": 0.12,
    "Cardiomegaly": 0.14,
    "Lung Opacity": 0.17,
    "Lung Lesion": 0.13,
    "Edema": 0.15,
    "Consolidation": 0.13,
    "Pneumonia": 0.13,
    "Atelectasis": 0.14,
    "Pneumothorax": 0.13,
    "Pleural Effusion": 0.17,
    "Pleural Other": 0.12,
    "Fracture": 0.12,
    SUPPORT_DEVICES: 0.24,
}
"""Shares that are positive or uncertain in the demo: enough of each to learn from."""

_SYNDROMES = {
    "Cardiomegaly": 0,
    "Edema": 0,
    "Pleural Effusion": 0,
    "Consolidation": 1,
    "Pneumonia": 1,
    "Fracture": 2,
    "Pneumothorax": 2,
    SUPPORT_DEVICES: 2,
}
"""Findings that come together: heart failure, infection, injury."""

LOADING, PERSISTENCE = 0.35, 0.5
"""How much of a finding's chance its syndrome decides, and a patient's other studies."""


def _demo_rate(label: str, present: float) -> Rate:
    positive, uncertain, _ = _CHEXPERT[label]
    # CheXpert's proportion of uncertain to positive, halved and capped, or labels would be mush.
    share = min(0.25, 0.5 * uncertain / (positive + uncertain))
    rest = RATES["chexpert"][label].negative_among_rest
    return Rate(present * (1 - share), present * share, rest)


RATES: dict[str, dict[str, Rate]] = {
    "chexpert": {
        label: Rate(p / 100, u / 100, n / ROWS / (1 - (p + u) / 100))
        for label, (p, u, n) in _CHEXPERT.items()
    },
}
RATES["demo"] = {label: _demo_rate(label, present) for label, present in _DEMO.items()}

LabelRow = dict[str, float]
"""A label's raw value: 1, 0, -1, or NaN for blank."""


def draw_label_rows(rng: np.random.Generator, studies: int, rates: str) -> list[LabelRow]:
    """Draw the labels of one patient's studies: findings tend to stay, and to come in company.

    A Gaussian copula: each label's marginal rate is exact, whatever the correlations.
    """
    table = RATES[rates]
    syndromes = rng.standard_normal((studies, 3))
    stays, comes = rng.standard_normal(len(table)), rng.standard_normal((studies, len(table)))
    own = np.sqrt(PERSISTENCE) * stays + np.sqrt(1 - PERSISTENCE) * comes
    chance = rng.random((studies, len(table)))
    rows = []
    for study in range(studies):
        row: LabelRow = {NO_FINDING: np.nan}
        for k, (label, rate) in enumerate(table.items()):
            latent = own[study, k]
            if label in _SYNDROMES:
                shared = syndromes[study, _SYNDROMES[label]]
                latent = LOADING * shared + np.sqrt(1 - LOADING**2) * latent
            row[label] = _value(rate, float(latent), float(chance[study, k]))
        others = [row[label] for label in table if label != SUPPORT_DEVICES]
        if not np.isin(others, (POSITIVE, UNCERTAIN)).any():
            row[NO_FINDING] = POSITIVE
        rows.append({label: row[label] for label in CHEXPERT_LABELS})
    return rows


def _value(rate: Rate, latent: float, chance: float) -> float:
    present = rate.positive + rate.uncertain
    if latent < ndtri(present):
        return UNCERTAIN if chance < rate.uncertain / present else POSITIVE
    return NEGATIVE if chance < rate.negative_among_rest else np.nan


def radiologists_row(row: LabelRow) -> LabelRow:
    """The same study as radiologists label it: every label 1 or 0, and nothing left open.

    What a report calls uncertain is drawn, if faintly, and so they find it.
    """
    return {
        label: POSITIVE if value in (POSITIVE, UNCERTAIN) else NEGATIVE
        for label, value in row.items()
    }


def strengths(rng: np.random.Generator, row: LabelRow) -> dict[str, float]:
    """How clearly each positive (0.85 to 1) or uncertain (0.6 to 0.8) finding is drawn."""
    lows: NDArray[np.float64] = rng.random(len(row))
    return {
        label: float(0.85 + 0.15 * u if value == POSITIVE else 0.6 + 0.2 * u)
        for (label, value), u in zip(row.items(), lows, strict=True)
        if value in (POSITIVE, UNCERTAIN) and label != NO_FINDING
    }
