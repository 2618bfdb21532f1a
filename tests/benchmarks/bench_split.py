"""Time and balance of the split at CheXpert's size: python tests/benchmarks/bench_split.py.

With scikit-multilearn (`pip install -e '.[benchmark]'`) its split of 16,000 rows stands beside the
same rows by cxrtool: it takes time with the square of the rows.
"""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification
from numpy.typing import NDArray

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from chexpert_table import chexpert_table

from cxrtool.core.config import REPORT_POLICIES
from cxrtool.data.balance import label_distribution, label_pair_distribution
from cxrtool.data.labels import CHEXPERT_LABELS, targets_and_mask
from cxrtool.data.stratification import (
    split_by_image,
    split_by_patient,
)

SIZES = (0.8, 0.1, 0.1)
SEED = 0
FEW = 16_000
HEADER = (
    f"{'split':<22}{'s':>6}  {'sizes, %':<17}"
    f"{'LD U0':>6}{'LD U1':>6}{'LPD U0':>7}{'LPD U1':>7}{'shared':>7}"
)


def main() -> None:
    table = chexpert_table()
    table = table[table["Frontal/Lateral"] == "Frontal"]
    raw = table[list(CHEXPERT_LABELS)].to_numpy(float)
    positives = [
        targets_and_mask(raw, CHEXPERT_LABELS, policy)[0] == 1 for policy in REPORT_POLICIES
    ]
    paths = table["Path"].to_numpy()
    patients = table["Path"].str.split("/").str[2].to_numpy()
    ways: dict[str, tuple[int, Callable[[], NDArray[np.int64]]]] = {
        "by patient": (5, lambda: split_by_patient(positives, patients, sizes=SIZES, seed=SEED)),
        "by image": (3, lambda: split_by_image(positives, sizes=SIZES, seed=SEED, keys=paths)),
        "package, U-Ones": (3, lambda: package(positives[1:])),
        "package, both": (1, lambda: package(positives)),
        "patients as one image": (3, lambda: one_image_a_patient(positives, patients)),
        "by image, at random": (3, lambda: at_random(len(table))),
    }
    print(f"{len(table):,} images of {len(set(patients)):,} patients; LD and LPD in 1e-5")
    print(HEADER)
    for name, (runs, split) in ways.items():
        print(line(name, *timed(split, runs), positives, patients))
    beside_multilearn([matrix[:FEW] for matrix in positives], patients[:FEW], paths[:FEW])


def beside_multilearn(
    positives: list[NDArray[np.bool_]], patients: NDArray[np.object_], paths: NDArray[np.object_]
) -> None:
    """The first rows by scikit-multilearn, which balances one policy, and by cxrtool."""
    ways: dict[str, Callable[[], NDArray[np.int64]]] = {
        "by patient": lambda: split_by_patient(positives, patients, sizes=SIZES, seed=SEED),
        "by image": lambda: split_by_image(positives, sizes=SIZES, seed=SEED, keys=paths),
        "scikit-multilearn": lambda: multilearn(positives[1]),
    }
    print(f"{len(patients):,} images of {len(set(patients)):,} patients; LD and LPD in 1e-5")
    for name, split in ways.items():
        try:
            print(line(name, *timed(split, 1), positives, patients))
        except ImportError:
            print(f"{name}: not installed (pip install -e '.[benchmark]')")


def multilearn(positives: NDArray[np.bool_]) -> NDArray[np.int64]:
    """scikit-multilearn's second-order split of one policy's labels, by image."""
    from skmultilearn.model_selection import IterativeStratification as SecondOrder

    # Its generator is NumPy's global one, since scikit-learn takes no random_state unshuffled.
    np.random.seed(SEED)
    splitter = SecondOrder(
        n_splits=len(SIZES), order=2, sample_distribution_per_fold=list(SIZES), random_state=None
    )
    images = np.zeros((len(positives), 1))
    folds = np.full(len(positives), -1)
    for fold, (_, held) in enumerate(splitter.split(images, positives.astype(int))):
        folds[held] = fold
    return folds


def timed(split: Callable[[], NDArray[np.int64]], runs: int) -> tuple[float, NDArray[np.int64]]:
    """The median seconds of a few runs, and the last split."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        folds = split()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), folds


def package(matrices: list[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The iterative-stratification package by itself, with the pairs that occur as columns."""
    columns = [column for matrix in matrices for column in matrix.T]
    for matrix in matrices:
        columns += [a & b for a, b in combinations(matrix.T, 2) if (a & b).any()]
    order = np.random.RandomState(SEED).permutation(len(columns[0]))
    dealt = IterativeStratification(
        labels=np.stack(columns, axis=1)[order],
        r=np.array(SIZES),
        random_state=np.random.RandomState(SEED),
    )
    return dealt[np.argsort(order)]


def one_image_a_patient(
    positives: list[NDArray[np.bool_]], patients: NDArray[np.object_]
) -> NDArray[np.int64]:
    """The package on patients: a patient has a label that any image has; sizes are not seen."""
    ids, owners = np.unique(patients.astype(str), return_inverse=True)
    any_image = np.zeros((len(ids), positives[1].shape[1]), dtype=bool)
    np.logical_or.at(any_image, owners, positives[1])
    return package([any_image])[owners]


def at_random(n: int) -> NDArray[np.int64]:
    cuts = np.rint(np.cumsum(SIZES[:-1]) * n)
    folds = np.searchsorted(cuts, np.arange(n), side="right")
    return np.random.default_rng(SEED).permutation(folds)


def line(
    name: str,
    seconds: float,
    folds: NDArray[np.int64],
    positives: list[NDArray[np.bool_]],
    patients: NDArray[np.object_],
) -> str:
    sizes = " ".join(f"{100 * (folds == fold).mean():.2f}" for fold in range(len(SIZES)))
    ld = [1e5 * label_distribution(p, folds, len(SIZES)) for p in positives]
    lpd = [1e5 * label_pair_distribution(p, folds, len(SIZES)) for p in positives]
    shared = len(set(zip(patients, folds.tolist(), strict=True))) - len(set(patients))
    balance = "".join(f"{v:6.1f}" for v in ld) + "".join(f"{v:7.1f}" for v in lpd)
    return f"{name:<22}{seconds:6.2f}  {sizes:<17}{balance}{shared:7d}"


if __name__ == "__main__":
    main()
