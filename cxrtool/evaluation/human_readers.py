"""Human readers beside a model: their operating points, the model's there, and their agreement.

All on the rows that a reader read and whose truth counts; intervals over the same draws of
patients as the model's own, so that differences are paired.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.bootstrap import CHUNK_CELLS, Draws, bootstrap_sums
from cxrtool.evaluation.intervals import bootstrap_interval
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.rates import Outcomes
from cxrtool.evaluation.sample import Sample, patients_of_classes

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one reader said of a sample's n rows and C labels."""

    name: str
    called: Flags
    """(n, C) positive."""
    read: Flags
    """(n, C) whether it was read at all."""


@dataclass(frozen=True, kw_only=True)
class ReaderScores(JsonResult):
    """One reader on one label; None where the data do not define a figure."""

    n: int
    """Rows that were read and count."""
    positives: int
    """Of them, by the truth."""
    sensitivity: Estimate
    specificity: Estimate
    model_sensitivity: Estimate
    """The model's at a specificity no lower than the reader's, on the same rows."""
    difference: Estimate
    """The model's less the reader's."""


@dataclass(frozen=True, kw_only=True)
class ReadLabel(JsonResult):
    """All readers on one label."""

    readers: Mapping[str, ReaderScores]
    kappa: Estimate
    """The mean of the pairs' (Light 1971, Psychol. Bull. 76:365-377)."""
    pairs: Mapping[str, Estimate]
    """Cohen's kappa of each two readers."""


@dataclass(frozen=True, kw_only=True)
class HumanReaders(JsonResult):
    """Readers beside a model."""

    names: tuple[str, ...]
    labels: Mapping[str, ReadLabel]
    """Those that somebody read."""

    @property
    def above(self) -> tuple[int, int]:
        """How many readers' points lie above the model's curve, and of how many."""
        gaps = [
            one.difference.value
            for label in self.labels.values()
            for one in label.readers.values()
            if one.difference.value is not None
        ]
        return sum(gap < 0 for gap in gaps), len(gaps)


def compare_readers(
    sample: Sample, readings: Sequence[Reading], draws: Draws | None
) -> HumanReaders:
    """Score readers as the model is scored, and hold the model to each one's specificity.

    A reader has one operating point, not a curve, so the model is taken at the lowest threshold
    whose specificity is no lower than the reader's; in each draw of patients at the one that is
    the lowest there.

    Args:
        sample: n rows, C labels.
        readings: each reader's, on the same rows.
        draws: of the sample's patients; None: no intervals.
    """
    scores = [_reader_scores(sample, one, draws) for one in readings]
    kappas = _kappas(sample, readings, draws)
    labels = {}
    for at, label in enumerate(sample.labels):
        if any((one.read & sample.mask)[:, at].any() for one in readings):
            labels[label] = ReadLabel(
                readers={one.name: of[at] for one, of in zip(readings, scores, strict=True)},
                kappa=kappas.mean[at],
                pairs={pair: of[at] for pair, of in kappas.pairs.items()},
            )
    return HumanReaders(names=tuple(one.name for one in readings), labels=labels)


def _reader_scores(sample: Sample, reading: Reading, draws: Draws | None) -> list[ReaderScores]:
    """One reader's figures of each label."""
    mask = sample.mask & reading.read
    of_reader = replace(sample, scores=reading.called.astype(np.float64), logits=None)
    outcomes = Outcomes(of_reader, np.full(len(sample.labels), 0.5), mask, draws)
    sensitivity, specificity = outcomes.share("tp", "fn"), outcomes.share("tn", "fp")
    few = patients_of_classes(sample, mask).min(axis=0)
    found = []
    for at in range(len(sample.labels)):
        model, difference = _at_the_readers_point(
            sample, at, mask[:, at], reading.called[:, at], float(few[at]) - 1, draws
        )
        found.append(
            ReaderScores(
                n=int(mask[:, at].sum()),
                positives=int((mask & sample.targets)[:, at].sum()),
                sensitivity=sensitivity.estimates[at],
                specificity=specificity.estimates[at],
                model_sensitivity=model,
                difference=difference,
            )
        )
    return found


def _at_the_readers_point(
    sample: Sample, at: int, mask: Flags, called: Flags, freedom: float, draws: Draws | None
) -> tuple[Estimate, Estimate]:
    """The model's sensitivity at a reader's specificity, and the difference of theirs."""
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(-sample.ranked[rows, at], kind="stable")]
    positive, said, score = sample.targets[rows, at], called[rows], sample.ranked[rows, at]
    if positive.all() or not positive.any():
        return Estimate(), Estimate()
    ends = np.flatnonzero(score != np.append(score[1:], -np.inf))
    value = _sensitivities(np.ones((1, len(rows)), np.int64), positive, said, ends)
    drawn = None
    if draws is not None:
        step = max(1, CHUNK_CELLS // len(rows))
        parts = []
        for start in range(0, draws.replicates, step):
            weights = draws.weights(start, min(start + step, draws.replicates))
            parts.append(_sensitivities(weights[:, draws.patient_of[rows]], positive, said, ends))
        drawn = np.concatenate(parts)
    both = np.column_stack([value[:, 0], value[:, 0] - value[:, 1]])[0]
    if drawn is None:
        return Estimate.of(both[0]), Estimate.of(both[1])
    replicates = np.column_stack([drawn[:, 0], drawn[:, 0] - drawn[:, 1]])
    intervals = bootstrap_interval(replicates, both, [freedom, freedom])
    return Estimate.of(both[0], intervals[0]), Estimate.of(both[1], intervals[1])


def _sensitivities(
    weights: NDArray[np.integer], positive: Flags, said: Flags, ends: NDArray[np.intp]
) -> Floats:
    """The model's sensitivity at the reader's false positives, and the reader's own: (R, 2).

    Args:
        weights: (R, n) how often each row counts, from the highest score down.
        positive: (n,) the truth.
        said: (n,) what the reader called positive.
        ends: the last row of each of the scores that occur.
    """
    of_positives, of_negatives = weights * positive, weights * ~positive
    hits = np.cumsum(of_positives, axis=1)[:, ends]
    alarms = np.cumsum(of_negatives, axis=1)[:, ends]
    allowed = (of_negatives * said).sum(axis=1, keepdims=True)
    # Alarms rise: as many of the thresholds as are allowed, the last of them the most sensitive.
    last = (alarms <= allowed).sum(axis=1)
    found = np.where(
        last > 0, np.take_along_axis(hits, np.maximum(last - 1, 0)[:, None], 1)[:, 0], 0
    )
    total = of_positives.sum(axis=1).astype(np.float64)
    total[(total == 0) | (of_negatives.sum(axis=1) == 0)] = np.nan
    own = (of_positives * said).sum(axis=1)
    return np.column_stack([found / total, own / total])


@dataclass(frozen=True, kw_only=True)
class _Kappas:
    """Each pair's kappa and their mean, of each label."""

    pairs: dict[str, list[Estimate]]
    mean: list[Estimate]


def _kappas(sample: Sample, readings: Sequence[Reading], draws: Draws | None) -> _Kappas:
    pairs, values, drawn, freedoms = [], [], [], []
    for one, other in itertools.combinations(readings, 2):
        both = sample.mask & one.read & other.read
        cells = [
            both & (one.called == here) & (other.called == there)
            for here, there in itertools.product((True, False), repeat=2)
        ]
        pairs.append(f"{one.name} and {other.name}")
        values.append(_kappa([of.sum(axis=0).astype(np.float64) for of in cells]))
        some = replace(sample, targets=one.called | other.called)
        freedoms.append(patients_of_classes(some, both).min(axis=0) - 1.0)
        if draws is not None:
            drawn.append(_kappa(np.hsplit(bootstrap_sums(np.hstack(cells), draws), len(cells))))
    nothing = [Estimate()] * len(sample.labels)
    if not pairs:
        return _Kappas(pairs={}, mean=nothing)
    found = {
        pair: _with_interval(values[at], drawn[at] if drawn else None, freedoms[at])
        for at, pair in enumerate(pairs)
    }
    means = np.mean(drawn, axis=0) if drawn else None
    least = np.min(freedoms, axis=0)
    return _Kappas(pairs=found, mean=_with_interval(np.mean(values, axis=0), means, least))


def _with_interval(values: Floats, drawn: Floats | None, freedom: Floats) -> list[Estimate]:
    if drawn is None:
        return Estimate.each(values)
    return Estimate.each(values, bootstrap_interval(drawn, values, freedom))


def _kappa(cells: Sequence[Floats]) -> Floats:
    """Cohen's kappa (1960, Educ. Psychol. Meas. 20:37-46) from counts of two readers' calls.

    (p_o - p_e) / (1 - p_e): how much more often they agree than by chance, of what chance leaves.
    NaN where both say the same of all rows, as chance then would.

    Args:
        cells: both positive, the first alone, the second alone, neither; of any one shape.
    """
    both, first, second, neither = cells
    total = both + first + second + neither
    chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed, expected = (both + neither) / total, chance / total**2
        kappa = (agreed - expected) / (1 - expected)
    return np.where(expected < 1, kappa, np.nan)
