"""A made-up table with the shape of CheXpert's train.csv: its size, rates and co-occurrence.

Only published figures go in: the shares of Irvin et al. (2019), Table 1, and the row, patient and
view counts of the public table. Nothing is copied from the data, and nothing is downloaded.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.data.labels import CHEXPERT_LABELS

N_PATIENTS = 64_540
N_STUDIES = 187_641
N_ROWS = 223_414
N_FRONTAL = 191_027
LATERAL_ONLY_PATIENTS = 6
MAX_STUDIES = 88
ORIENTATIONS = {"PA": 29_420, "LL": 16, "RL": 1}
"""The frontal rows that are not AP."""

FEMALE_SHARE = 90_777 / N_ROWS


class Rate(NamedTuple):
    """One label: percent of studies positive and uncertain, explicit negatives in train.csv, and
    its loadings on three latent factors (how ill, fluid and heart, bedside)."""

    positive: float
    uncertain: float
    negatives: int
    loadings: tuple[float, float, float]


RATES = {
    "No Finding": Rate(8.86, 0.0, 0, (-0.6, -0.2, -0.2)),
    "Enlarged Cardiomediastinum": Rate(4.81, 5.41, 21_638, (0.25, 0.35, 0.0)),
    "Cardiomegaly": Rate(12.26, 3.52, 11_116, (0.3, 0.6, 0.0)),
    "Lung Opacity": Rate(49.39, 2.31, 6_599, (0.75, -0.1, 0.0)),
    "Lung Lesion": Rate(3.65, 0.57, 1_270, (0.4, -0.4, -0.3)),
    "Edema": Rate(26.06, 6.17, 20_726, (0.45, 0.6, 0.2)),
    "Consolidation": Rate(6.78, 12.78, 28_097, (0.6, 0.0, 0.1)),
    "Pneumonia": Rate(2.44, 8.34, 2_799, (0.6, -0.2, -0.1)),
    "Atelectasis": Rate(15.63, 15.66, 1_328, (0.45, -0.1, 0.3)),
    "Pneumothorax": Rate(9.23, 1.42, 56_341, (0.2, -0.5, 0.4)),
    "Pleural Effusion": Rate(40.34, 5.02, 35_396, (0.65, 0.2, 0.1)),
    "Pleural Other": Rate(1.30, 0.94, 316, (0.35, -0.2, -0.3)),
    "Fracture": Rate(3.87, 0.26, 2_512, (0.15, -0.2, 0.0)),
    "Support Devices": Rate(56.40, 0.48, 6_137, (0.3, 0.1, 0.6)),
}
PERSISTENCE = 0.5
"""The part of a label's latent variance that stays the same in all studies of a patient."""

CONTRADICTIONS = 100
"""Studies with No Finding beside a finding: the labeler makes them, so every pair occurs."""


def chexpert_table(seed: int = 0) -> pd.DataFrame:
    """Draw the table: 223,414 rows in train.csv's 19 columns, the same for the same seed."""
    rng = np.random.default_rng(seed)
    studies = _studies_per_patient(rng)
    patient_of_study = np.repeat(np.arange(N_PATIENTS), studies)
    values = _study_values(patient_of_study, rng)
    study, frontal, view = _images(patient_of_study, rng)
    table = pd.DataFrame({"Path": _paths(patient_of_study, study, frontal, view)})
    patient = patient_of_study[study]
    table["Sex"] = np.where(rng.random(N_PATIENTS) < FEMALE_SHARE, "Female", "Male")[patient]
    table.loc[N_ROWS // 2, "Sex"] = "Unknown"
    table["Age"] = np.clip(rng.normal(61, 18, N_PATIENTS).round(), 18, 90).astype(int)[patient]
    table["Frontal/Lateral"] = np.where(frontal, "Frontal", "Lateral")
    table["AP/PA"] = _orientations(frontal, rng)
    return table.join(pd.DataFrame(values[study], columns=list(CHEXPERT_LABELS)))


def _studies_per_patient(rng: np.random.Generator) -> NDArray[np.int64]:
    """Mostly one to three, with a long tail; the sum is exact."""
    studies = np.minimum(1 + rng.lognormal(-0.12, 1.4, N_PATIENTS).astype(int), MAX_STUDIES)
    studies[-LATERAL_ONLY_PATIENTS:] = 1
    body = N_PATIENTS - LATERAL_ONLY_PATIENTS
    while (gap := N_STUDIES - studies.sum()) != 0:
        chosen = rng.integers(body, size=min(abs(gap), body))
        room = (studies[chosen] < MAX_STUDIES) if gap > 0 else (studies[chosen] > 1)
        studies[np.unique(chosen[room])] += np.sign(gap)
    return studies


def _study_values(
    patient_of_study: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(studies, 14) of 1, 0, -1 and NaN: cuts through correlated normal variables."""
    latent = _latent(patient_of_study, rng)
    values = np.full(latent.shape, np.nan)
    for column, label in enumerate(CHEXPERT_LABELS[1:], start=1):
        rate = RATES[label]
        order = np.argsort(-latent[:, column])
        positive = round(N_STUDIES * rate.positive / 100)
        uncertain = round(N_STUDIES * rate.uncertain / 100)
        values[order[:positive], column] = 1
        values[order[positive : positive + uncertain], column] = -1
        rest = order[positive + uncertain :]
        negatives = round(N_STUDIES * rate.negatives / N_ROWS)
        values[rng.choice(rest, negatives, replace=False), column] = 0
    values[_no_finding(values, latent[:, 0], rng), 0] = 1
    return values


def _latent(patient_of_study: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(studies, 14) standard normals that share three factors and their patient's part."""
    loadings = np.array([RATES[label].loadings for label in CHEXPERT_LABELS])
    own = np.sqrt(1 - (loadings**2).sum(axis=1))

    def draw(n: int) -> NDArray[np.float64]:
        return rng.standard_normal((n, 3)) @ loadings.T + own * rng.standard_normal((n, len(own)))

    lasting = draw(N_PATIENTS)[patient_of_study]
    return np.sqrt(PERSISTENCE) * lasting + np.sqrt(1 - PERSISTENCE) * draw(N_STUDIES)


def _no_finding(
    values: NDArray[np.float64], latent: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The studies with No Finding: where nothing but devices is found, and a few contradictions."""
    mentioned = np.isin(values[:, 1:], (1.0, -1.0))
    clean = ~mentioned[:, :-1].any(axis=1)
    bare = ~mentioned.any(axis=1)
    rank = np.where(clean, latent + 2.5 * bare, -np.inf)
    wanted = round(N_STUDIES * RATES["No Finding"].positive / 100)
    if clean.sum() < wanted:
        raise ValueError(f"only {clean.sum()} studies without a finding: {wanted} wanted")
    stray = rng.choice(np.flatnonzero(~clean), CONTRADICTIONS, replace=False)
    return np.concatenate([np.argsort(-rank)[: wanted - CONTRADICTIONS], stray])


def _images(
    patient_of_study: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Study, frontal or not, and view number of each row, in the order of train.csv."""
    with_frontal = np.arange(N_STUDIES - LATERAL_ONLY_PATIENTS)
    lateral_only = np.arange(N_STUDIES - LATERAL_ONLY_PATIENTS, N_STUDIES)
    extra = rng.choice(with_frontal, N_FRONTAL - len(with_frontal), replace=False)
    n_lateral = N_ROWS - N_FRONTAL - LATERAL_ONLY_PATIENTS
    lateral = rng.choice(with_frontal, n_lateral, replace=False)
    study = np.concatenate([with_frontal, extra, lateral, lateral_only])
    frontal = np.arange(N_ROWS) < N_FRONTAL
    order = np.lexsort((~frontal, study))
    study, frontal = study[order], frontal[order]
    first = np.flatnonzero(np.diff(study, prepend=-1))
    view = np.arange(N_ROWS) - np.repeat(first, np.diff(first, append=N_ROWS)) + 1
    return study, frontal, view


def _paths(
    patient_of_study: NDArray[np.int64],
    study: NDArray[np.int64],
    frontal: NDArray[np.bool_],
    view: NDArray[np.int64],
) -> list[str]:
    first = np.flatnonzero(np.diff(patient_of_study, prepend=-1))
    number = np.arange(N_STUDIES) - first[patient_of_study] + 1
    rows = zip(patient_of_study[study] + 1, number[study], view, frontal, strict=True)
    return [
        f"CheXpert-v1.0-small/train/patient{p:05d}/study{s}/view{v}_"
        f"{'frontal' if f else 'lateral'}.jpg"
        for p, s, v, f in rows
    ]


def _orientations(frontal: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.object_]:
    """AP, PA, LL or RL for frontal rows; blank for laterals."""
    kinds = np.full(N_FRONTAL, "AP", dtype=object)
    kinds[: sum(ORIENTATIONS.values())] = [k for k, n in ORIENTATIONS.items() for _ in range(n)]
    orientations = np.full(N_ROWS, np.nan, dtype=object)
    orientations[frontal] = rng.permutation(kinds)
    return orientations
