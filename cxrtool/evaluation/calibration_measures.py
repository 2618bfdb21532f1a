"""Calibration as TRIPOD+AI asks for it: intercept, slope and a smooth curve, over patients.

One label at a time. Van Calster et al. 2019 (BMC Med. 17:230) name the levels: calibration in the
large (the intercept: are probabilities too high or too low on the whole), weak calibration (the
slope: are they spread too far, as an overfitted network's are) and moderate calibration (the
curve). All three are logistic regressions of the target on the log odds of the probability.

Intervals are over patients without drawing any: the covariance of a fit is the sandwich that sums
each patient's rows before it squares them (Liang & Zeger 1986, Biometrika 73:13-22), times
G / (G - 1) of G patients. It is what a bootstrap of patients tends to, at a thousandth of its time.

Not by statsmodels, which is a reference of the tests: it brings a second language of formulas, and
its clustered covariance takes no rows that are left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, stdtrit

from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.calibration import counted_probabilities, logit_of
from cxrtool.evaluation.intervals import LEAST_PATIENTS, LEVEL
from cxrtool.evaluation.metrics import Floats

KNOTS = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.5, 0.725, 0.95)}
"""Where a curve of so many knots has them: quantiles of its logits (Harrell 2015, Regression
Modeling Strategies, 2nd ed., table 2.3)."""
FEW, SOME = 30, 100
"""A curve has three knots with fewer patients of the rarer class, four, and five from here on."""
GRID = 40
"""Points of a curve, evenly spaced in log odds."""
ENDS = (0.005, 0.995)
"""The quantiles of the logits that a curve reaches to: beyond them are too few images."""
STEEPEST = 100.0
"""A slope beyond this says that the classes are separated: there is no best one."""


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve(JsonResult):
    """The share of positives that goes with each probability, each (k,) and in [0, 1].

    `low` and `high` are the pointwise interval over patients; empty where none was asked for.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CalibrationMeasures:
    """What one label's probabilities are worth as probabilities; None where not defined."""

    intercept: Estimate
    """0 is best; above 0, positives are more frequent than the probabilities say."""
    slope: Estimate
    """1 is best; below 1, probabilities are too extreme. Without both classes there is none."""
    curve: CalibrationCurve | None


def measure_calibration(
    y_true: ArrayLike,
    y_score: ArrayLike,
    mask: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    level: float | None = LEVEL,
) -> CalibrationMeasures:
    """Intercept, slope and smooth curve of one label.

    - intercept: a of logit(share) = a + logit(p), calibration in the large (Cox 1958, Biometrika
      45:562-565).
    - slope: b of logit(share) = a + b logit(p), the same author's.
    - curve: a restricted cubic spline of logit(p), whose knots `KNOTS` says (Harrell 2015, section
      2.4.5; that a flexible curve shows what two numbers hide: Austin & Steyerberg 2014, Stat. Med.
      33:517-535). It may fall; with fewer than `LEAST_PATIENTS` patients of a class there is none.

    Args:
        y_true: (n,) in {0, 1}.
        y_score: (n,) probabilities.
        mask: (n,) True where a row counts; None: everywhere.
        patients: (n,) names or numbers of patients; None: each row is one.
        level: of the intervals; None: there are none.

    Raises:
        DataError: as `calibration.counted_probabilities`.

    >>> found = measure_calibration([0, 0, 0, 1] * 25, [0.5] * 100)
    >>> round(found.intercept.value, 3), found.slope.value, found.curve
    (-1.099, None, None)
    """
    positive, score = counted_probabilities(y_true, y_score, mask)
    names = np.arange(np.size(y_true)) if patients is None else np.asarray(patients)
    of_rows = names if mask is None else names[np.asarray(mask, bool)]
    whom = np.unique(of_rows, return_inverse=True)[1].astype(np.int64)
    fewest = min(len(np.unique(whom[of])) for of in (positive, ~positive))
    none = CalibrationMeasures(intercept=Estimate(), slope=Estimate(), curve=None)
    if not fewest:
        return none
    rows = _Rows(positive, logit_of(score), whom, fewest)
    ones = np.ones((len(score), 1))
    in_the_large = _fit(rows, ones, offset=rows.logit)
    middle, spread = float(rows.logit.mean()), float(rows.logit.std())
    line = None
    if spread > 0:
        line = _fit(rows, np.column_stack([ones, (rows.logit - middle) / spread]))
    if line is not None and abs(line.values[1] / spread) > STEEPEST:
        line = None
    return CalibrationMeasures(
        intercept=_estimate(in_the_large, 0, 1.0, level),
        slope=_estimate(line, 1, spread, level),
        curve=None if line is None else _curve(rows, level),
    )


@dataclass(frozen=True)
class _Rows:
    """One label's rows that count."""

    positive: NDArray[np.bool_]
    logit: Floats
    patient: NDArray[np.int64]
    """(n,) numbers from 0."""
    fewest: int
    """How many patients have a row of the rarer class."""

    @property
    def freedom(self) -> float:
        return self.fewest - 1.0


@dataclass(frozen=True)
class _Fit:
    """A logistic regression: coefficients (k,), and their covariance (k, k) over patients."""

    values: Floats
    covariance: Floats
    freedom: float


def _fit(rows: _Rows, design: Floats, offset: Floats | None = None) -> _Fit | None:
    """The most likely coefficients; None where there are none, as of classes apart."""
    target, base = rows.positive.astype(float), np.zeros(len(design)) if offset is None else offset

    def loss(at: Floats) -> float:
        return float(np.sum(np.logaddexp(0, at) - target * at))

    values = np.zeros(design.shape[1])
    reached = base
    for _ in range(60):
        share = expit(reached)
        weighted = design * (share * (1 - share))[:, None]
        step = _solve(design.T @ weighted, design.T @ (target - share))
        if step is None:
            return None
        before, size = loss(reached), 1.0
        most = before + 1e-12 * (1 + abs(before))  # what rounding adds is no overshoot
        while size > 1e-8 and loss(base + design @ (values + size * step)) > most:
            size /= 2
        values = values + size * step
        reached = base + design @ values
        if np.abs(step).max() < 1e-9:
            return _with_covariance(rows, design, reached, values)
    return None


def _with_covariance(rows: _Rows, design: Floats, reached: Floats, values: Floats) -> _Fit | None:
    share = expit(reached)
    bread = _solve(design.T @ (design * (share * (1 - share))[:, None]), np.eye(design.shape[1]))
    if bread is None:
        return None
    scores = design * (rows.positive - share)[:, None]
    patients = int(rows.patient.max()) + 1
    sums = np.stack([np.bincount(rows.patient, of, patients) for of in scores.T], axis=1)
    meat = sums.T @ sums * (patients / max(patients - 1, 1))
    return _Fit(values, bread @ meat @ bread, rows.freedom)


def _solve(matrix: Floats, right: Floats) -> Floats | None:
    """The solution of a system; None of one that has none that can be trusted."""
    if not np.isfinite(matrix).all() or np.linalg.cond(matrix) > 1e14:
        return None
    return np.asarray(np.linalg.solve(matrix, right))


def _estimate(fit: _Fit | None, at: int, unit: float, level: float | None) -> Estimate:
    """A coefficient per `unit`, and Student's interval of it."""
    if fit is None:
        return Estimate()
    value = float(fit.values[at]) / unit
    if level is None or fit.freedom < 1:
        return Estimate(value)
    half = _width(fit, level) * float(np.sqrt(fit.covariance[at, at])) / unit
    return Estimate(value, (value - half, value + half))


def _width(fit: _Fit, level: float) -> float:
    return float(stdtrit(fit.freedom, (1 + level) / 2))


def _curve(rows: _Rows, level: float | None) -> CalibrationCurve | None:
    if rows.fewest < LEAST_PATIENTS:
        return None
    number = 3 if rows.fewest < FEW else 4 if rows.fewest < SOME else 5
    knots = np.quantile(rows.logit, KNOTS[number])
    if (np.diff(knots) <= 0).any():  # scores of a few levels bend nowhere
        return None
    fit = _fit(rows, spline_basis(rows.logit, knots))
    if fit is None:
        return None
    low, high = np.quantile(rows.logit, ENDS).tolist()
    grid = np.linspace(low, high, GRID)
    basis = spline_basis(grid, knots)
    middle = basis @ fit.values
    curve = {"predicted": grid, "observed": middle}
    if level is not None:
        half = _width(fit, level) * np.sqrt(np.einsum("ij,jk,ik->i", basis, fit.covariance, basis))
        curve |= {"low": middle - half, "high": middle + half}
    return CalibrationCurve(**{name: tuple(expit(at).tolist()) for name, at in curve.items()})


def spline_basis(values: Floats, knots: Floats) -> Floats:
    """A constant, the value and the restricted cubic terms: (n,) and (k,) knots to (n, k).

    Straight beyond the outer knots (Harrell 2015, section 2.4.5), scaled by their distance.
    """
    first, last, next_to_last = knots[0], knots[-1], knots[-2]
    width = last - first
    unit = (values - first) / width
    cubes = [np.maximum((values - knot) / width, 0) ** 3 for knot in knots]
    terms = [
        cube
        - cubes[-2] * (last - knot) / (last - next_to_last)
        + cubes[-1] * (next_to_last - knot) / (last - next_to_last)
        for knot, cube in zip(knots[:-2], cubes, strict=False)
    ]
    return np.column_stack([np.ones(len(values)), unit, *terms])
