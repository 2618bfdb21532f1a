"""Intercept, slope and smooth curve: statsmodels' fits, and intervals that patients are behind."""

import doctest

import numpy as np
import pytest
import statsmodels.api as sm
from patsy import dmatrix
from scipy.special import expit
from scipy.special import logit as scipy_logit
from scipy.stats import t as student

from cxrtool.core.errors import DataError
from cxrtool.evaluation import calibration_measures
from cxrtool.evaluation.calibration_measures import (
    ENDS,
    GRID,
    KNOTS,
    measure_calibration,
    spline_basis,
)

pytestmark = pytest.mark.filterwarnings("error:::cxrtool")


def draw(seed=0, patients=300, slope=0.7, level=-1.5, alike=1.0, shift=0.4):
    """Rows of patients with one to five alike images: targets, probabilities, patients."""
    rng = np.random.default_rng(seed)
    whom = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    logit = rng.normal(level, 1.2, len(whom)) + alike * rng.normal(0, 1, patients)[whom]
    together = rng.random(patients)[whom]
    single = rng.random(len(whom))
    chance = np.where(rng.random(len(whom)) < 0.7, together, single)
    return chance < expit(shift + slope * logit), expit(logit), whom


def reference(y_true, design, whom, offset=None):
    """statsmodels' binomial GLM, its covariance over patients brought to G / (G - 1)."""
    model = sm.GLM(y_true.astype(float), design, family=sm.families.Binomial(), offset=offset)
    found = model.fit(cov_type="cluster", cov_kwds={"groups": whom}, tol=1e-14)
    n, k = design.shape
    return found.params, found.cov_params() * (n - k) / (n - 1)


@pytest.mark.parametrize("seed", range(3))
def test_intercept_and_slope_are_statsmodels(seed):
    y_true, y_score, whom = draw(seed)
    found = measure_calibration(y_true, y_score, None, whom)
    logit = scipy_logit(y_score)
    fewest = min(len(np.unique(whom[of])) for of in (y_true, ~y_true))
    wide = student.ppf(0.975, fewest - 1)
    for estimate, at, design, offset in (
        (found.intercept, 0, np.ones((len(logit), 1)), logit),
        (found.slope, 1, sm.add_constant(logit), None),
    ):
        values, covariance = reference(y_true, design, whom, offset)
        half = wide * np.sqrt(covariance[at, at])
        assert estimate.value == pytest.approx(values[at], abs=1e-8)
        assert estimate.interval == pytest.approx((values[at] - half, values[at] + half), abs=1e-7)


@pytest.mark.parametrize(("patients", "knots"), [(40, 3), (110, 4), (900, 5)])
def test_the_curve_is_statsmodels_on_patsys_natural_spline(patients, knots):
    y_true, y_score, whom = draw(1, patients, level=-1.2)
    fewest = len(np.unique(whom[y_true]))
    assert {3: fewest < 30, 4: 30 <= fewest < 100, 5: fewest >= 100}[knots]
    logit = scipy_logit(y_score)
    at = np.quantile(logit, KNOTS[knots])
    # A natural cubic spline between the same outer knots is the same space of curves.
    spline = "cr(x, knots=inner, lower_bound=low, upper_bound=high) - 1"
    of = {"inner": at[1:-1], "low": at[0], "high": at[-1]}
    inside = (logit >= at[0]) & (logit <= at[-1])
    basis = spline_basis(logit, at)
    patsys = np.asarray(dmatrix(spline, {"x": logit[inside], **of}))
    left = patsys @ np.linalg.lstsq(patsys, basis[inside], rcond=None)[0]
    assert left == pytest.approx(basis[inside], abs=1e-9)
    values, covariance = reference(y_true, basis, whom)
    grid = spline_basis(np.linspace(*np.quantile(logit, ENDS), GRID), at)
    half = student.ppf(0.975, fewest - 1) * np.sqrt(np.diag(grid @ covariance @ grid.T))
    found = measure_calibration(y_true, y_score, None, whom).curve
    assert found.observed == pytest.approx(expit(grid @ values), abs=1e-7)
    assert found.low == pytest.approx(expit(grid @ values - half), abs=1e-6)
    assert found.high == pytest.approx(expit(grid @ values + half), abs=1e-6)


def test_the_spline_is_straight_beyond_its_outer_knots():
    knots = np.array([-2.0, -1, 0, 2])
    beyond = np.linspace(2, 9, 8)
    assert np.diff(spline_basis(beyond, knots), n=2, axis=0) == pytest.approx(0, abs=1e-9)
    assert spline_basis(np.array([-9.0, -3]), knots)[:, 2:].tolist() == [[0, 0], [0, 0]]


def test_what_probabilities_are_off_by_is_found():
    rng = np.random.default_rng(4)
    logit = rng.normal(-1, 1.5, 40_000)
    y_true = rng.random(40_000) < expit(0.6 * logit - 0.8)
    found = measure_calibration(y_true, expit(logit))
    assert found.slope.value == pytest.approx(0.6, abs=0.04)
    assert found.slope.interval[0] < 0.6 < found.slope.interval[1]
    assert found.intercept.value < -0.5
    truth = expit(0.6 * scipy_logit(np.array(found.curve.predicted)) - 0.8)
    assert np.abs(truth - found.curve.observed).max() < 0.035
    moved = measure_calibration(y_true, expit(0.6 * logit - 0.8))
    assert moved.intercept.value == pytest.approx(0, abs=0.04)
    assert moved.slope.value == pytest.approx(1, abs=0.05)


def test_intervals_are_as_wide_as_estimates_of_other_patients_scatter():
    draws = [
        measure_calibration(*draw(seed, 120)[:2], None, draw(seed, 120)[2]) for seed in range(300)
    ]
    for name in ("intercept", "slope"):
        estimates = [getattr(one, name) for one in draws]
        scatter = np.std([one.value for one in estimates])
        widths = [(one.interval[1] - one.interval[0]) / 2 / 1.99 for one in estimates]
        assert np.mean(widths) == pytest.approx(scatter, rel=0.15)
    y_true, y_score, whom = draw(0, 120)
    images = measure_calibration(y_true, y_score).intercept.interval
    patients = measure_calibration(y_true, y_score, None, whom).intercept.interval
    assert patients[1] - patients[0] > 1.2 * (images[1] - images[0])


def test_masked_rows_and_the_order_of_rows_change_nothing():
    y_true, y_score, whom = draw(2)
    rng = np.random.default_rng(0)
    mask = rng.random(len(whom)) < 0.8
    spoiled = np.where(mask, y_score, np.nan)
    found = measure_calibration(np.where(mask, y_true, 7), spoiled, mask, whom)
    kept = measure_calibration(y_true[mask], y_score[mask], None, whom[mask])
    assert found == kept
    order = rng.permutation(len(whom))
    other = measure_calibration(y_true[order], y_score[order], mask[order], whom[order])
    assert other.slope.value == pytest.approx(kept.slope.value, rel=1e-9)
    assert other.curve.low == pytest.approx(kept.curve.low, abs=1e-9)


def test_what_is_not_defined_is_none():
    one_class = measure_calibration([0, 0, 0], [0.1, 0.2, 0.3])
    assert (one_class.intercept.value, one_class.slope.value, one_class.curve) == (None,) * 3
    nothing = measure_calibration([], [])
    assert (nothing.intercept.value, nothing.slope.value, nothing.curve) == (None,) * 3
    apart = measure_calibration([0] * 20 + [1] * 20, np.linspace(0.1, 0.9, 40))
    assert apart.intercept.value is not None
    assert (apart.slope.value, apart.curve) == (None, None)
    few = measure_calibration([0, 1] * 6, np.linspace(0.2, 0.8, 12), None, [*range(6)] * 2)
    assert few.slope.value is not None
    assert few.slope.interval is not None
    assert few.curve is None
    alone = measure_calibration([0, 1, 0, 1, 0], [0.1, 0.3, 0.4, 0.2, 0.6], None, [0, 1, 2, 1, 3])
    assert alone.slope.value is not None
    assert alone.slope.interval is None is alone.intercept.interval
    sure = measure_calibration([0, 1, 1, 0] * 20, [0.0, 1.0, 0.7, 0.2] * 20)
    assert np.isfinite([sure.intercept.value, *sure.intercept.interval]).all()


def test_without_a_level_there_are_no_intervals():
    y_true, y_score, whom = draw(3)
    found = measure_calibration(y_true, y_score, None, whom, level=None)
    assert found.intercept.interval is None is found.slope.interval
    assert found.curve.low == () == found.curve.high
    assert found.slope.value == measure_calibration(y_true, y_score, None, whom).slope.value


def test_scores_that_are_no_probabilities_are_refused():
    with pytest.raises(DataError, match="calibration needs probabilities"):
        measure_calibration([0, 1], [0.5, 1.5])


def test_examples():
    assert doctest.testmod(calibration_measures).failed == 0
