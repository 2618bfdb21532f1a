"""Second-order iterative stratification into parts, by patient or by image.

The method is Szymanski & Kajdanowicz (2017), "A Network Perspective on Stratification of
Multi-Label Data", on Sechidis, Tsoumakas & Vlahavas (2011), Algorithm 1: label pairs are
dealt out rarest first, each to the fold that still needs most of it, then single labels, then the
rest. By patient, what is dealt out is a patient with all their images.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.errors import DataError
from cxrtool.data.balance import Positives, label_matrices, odds_gap, pair_columns

ROUNDS = 2
"""Times that each label is brought into the folds that lack it."""

MAX_SWEEPS = 3
BLOCK = 256
"""The last pass goes over all patients up to MAX_SWEEPS times, BLOCK of them at once."""

MIN_ATTEMPTS, MAX_ATTEMPTS = 3, 50
ATTEMPT_PATIENTS = 30_000
"""Every table is dealt out several times, and the best is taken: luck decides where ties are
broken, and in a large table it can double the imbalance. In a small one each patient shows and an
attempt takes no time: so many patients are dealt out in all."""

SIZE_WEIGHT = 0.01
"""In the last pass: all images beside all labels and pairs together; more in a small table."""

WEIGHT_STEPS = 2.0**16
"""Weights are whole numbers up to this, so that sums of them are exact."""


class _Tally(NamedTuple):
    """How many images with each column a patient has: all images, then labels, then pairs.

    The first n_first columns are those before the pairs.
    """

    by_column: NDArray[np.int32]
    by_patient: NDArray[np.int32]
    n_first: int


def split_by_patient(
    positives: Positives,
    patients: NDArray[np.str_],
    *,
    sizes: Sequence[float],
    seed: int,
    ranked: bool = False,
) -> NDArray[np.int64]:
    """Split images into folds that share no patient, balanced in labels and label pairs.

    The greedy of Szymanski & Kajdanowicz (2017), for patients with several images: a
    patient counts with the number of images that have the pair, and what a fold still needs is
    taken relative to its share. Then `_cover` gives every fold a patient and, where enough have
    it, every label; `_refine` moves single patients while that lessens the imbalance. All this
    several times, and the best is taken.

    Args:
        positives: (n, labels) bool, or several such matrices; pairs are formed within each, and
            all are balanced in the one split.
        patients: (n,) patient ids.
        sizes: the folds' shares of the images; they sum to 1.
        seed: breaks ties. Same seed, same split, in whatever order the rows come.
        ranked: the folds stand in the order in which they need a label that fewer patients have
            than there are folds: train before valid before test.

    Returns:
        (n,) the fold of each image, from 0.

    Raises:
        DataError: shapes or sizes that do not fit, or fewer patients than folds.
    """
    shares = _shares(sizes)
    owners, n_patients = _owners(np.asarray(patients))
    matrices = label_matrices(positives, len(owners))
    if n_patients < len(shares):
        raise DataError(
            f"{n_patients} patients cannot fill {len(shares)} parts: "
            "use fewer parts, or split by image"
        )
    tally = _tally(_label_columns(matrices), pair_columns(matrices), owners, n_patients)
    rng = random.Random(seed)
    needed = _needed(tally, len(shares), ranked=ranked)
    attempts = min(max(ATTEMPT_PATIENTS // n_patients, MIN_ATTEMPTS), MAX_ATTEMPTS)
    dealt = [_attempt(tally, shares, needed, rng) for _ in range(attempts)]
    return min(dealt, key=lambda folds: _imbalance(folds, tally, shares, needed))[owners]


def _attempt(
    tally: _Tally, shares: NDArray[np.float64], needed: NDArray[np.bool_], rng: random.Random
) -> NDArray[np.int64]:
    """(patients,) folds, as one order of the ties has it."""
    folds = _deal(tally, shares, rng)
    _cover(folds, tally, needed)
    _refine(folds, tally, shares, rng)
    return folds


def split_by_image(
    positives: Positives,
    *,
    sizes: Sequence[float],
    seed: int,
    keys: NDArray[np.str_] | None = None,
) -> NDArray[np.int64]:
    """Split images into folds whatever their patients: images of one patient fall apart.

    Iterative stratification (Sechidis et al. 2011, Algorithm 1) by the iterative-stratification
    package, with the label pairs that occur as further columns, which makes it second-order.
    Then `_cover` sees that a small table leaves no fold empty, and `_refine` mends what the
    package leaves where two policies are balanced at once.

    Args:
        positives: (n, labels) bool, or several such matrices, as in `split_by_patient`.
        sizes: the folds' shares of the images; they sum to 1.
        seed: breaks ties. Same seed and keys, same split.
        keys: (n,) unique ids of the images; with them the order of the rows does not matter.

    Returns:
        (n,) the fold of each image, from 0.

    Raises:
        DataError: shapes, sizes or keys that do not fit, or fewer images than folds.
    """
    from iterstrat.ml_stratifiers import IterativeStratification

    shares = _shares(sizes)
    matrices = label_matrices(positives)
    n = len(matrices[0])
    if n < len(shares):
        raise DataError(f"{n} images cannot fill {len(shares)} parts: use fewer parts")
    rng = np.random.RandomState(seed)
    order = _canonical_order(keys, n)[rng.permutation(n)]
    labels, pairs = _label_columns(matrices), pair_columns(matrices)
    columns = np.stack([*labels, *pairs], axis=1)[order]
    dealt = IterativeStratification(labels=columns, r=shares, random_state=rng)
    places = np.argsort(order)
    tally = _tally(labels, pairs, places, n)
    filled = tally._replace(n_first=1)
    _cover(dealt, filled, _needed(filled, len(shares), ranked=False))
    _refine(dealt, tally, shares, random.Random(seed))
    folds: NDArray[np.int64] = dealt[places].astype(np.int64)
    return folds


def _shares(sizes: Sequence[float]) -> NDArray[np.float64]:
    shares = np.asarray(sizes, dtype=np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares > 0).all():
        raise DataError(f"sizes {tuple(sizes)}: expected one share above 0 for each part")
    if abs(shares.sum() - 1) > 1e-6:
        raise DataError(f"sizes {tuple(sizes)} sum to {shares.sum():g}: expected 1")
    shares /= shares.sum()
    return shares


def _owners(patients: NDArray[np.str_]) -> tuple[NDArray[np.int64], int]:
    """(n,) the place of each image's patient among the sorted ids, and how many there are."""
    ids = patients.tolist()
    place = {patient: i for i, patient in enumerate(sorted(set(ids)))}
    return np.fromiter((place[patient] for patient in ids), np.int64, len(ids)), len(place)


def _canonical_order(keys: NDArray[np.str_] | None, n: int) -> NDArray[np.int64]:
    """The rows sorted by key; as they come where there are no keys."""
    if keys is None:
        return np.arange(n)
    if len(keys) != n or len(set(keys.tolist())) != n:
        raise DataError(f"{len(set(keys.tolist()))} different keys for {n} images: expected {n}")
    return np.array(sorted(range(n), key=keys.tolist().__getitem__), dtype=np.int64)


def _label_columns(matrices: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Every label of every matrix."""
    return [column for matrix in matrices for column in matrix.T]


def _tally(
    labels: list[NDArray[np.bool_]],
    pairs: list[NDArray[np.bool_]],
    owners: NDArray[np.int64],
    n_patients: int,
) -> _Tally:
    everything = np.ones(len(owners), dtype=bool)
    columns = [everything, *labels, *pairs]
    counts = np.empty((len(columns), n_patients), dtype=np.int32)
    for row, column in zip(counts, columns, strict=True):
        row[:] = np.bincount(owners[column], minlength=n_patients)
    return _Tally(counts, np.ascontiguousarray(counts.T), len(labels) + 1)


def _deal(tally: _Tally, shares: NDArray[np.float64], rng: random.Random) -> NDArray[np.int64]:
    """Deal out pairs, then labels, then all the rest: (patients,) folds."""
    counts = tally.by_column
    n_columns, n_patients = counts.shape
    folds = np.full(n_patients, -1, dtype=np.int64)
    left = counts.sum(axis=1, dtype=np.int64)
    demand = np.outer(shares, left)
    luck = np.array(rng.sample(range(n_patients), n_patients))
    for stage in (range(tally.n_first, n_columns), range(1, tally.n_first), range(1)):
        columns = np.array(stage, dtype=np.int64)
        while (columns := columns[left[columns] > 0]).size:
            column = columns[np.argmin(left[columns])]
            members = np.flatnonzero((counts[column] > 0) & (folds < 0))
            members = members[np.lexsort((luck[members], -counts[column, members]))]
            amounts, images = counts[column, members], counts[0, members]
            folds[members] = _deal_column(
                amounts, images, demand[:, column], demand[:, 0], shares, rng
            )
            for fold in range(len(shares)):
                dealt = tally.by_patient[members[folds[members] == fold]].sum(axis=0)
                demand[fold] -= dealt
                left -= dealt
    return folds


def _deal_column(
    amounts: NDArray[np.int32],
    images: NDArray[np.int32],
    demand: NDArray[np.float64],
    room: NDArray[np.float64],
    shares: NDArray[np.float64],
    rng: random.Random,
) -> list[int]:
    """Give each patient to the fold that needs most of the column, relative to its share.

    Ties: the fold that needs most images relative to its share, then at random. A fold without
    room for half of the patient's images is passed over while another has it.
    """
    scale = (1 / shares).tolist()
    need, space = (demand / shares).tolist(), (room / shares).tolist()
    folds = range(len(scale))
    chosen = []
    for amount, n in zip(amounts.tolist(), images.tolist(), strict=True):
        best, top = -1, (-np.inf, -np.inf, 0.0)
        for fold in folds:
            if 2 * space[fold] < n * scale[fold]:
                continue
            if need[fold] >= top[0]:
                rank = (need[fold], space[fold], rng.random())
                if rank > top:
                    best, top = fold, rank
        if best < 0:
            best = max(folds, key=lambda fold: space[fold] / scale[fold])
        need[best] -= amount * scale[best]
        space[best] -= n * scale[best]
        chosen.append(best)
    return chosen


def _spread(folds: NDArray[np.int64], tally: _Tally, n_folds: int) -> NDArray[np.int64]:
    """(n_folds, labels): how many patients with images, and with each label, a fold has."""
    held = tally.by_patient[:, : tally.n_first] > 0
    return np.stack([held[folds == fold].sum(axis=0) for fold in range(n_folds)])


def _needed(tally: _Tally, n_folds: int, *, ranked: bool) -> NDArray[np.bool_]:
    """(n_folds, labels): whether a fold should have a patient with images, and with each label.

    Every fold should where as many patients have it as there are folds; where fewer have it, the
    first folds if they are ranked, else none.
    """
    owners = (tally.by_patient[:, : tally.n_first] > 0).sum(axis=0)
    enough = np.arange(n_folds)[:, None] if ranked else np.full((n_folds, 1), n_folds - 1)
    return np.asarray(owners > enough, dtype=np.bool_)


def _cover(folds: NDArray[np.int64], tally: _Tally, needed: NDArray[np.bool_]) -> None:
    """Bring each label, rarest first, into every fold that should have it, in place.

    A patient moves who is not the last with a label in their fold, or whose label the other fold
    should have and theirs need not: what their fold loses by that it gets back from others, in a
    second round where its turn was over. The turn of the images, which come first in the tally,
    makes sure that no fold stays empty.
    """
    held = tally.by_patient[:, : tally.n_first] > 0
    spread = _spread(folds, tally, len(needed))
    rarest_first = np.argsort(spread.sum(axis=0), kind="stable")
    for column in np.tile(rarest_first, ROUNDS):
        for fold in np.flatnonzero((spread[:, column] == 0) & needed[:, column]):
            movable = np.flatnonzero(
                held[:, column] & ((spread[folds, column] > 1) | ~needed[folds, column])
            )
            here = folds[movable]
            kept = needed[here] | ~needed[fold]
            last = (held[movable] & (spread[here] == 1) & kept).any(axis=1)
            last &= needed[here, column] | (spread[here, 0] == 1)
            if column or not last.all():
                movable = movable[~last]
            if not movable.size:
                continue
            richest = -spread[folds[movable], column]
            patient = movable[np.lexsort((tally.by_column[0, movable], richest))[0]]
            spread[folds[patient]] -= held[patient]
            spread[fold] += held[patient]
            folds[patient] = fold


def _refine(
    folds: NDArray[np.int64], tally: _Tally, shares: NDArray[np.float64], rng: random.Random
) -> None:
    """Move single patients while that lessens the imbalance, in place; those with most first.

    The imbalance is the weighted sum, over folds and columns, of (residual / share)^2; a residual
    is the images that a fold has above those it should have. No move takes the last patient with
    a label out of a fold. Sums are of whole numbers, so exact in whatever order they are taken.
    """
    n_folds, n_patients = len(shares), len(folds)
    weights = _weights(tally)
    had = np.stack([tally.by_patient[folds == fold].sum(axis=0) for fold in range(n_folds)])
    residuals = had - np.outer(shares, had.sum(axis=0))
    spread = _spread(folds, tally, n_folds)
    luck = np.array(rng.sample(range(n_patients), n_patients))
    order = np.lexsort((luck, -tally.by_column[0]))
    for _ in range(MAX_SWEEPS):
        moves = 0
        for start in range(0, n_patients, BLOCK):
            block = order[start : start + BLOCK]
            own = tally.by_patient[block].astype(np.float64)
            here = folds[block]
            moves += _refine_block(here, own, weights, residuals, spread, shares)
            folds[block] = here
        if not moves:
            break


def _refine_block(
    here: NDArray[np.int64],
    own: NDArray[np.float64],
    weights: NDArray[np.float64],
    residuals: NDArray[np.float64],
    spread: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> int:
    """Make the best move within a block until none helps; how many were made.

    Changes here (the block's folds), residuals and spread in place. own is (block, columns).
    """
    weighted = own * weights
    inertia = (own * weighted).sum(axis=1)
    pull = own @ np.rint(weights * residuals).T
    held = own[:, : spread.shape[1]] > 0
    steep = shares**-2.0
    rows = np.arange(len(own))
    for moves in range(len(own)):
        change = (2 * pull + inertia[:, None]) * steep
        change -= ((2 * pull[rows, here] - inertia) * steep[here])[:, None]
        change[rows, here] = 0
        change[(held & (spread[here] == 1)).any(axis=1)] = 0
        row, fold = divmod(int(np.argmin(change)), len(shares))
        if change[row, fold] >= 0:
            return moves
        source, step = here[row], own @ weighted[row]
        for part, sign in ((source, -1), (fold, 1)):
            pull[:, part] += sign * step
            residuals[part] += sign * own[row]
            spread[part] += sign * held[row]
        here[row] = fold
    return len(own)


def _imbalance(
    folds: NDArray[np.int64],
    tally: _Tally,
    shares: NDArray[np.float64],
    needed: NDArray[np.bool_],
) -> tuple[list[int], float]:
    """The labels that each fold lacks and should have, in the order of the folds; then by how much
    sizes miss what was asked, LD and LPD, each over all policies, together."""
    had = np.stack([tally.by_patient[folds == fold].sum(axis=0) for fold in range(len(shares))])
    lacking = ((_spread(folds, tally, len(shares)) == 0) & needed).sum(axis=1)
    images, counts = had[:, 0], had.T
    missed = np.abs(images / (shares * images.sum()) - 1).mean()
    labels, pairs = counts[1 : tally.n_first], counts[tally.n_first :]
    return lacking.tolist(), float(missed) + odds_gap(labels, images) + odds_gap(pairs, images)


def _weights(tally: _Tally) -> NDArray[np.float64]:
    """(columns,) what a residual weighs, in whole numbers: its derivative in LD or LPD, squared."""
    totals = tally.by_column.sum(axis=1, dtype=np.float64)
    weights = np.maximum(1 - totals / totals[0], 0.05) ** -4.0
    size_weight = min(max(100 / tally.by_column.shape[1], SIZE_WEIGHT), 1.0)
    weights[0] = max(size_weight * weights[1:].sum(), 1.0)
    whole: NDArray[np.float64] = np.maximum(np.rint(weights / weights.max() * WEIGHT_STEPS), 1.0)
    return whole
