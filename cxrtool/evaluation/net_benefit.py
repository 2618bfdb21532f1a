"""Net benefit: what deciding by a label's probabilities is worth beside treating all or none.

Vickers & Elkin 2006 (Med. Decis. Making 26:565-574): whoever acts from a probability t on weighs a
false positive t / (1 - t) times a true one. The net benefit at t is

    true positives / n - false positives / n * t / (1 - t)

in true positives per image; treating all gets prevalence - (1 - prevalence) t / (1 - t), treating
none 0. It holds for the prevalence of the sample, and needs probabilities that are calibrated.

Intervals are over patients: the net benefit is a mean over rows, and the variance of a mean sums
each patient's rows before it squares them (Cochran 1977, Sampling Techniques, section 6.3: the
ratio of two sums over clusters). Not by dcurves, which knows no patients and brings lifelines;
tests/benchmarks/bench_dcurves.py is equal to it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import expit, logit, stdtrit

from cxrtool.core.json_files import JsonResult
from cxrtool.evaluation.calibration import counted_probabilities
from cxrtool.evaluation.intervals import LEVEL
from cxrtool.evaluation.metrics import Floats

THRESHOLDS = 41
"""Of a curve, evenly spaced in log odds."""
TENFOLD = 10.0
"""A curve reaches from a tenth of the prevalence's odds to ten times them: who would act for less,
or not even for more, needs no test."""


@dataclass(frozen=True, kw_only=True)
class DecisionCurve(JsonResult):
    """One label's net benefit at rising thresholds, each (k,) in true positives per row.

    `low` and `high` are the pointwise interval over patients; empty where none was asked for.
    """

    threshold: tuple[float, ...]
    net_benefit: tuple[float, ...]
    treat_all: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    useful: tuple[bool, ...] = ()
    """Where it is above treating all and above treating none, and the intervals of both
    differences are clear of 0."""

    @property
    def useful_range(self) -> tuple[float, float] | None:
        """From which threshold to which it is `useful`, the longest such stretch; None: nowhere."""
        found: list[list[float]] = [[]]
        for at, good in zip(self.threshold, self.useful, strict=False):
            if good:
                found[-1].append(at)
            elif found[-1]:
                found.append([])
        longest = max(found, key=len)
        return (longest[0], longest[-1]) if longest else None


def thresholds_around(prevalence: float) -> Floats:
    """The thresholds (k,) of a label of this prevalence, in (0, 1) and rising.

    >>> thresholds_around(0.5)[[0, 20, 40]].round(3).tolist()
    [0.091, 0.5, 0.909]
    """
    middle, far = logit(prevalence), np.log(TENFOLD)
    return np.asarray(expit(np.linspace(middle - far, middle + far, THRESHOLDS)))


def decision_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    mask: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    *,
    thresholds: ArrayLike | None = None,
    level: float | None = LEVEL,
) -> DecisionCurve | None:
    """The decision curve of one label; None without both classes.

    Args:
        y_true: (n,) in {0, 1}.
        y_score: (n,) probabilities; a row is treated from the threshold on.
        mask: (n,) True where a row counts; None: everywhere.
        patients: (n,) names or numbers of patients; None: each row is one.
        thresholds: (k,) in (0, 1); None: `thresholds_around` the prevalence.
        level: of the intervals; None: there are none.

    Raises:
        DataError: as `calibration.counted_probabilities`.

    >>> found = decision_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], thresholds=[0.2], level=None)
    >>> found.net_benefit, found.treat_all
    ((0.4375,), (0.375,))
    """
    positive, score = counted_probabilities(y_true, y_score, mask)
    names = np.arange(np.size(y_true)) if patients is None else np.asarray(patients)
    of_rows = names if mask is None else names[np.asarray(mask, bool)]
    if positive.all() or not positive.any():
        return None
    at = thresholds_around(positive.mean()) if thresholds is None else np.asarray(thresholds, float)
    _, whom = np.unique(of_rows, return_inverse=True)
    # Of each row what it adds to n times the net benefit: 1, -odds or nothing.
    treated = score[:, None] >= at
    worth = np.where(positive[:, None], 1.0, -at / (1 - at))
    gained, all_gained = np.where(treated, worth, 0.0), worth
    model, treat_all = gained.mean(axis=0), all_gained.mean(axis=0)
    curve = DecisionCurve(
        threshold=tuple(at.tolist()),
        net_benefit=tuple(model.tolist()),
        treat_all=tuple(treat_all.tolist()),
    )
    if level is None:
        return curve
    fewest = min(len(np.unique(whom[of])) for of in (positive, ~positive))
    if fewest < 2:
        return curve
    width = float(stdtrit(fewest - 1.0, (1 + level) / 2))
    half = width * _deviation(gained, whom)
    over_all = model - treat_all - width * _deviation(gained - all_gained, whom)
    useful = (model - half > 0) & (over_all > 0)
    return DecisionCurve(
        threshold=curve.threshold,
        net_benefit=curve.net_benefit,
        treat_all=curve.treat_all,
        low=tuple((model - half).tolist()),
        high=tuple((model + half).tolist()),
        useful=tuple(useful.tolist()),
    )


def _deviation(values: Floats, patient_of: NDArray[np.intp]) -> Floats:
    """The standard deviation of means over rows (n, k), whose patients were drawn: (k,)."""
    patients = int(patient_of.max()) + 1
    rows = np.arange(len(values))
    of_patients = csr_array((np.ones(len(rows)), (patient_of, rows)), (patients, len(rows)))
    sums = of_patients @ (values - values.mean(axis=0))
    squares = np.sum(sums**2, axis=0) * (patients / (patients - 1))
    return np.asarray(np.sqrt(squares) / len(values))
