"""Intervals over patients: the cluster bootstrap of rankings and of counts, all labels at once.

A patient's images are alike, so it is patients that are drawn, each with all of its images (Field
& Welsh 2007, J. R. Stat. Soc. B 69:369-390): an image weighs as often as its patient was drawn.
The draws hang on the set of patients and the seed alone, so labels, subgroups and runs that are
scored on the same patients share them, and differences can be taken replicate by replicate.

Not by `scipy.stats.bootstrap`, which draws rows instead of patients, and calls a function for each
draw of each label.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation.metrics import Floats, columns_that_count

Counts = NDArray[np.int64]
Weights = NDArray[np.int32]

CHUNK_CELLS = 2**18
"""Replicates times images in hand at once: 1 MB an array, near the processor's cache."""
MOST_THREADS = 8


@dataclass(frozen=True)
class Draws:
    """Draws of patients with replacement: who they are, how many draws, from which seed.

    `patient_of` (n,) is each row's patient, from 0 to `patients` - 1. Replicate r of a seed is the
    same whatever else is asked for: fewer replicates are the first of more.
    """

    patient_of: Counts
    patients: int
    replicates: int
    seed: int

    def weights(self, start: int, stop: int) -> Weights:
        """How often each patient was drawn (stop - start, patients), in these replicates."""
        out = np.empty((stop - start, self.patients), np.int32)
        for row, replicate in enumerate(range(start, stop)):
            # A generator of its own for each, so that threads may take any in any order.
            rng = np.random.default_rng([self.seed, replicate])
            drawn = rng.integers(0, self.patients, self.patients)
            out[row] = np.bincount(drawn, minlength=self.patients)
        return out


def draw_patients(groups: ArrayLike, *, replicates: int = 1000, seed: int = 42) -> Draws:
    """Prepare `replicates` draws of the patients that `groups` (n,) names, a name a row.

    Names may be numbers or strings, none missing. Patients are numbered in the order of their
    names, so that the order of the rows changes nothing.

    Raises:
        DataError: `groups` has more than one dimension.
        UsageError: `replicates` is below 1.
    """
    if replicates < 1:
        raise UsageError(f"replicates is {replicates}: expected 1 or more")
    names = np.asarray(groups)
    if names.ndim != 1:
        raise DataError(f"groups have shape {names.shape}: expected one name a row")
    patients, patient_of = np.unique(names, return_inverse=True)
    return Draws(patient_of.astype(np.int64), len(patients), replicates, seed)


class Rankings(NamedTuple):
    """AUROC and AUPRC of each label in each replicate, both (replicates, C).

    NaN where the patients drawn leave a label with one class.
    """

    auroc: Floats
    auprc: Floats


def bootstrap_rankings(
    targets: ArrayLike, scores: ArrayLike, mask: ArrayLike, draws: Draws
) -> Rankings:
    """AUROC and AUPRC of each label under each draw; what they are, `metrics` says.

    `targets`, `scores` and `mask` are (n, C), the rows those of `draws.patient_of`. Counts are
    whole numbers up to the last division.

    Raises:
        DataError: shapes differ, a target that counts is not 0 or 1, or a score that counts is
            not finite.

    >>> draws = draw_patients(["a", "a", "b", "b"], replicates=3)
    >>> found = bootstrap_rankings([[0], [1], [0], [1]], [[1], [8], [2], [7]], [[True]] * 4, draws)
    >>> found.auroc.tolist(), found.auprc.tolist()
    ([[1.0], [1.0], [1.0]], [[1.0], [1.0], [1.0]])
    """
    columns = list(columns_that_count(targets, scores, mask))
    _check_rows(np.shape(targets)[0], draws)
    ranked = [_rank(draws.patient_of[rows], true, score) for rows, true, score in columns]
    out = Rankings(*np.full((2, draws.replicates, len(ranked)), np.nan))

    def work(start: int, stop: int) -> None:
        weights = draws.weights(start, stop)
        for label, ranks in enumerate(ranked):
            if len(ranks.at):
                areas = _areas(ranks, weights)
                out.auroc[start:stop, label], out.auprc[start:stop, label] = areas

    _in_chunks(work, draws)
    return out


def bootstrap_sums(values: ArrayLike, draws: Draws) -> Floats:
    """Sums of (n, K) values over the rows of the patients drawn: (replicates, K).

    Of counts, such as the true positives at a threshold, whose ratios are rates.

    Raises:
        DataError: the rows are not those of the draws.

    >>> bootstrap_sums([[1.0], [1.0]], draw_patients(["a", "b"], replicates=2)).tolist()
    [[2.0], [2.0]]
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"values have shape {table.shape}: expected (rows, sums)")
    _check_rows(len(table), draws)
    by_patient = np.zeros((draws.patients, table.shape[1]))
    np.add.at(by_patient, draws.patient_of, table)
    out = np.empty((draws.replicates, table.shape[1]))

    def work(start: int, stop: int) -> None:
        out[start:stop] = draws.weights(start, stop) @ by_patient

    _in_chunks(work, draws)
    return out


def _check_rows(rows: int, draws: Draws) -> None:
    if rows != len(draws.patient_of):
        raise DataError(f"{rows} rows, but the patients of {len(draws.patient_of)} were given")


def _in_chunks(work: Callable[[int, int], None], draws: Draws) -> None:
    """Do the replicates a few at a time, in threads: numpy lets go of the interpreter's lock."""
    step = max(1, CHUNK_CELLS // max(1, len(draws.patient_of)))
    starts = range(0, draws.replicates, step)
    if len(starts) == 1:
        work(0, draws.replicates)
        return
    lent = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    with ThreadPoolExecutor(min(lent or os.cpu_count() or 1, MOST_THREADS)) as pool:
        ends = [min(start + step, draws.replicates) for start in starts]
        list(pool.map(work, starts, ends))


class _Ranks(NamedTuple):
    """One label's rows from the highest score down: whose they are, and where its positives stand.

    Places count rows from 0; of rows that share a score only the last one's place matters.
    """

    patients: Counts  # (n,)
    positives: Counts  # (P,) the patients of the positives alone, in the same order
    at: Counts  # (P,) place of the last row that shares a positive's score
    last: Counts | None  # (P,) the last positive that shares it; None: no two rows share a score
    above: Counts | None  # (P,) rows with a higher score
    above_positives: Counts | None  # (P,) positives with a higher score


def _rank(patient: Counts, positive: NDArray[np.bool_], score: Floats) -> _Ranks:
    """Sort one label; without a positive or a negative, `at` is empty."""
    order = np.argsort(-score, kind="stable")
    patient, positive, score = patient[order], positive[order], score[order]
    places = np.flatnonzero(positive)
    if not len(places) or len(places) == len(score):
        places = places[:0]
    patients = patient, patient[places]
    ends = np.flatnonzero(score != np.append(score[1:], -np.inf))
    if len(ends) == len(score):
        return _Ranks(*patients, places, None, None, None)
    tie = np.searchsorted(ends, places)
    above = np.append(-1, ends)[tie] + 1
    positives_to = np.append(0, np.cumsum(positive))
    last = positives_to[ends[tie] + 1] - 1
    return _Ranks(*patients, ends[tie], last, above, positives_to[above])


def _areas(ranks: _Ranks, weights: Weights) -> tuple[Floats, Floats]:
    """AUROC and AUPRC, each (rows,), with each row weighing as its patient in (rows, patients)."""
    total = weights.take(ranks.patients, axis=1)
    np.cumsum(total, axis=1, out=total)
    positive = weights.take(ranks.positives, axis=1)
    found = np.cumsum(positive, axis=1, dtype=np.int32)
    all_positive = found[:, -1:].astype(np.float64)
    pairs = all_positive[:, 0] * (total[:, -1] - all_positive[:, 0])
    called = total.take(ranks.at, axis=1)
    if ranks.last is None or ranks.above is None or ranks.above_positives is None:
        twice_lost = 2 * (called - found)
    else:
        before = np.zeros((len(weights), 1), np.int32)
        lost = np.hstack([before, total]).take(ranks.above, axis=1)
        lost -= np.hstack([before, found]).take(ranks.above_positives, axis=1)
        found = found.take(ranks.last, axis=1)
        twice_lost = lost + called - found
    # A negative loses to every positive below it, and half to those that share its score.
    lost_pairs = np.multiply(positive, twice_lost, dtype=np.int64).sum(axis=1) / 2
    auroc, auprc = np.full((2, len(weights)), np.nan)
    defined = pairs > 0
    auroc[defined] = 1 - lost_pairs[defined] / pairs[defined]
    # Where nobody was called yet, no positive was drawn either, and the term is 0.
    precision = found / np.maximum(called, 1)
    gained = np.einsum("ri,ri->r", positive, precision)
    auprc[defined] = gained[defined] / all_positive[defined, 0]
    return auroc, auprc
