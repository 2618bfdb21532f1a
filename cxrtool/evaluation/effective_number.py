"""How many patients with one row each a sample of unequal patients is worth.

A patient with thirty images weighs in a mean over images as thirty patients do, so that a few of
them carry it: what is known of its spread comes from fewer patients than there are.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrtool.core.errors import DataError
from cxrtool.evaluation.metrics import Floats


def effective_number(sizes: ArrayLike) -> float:
    """Kish's effective number of clusters of these `sizes`: (sum m)^2 / sum(m^2).

    The number of clusters where all are of one size, fewer where they are not (Kish 1965, Survey
    Sampling, ch. 11.7; as degrees of freedom of clustered data Carter, Schnepel & Steigerwald 2017,
    Rev. Econ. Stat. 99:698-709). Clusters of size 0 count for nothing; 0.0 where there is no other.

    Args:
        sizes: (k,) rows of each cluster, such as a patient's images; 0 or more.

    Raises:
        DataError: `sizes` have more than one dimension, or one is negative or not finite.

    >>> effective_number([2, 2, 2]), effective_number([1, 1, 1, 1, 30])
    (3.0, 1.2787610619469028)
    """
    of = np.asarray(sizes, np.float64)
    if of.ndim != 1 or not np.isfinite(of).all() or (of < 0).any():
        raise DataError(f"sizes of clusters have shape {of.shape}: expected (k,) numbers from 0")
    squares = float(np.sum(of**2))
    return float(np.sum(of)) ** 2 / squares if squares else 0.0


def effective_patients(patients: ArrayLike, among: ArrayLike) -> Floats:
    """The effective number of patients of the rows `among` (n, K), for each column: (K,).

    `patients` (n,) names each row's patient. Raises DataError where `among` has other rows.

    >>> rows = [[True, True], [True, False], [True, True], [False, True]]
    >>> effective_patients(["a", "a", "b", "c"], rows).tolist()
    [1.8, 3.0]
    """
    _, patient_of = np.unique(np.asarray(patients), return_inverse=True)
    chosen: NDArray[np.bool_] = np.asarray(among, bool)
    if chosen.ndim != 2 or len(chosen) != len(patient_of):
        raise DataError(f"{len(patient_of)} rows have patients, {chosen.shape} are chosen of")
    return np.array([effective_number(np.bincount(patient_of[rows])) for rows in chosen.T])
