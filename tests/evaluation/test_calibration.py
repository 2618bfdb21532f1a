"""Calibration: ranks stay to the last bit, and fits are those of scipy and scikit-learn."""

import doctest
import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from scipy.special import logit as scipy_logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation import calibration as calibration
from cxrtool.evaluation.calibration import (
    FLOOR,
    LEAST_POSITIVES,
    LOGITS,
    METHODS,
    MOST_KNOTS,
    OWN_LOGIT,
    OWN_SHARE,
    SLOPES,
    Calibrator,
    fit,
)
from cxrtool.evaluation.metrics import auprc, auroc, youden_threshold
from cxrtool.evaluation.reliability import brier_score, expected_calibration_error, reliability_bins
from tests.support.scores import SHAPES, draw

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=[(shape, seed) for shape in SHAPES for seed in range(2)], ids=str)
def drawn(request):
    return draw(*request.param)


def isotonic(scores, shares):
    return Calibrator("isotonic", {"scores": tuple(scores), "shares": tuple(shares)})


def temperature(value):
    return Calibrator("temperature", {"temperature": (value,)})


def platt(slope, intercept):
    return Calibrator("platt", {"slope": (slope,), "intercept": (intercept,)})


def prior(shift):
    return Calibrator("prior", {"shift": (shift,)})


def moved(calibrator, offset):
    return replace(calibrator, offset=offset)


def extremes():
    """Calibrators as steep, flat and far off as are made."""
    low, high = SLOPES
    steep_and_high = {
        slope: 14 + slope * np.log(63) - 1e-6 for slope in (low, 0.1, 1.0, 10.0, high)
    }
    return [
        *map(temperature, (low, 0.1, 0.45, 1.0, 2.5, 10.0, high)),
        *(platt(slope, top) for slope, top in steep_and_high.items()),
        *(platt(slope, -1e4) for slope in steep_and_high),
        *(platt(slope, 1.0) for slope in steep_and_high),
        isotonic([0.1, 0.6], [0.0, 1.0]),
        isotonic([0.0, 1.0], [0.5, 0.5 + 1e-12]),
        isotonic([1e-45, 1e-40], [0.0, 1.0]),
        isotonic([5e-324, 1.0], [0.7, 0.7 + 1e-12]),
        isotonic([1 - 2**-24, 1.0], [0.0, 1e-12]),
        isotonic([1e-30, 1e-7, 0.3, 0.9], [0.0, 0.98, 0.99, 1.0]),
        *map(prior, (-1e4, -3.0, 0.0, 3.0, 14 + np.log(63) - 1e-6)),
        moved(prior(4.0), 14 + np.log(63) - 4 - 1e-6),
        moved(prior(-2.0), -12.0),
        *(moved(temperature(one), offset) for one in (low, 1.0, high) for offset in (-14.0, 13.0)),
        *(moved(platt(1.3, -1.0), offset) for offset in (-14.0, 14.0)),
        *(
            moved(isotonic([1e-30, 1e-7, 0.3, 0.9], [0.0, 0.98, 0.99, 1.0]), offset)
            for offset in (-14.0, -3.0, 3.0, 14.0)
        ),
    ]


def neighbours():
    """Runs of float32 neighbours in [0, 1]: both ends in full, every magnitude, the middle."""
    one = int(np.float32(1).view(np.uint32))
    middles = np.array([0.5, 0.25, 1 / 64, 0.01, 0.1, 0.3, 0.75, 0.9, 0.99, 0.999], np.float32)
    magnitudes = (10.0 ** np.arange(-44, 0)).astype(np.float32)
    starts = [0, one - 999, *(np.append(middles, magnitudes).view(np.uint32).astype(int) - 500)]
    bits = np.unique(np.concatenate([np.arange(start, start + 1000) for start in starts]))
    return bits[(bits >= 0) & (bits <= one)].astype(np.uint32).view(np.float32)


# What a calibrator does to scores


@pytest.mark.parametrize("calibrator", extremes(), ids=str)
def test_distinct_float32_scores_stay_distinct_and_in_order(calibrator):
    raw = neighbours()
    assert raw[0] == 0
    assert raw[-1] == 1
    calibrated = calibrator(raw)
    assert calibrated.dtype == np.float64
    assert (np.diff(calibrated) > 0).all()
    assert calibrated[0] >= 0
    assert calibrated[-1] <= 1


@pytest.mark.parametrize("calibrator", extremes(), ids=str)
def test_float64_scores_never_change_places(calibrator):
    runs = [v + np.spacing(v) * np.arange(500) for v in (1e-9, 0.003, 0.2, 0.5, 0.8, 1 - 1e-13)]
    raw = np.unique(np.clip(np.concatenate([[0, 5e-324, 1e-300, 1e-30, 1], *runs]), 0, 1))
    assert (np.diff(calibrator(raw)) >= 0).all()


@pytest.mark.parametrize("calibrator", [temperature(1.5), platt(0.7, -1.0)], ids=str)
def test_scores_beyond_float32_stay_distinct_where_float64_can_hold_them(calibrator):
    raw = [0, 1e-40, 1e-30, 1e-29, 0.5, 1 - 1e-12, 1 - 1e-14, 1 - 1e-16, 1]
    assert (np.diff(calibrator(raw)) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_ranks_and_what_rests_on_them_stay_to_the_last_bit(method, drawn):
    y_true, y_score = drawn
    calibrated = fit(method, y_true, y_score)(y_score)
    assert auroc(y_true, calibrated) == auroc(y_true, y_score)
    assert auprc(y_true, calibrated) == auprc(y_true, y_score)
    for kind in ("stable", "quicksort"):
        assert (
            np.argsort(calibrated, kind=kind) == np.argsort(y_score.astype(float), kind=kind)
        ).all()
    assert len(np.unique(calibrated)) == len(np.unique(y_score))


@pytest.mark.parametrize("method", METHODS)
def test_a_threshold_can_be_calibrated_like_a_score(method, drawn):
    y_true, y_score = drawn
    calibrator, threshold = fit(method, y_true, y_score), youden_threshold(y_true, y_score)
    calibrated = calibrator(y_score)
    assert ((calibrated >= calibrator(threshold)) == (y_score >= threshold)).all()
    assert youden_threshold(y_true, calibrated) == calibrator(threshold)


@pytest.mark.parametrize("calibrator", extremes(), ids=str)
def test_a_calibrated_score_does_not_hang_on_its_company(calibrator):
    raw = neighbours()[::97]
    together = calibrator(raw)
    assert [float(calibrator(one)) for one in raw] == together.tolist()
    table = np.stack([raw, raw[::-1]], axis=1)
    assert (calibrator(table[:, 0]) == together).all()
    assert (calibrator(table) == np.stack([together, together[::-1]], axis=1)).all()
    assert calibrator(table).shape == table.shape
    assert calibrator([]).shape == (0,)


@pytest.mark.parametrize("calibrator", extremes(), ids=str)
def test_no_score_stays_no_score(calibrator):
    calibrated = calibrator([0.3, np.nan, 0.4])
    assert np.isnan(calibrated).tolist() == [False, True, False]
    assert calibrated[[0, 2]].tolist() == calibrator([0.3, 0.4]).tolist()


def test_temperature_and_platt_are_their_formulas():
    raw = np.linspace(0.001, 0.999, 999)
    for calibrator, slope, intercept in ((temperature(2.5), 0.4, 0), (platt(1.7, -2.0), 1.7, -2)):
        expected = expit(slope * scipy_logit(raw) + intercept)
        assert np.abs(calibrator(raw) - expected).max() <= OWN_SHARE
    assert temperature(1.0)(raw) == pytest.approx(raw, abs=1e-15)
    assert temperature(4.0)(0.5) == 0.5


def test_prior_and_an_offset_are_their_formulas():
    raw = np.linspace(0.001, 0.999, 999)
    expected = expit(scipy_logit(raw) - 1.7)
    assert np.abs(prior(-1.7)(raw) - expected).max() <= OWN_SHARE
    assert prior(0.0)(raw) == pytest.approx(raw, abs=1e-15)
    for calibrator in (temperature(2.5), platt(1.7, -2.0), prior(-1.0)):
        expected = expit(scipy_logit(calibrator(raw)) + 0.8)
        assert np.abs(moved(calibrator, 0.8)(raw) - expected).max() <= 2 * OWN_SHARE
    bent = isotonic([0.1, 0.4, 0.8], [0.05, 0.2, 0.9])
    assert np.abs(moved(bent, 0.8)(raw) - expit(scipy_logit(bent(raw)) + 0.8)).max() < 1e-3
    for calibrator in (temperature(2.5), platt(1.7, -2.0), prior(-1.0), bent):
        assert (moved(calibrator, 0.0)(raw) == calibrator(raw)).all()


def test_isotonic_is_straight_between_its_knots_but_for_a_share_of_the_raw_logit():
    knots, shares = [0.1, 0.4, 0.8], [0.05, 0.2, 0.9]
    raw = np.linspace(0.001, 0.999, 999)
    line = np.interp(raw, knots, shares).clip(FLOOR, 1 - FLOOR)
    bent = expit((1 - OWN_LOGIT) * scipy_logit(line) + OWN_LOGIT * scipy_logit(raw))
    assert np.abs(isotonic(knots, shares)(raw) - bent).max() <= OWN_SHARE
    assert np.abs(isotonic(knots, shares)(raw) - line).max() < 2e-3


# Fits


def loss_of(logit, target):
    """The mean logistic loss of a target, that may be smoothed, as a function of a line."""
    return lambda slope, intercept=0.0: np.mean(
        np.logaddexp(0, slope * logit + intercept) - target * (slope * logit + intercept)
    )


def clipped_logit(y_score):
    with np.errstate(divide="ignore"):
        return scipy_logit(y_score.astype(float)).clip(*LOGITS)


def test_temperature_is_the_most_likely_one(drawn):
    y_true, y_score = drawn
    found = fit("temperature", y_true, y_score)
    if isinstance(found, str):
        pytest.fail(found)
    loss = loss_of(clipped_logit(y_score), y_true)
    best = minimize_scalar(lambda log_slope: loss(np.exp(log_slope)), bounds=(-4.6, 4.6))
    [value] = found.parameters["temperature"]
    assert 1 / value == pytest.approx(np.exp(best.x), rel=1e-3)
    assert loss(1 / value) <= best.fun + 1e-14
    assert all(loss(1 / value) <= loss(by / value) for by in (0.999, 1.001))


def test_platt_is_the_most_likely_one_under_smoothed_targets(drawn):
    y_true, y_score = drawn
    positives, negatives = np.sum(y_true == 1), np.sum(y_true == 0)
    target = np.where(y_true == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    loss = loss_of(clipped_logit(y_score), target)
    best = minimize(lambda line: loss(*line), [1.0, 0.0], method="BFGS", tol=1e-9)
    parameters = fit("platt", y_true, y_score).parameters
    found = parameters["slope"][0], parameters["intercept"][0]
    assert found == pytest.approx(best.x, rel=1e-3, abs=1e-3)
    assert loss(*found) <= best.fun + 1e-14


def test_the_fits_find_what_the_scores_are_off_by():
    y_true, y_score = draw("too high", dtype=np.float64)
    found = fit("platt", y_true, y_score)
    assert found.parameters["slope"][0] == pytest.approx(1.0, abs=0.1)
    assert found.parameters["intercept"][0] == pytest.approx(-2.0, abs=0.15)
    rng = np.random.default_rng(3)
    logit = rng.normal(0, 2, 20_000)
    y_true = rng.random(20_000) < expit(logit / 3)
    [value] = fit("temperature", y_true, expit(logit)).parameters["temperature"]
    assert value == pytest.approx(3, rel=0.05)


def test_the_likelihood_does_not_get_worse(drawn):
    y_true, y_score = drawn
    raw = log_loss(y_true, y_score.astype(float))
    assert log_loss(y_true, fit("temperature", y_true, y_score)(y_score)) <= raw
    # Platt's targets are not the images' own, which costs something where there was nothing to win.
    assert log_loss(y_true, fit("platt", y_true, y_score)(y_score)) <= raw + 1 / len(y_true)


def test_isotonic_blocks_are_scikit_learns(drawn):
    y_true, y_score = drawn
    reference = IsotonicRegression().fit(y_score.astype(float), y_true)
    steps = reference.predict(y_score.astype(float))
    found = fit("isotonic", y_true, y_score)
    scores, shares = (np.array(found.parameters[name]) for name in ("scores", "shares"))
    assert shares == pytest.approx(np.unique(steps.round(12)), abs=1e-11)
    centres = [y_score[np.abs(steps - share) < 1e-9].astype(float).mean() for share in shares]
    assert scores == pytest.approx(centres, abs=1e-12)
    # A score of 0 has the lowest logit that there is, and a share of it shows.
    within = np.where(scores > 0, 2e-3, 0.02)
    assert (np.abs(found(scores) - shares) <= within).all()


def test_isotonic_curves_are_mended_where_platt_cannot():
    rng = np.random.default_rng(2)
    y_score = rng.random(20_000)
    y_true = rng.random(20_000) < np.where(y_score < 0.5, 0.1, 0.1 + (y_score - 0.5))
    errors = {
        method: expected_calibration_error(y_true, fit(method, y_true, y_score)(y_score))
        for method in ("platt", "isotonic")
    }
    assert errors["isotonic"] < 0.01 < errors["platt"]


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_mends_scores_that_are_too_high_also_on_other_images(method):
    found = fit(method, *draw("too high", seed=0))
    y_true, y_score = draw("too high", seed=1)
    calibrated = found(y_score)
    assert expected_calibration_error(y_true, y_score) > 0.2
    assert expected_calibration_error(y_true, calibrated) < 0.04
    assert brier_score(y_true, calibrated) < brier_score(y_true, y_score) - 0.05


def test_many_blocks_are_thinned_to_knots_that_still_rise():
    # Each block is one image more than the last, so that all shares are distinct.
    sizes = np.arange(2, 700)
    y_score = np.repeat(np.linspace(0.01, 0.99, len(sizes)), sizes)
    y_true = np.concatenate([np.arange(size) > 0 for size in sizes])
    found = fit("isotonic", y_true, y_score)
    scores, shares = (np.array(found.parameters[name]) for name in ("scores", "shares"))
    assert len(scores) == MOST_KNOTS
    assert (np.diff(scores) > 0).all()
    assert (np.diff(shares) > 0).all()
    assert np.abs(found(y_score) - np.repeat(1 - 1 / sizes, sizes)).max() < 0.2
    assert np.abs(found(y_score) - np.repeat(1 - 1 / sizes, sizes)).mean() < 2e-3


@pytest.mark.parametrize("low", [0.9127555772777217, 0.8574042765875693, 0.8631789223498866])
def test_blocks_of_neighbours_keep_their_order(low):
    # 301 times this number, over 301, is no less than 301 times the next one, over 301.
    high = float(np.nextafter(low, 1))
    y_score = np.repeat([0.7, low, high], 301)
    y_true = np.concatenate([np.arange(301) < positives for positives in (50, 60, 90)])
    found = fit("isotonic", y_true, y_score)
    assert found.parameters["scores"][1:] == (low, high)


@pytest.mark.parametrize("far", [0, 1e-26, 1e-7])
@pytest.mark.parametrize("right", [True, False])
def test_platt_bears_scores_that_are_far_off_the_others(far, right):
    rng = np.random.default_rng(7)
    logit = rng.normal(3, 0.3, 1000)
    y_true, y_score = rng.random(1000) < expit(logit), expit(logit)
    y_score[:8], y_true[:8] = far, not right
    target = np.where(y_true, (y_true.sum() + 1) / (y_true.sum() + 2), 1 / ((~y_true).sum() + 2))
    found = fit("platt", y_true, y_score)
    logit = clipped_logit(y_score)
    loss = loss_of(logit, target)
    best = minimize(lambda line: loss(*line), [0.1, 0.0], method="Nelder-Mead", tol=1e-10)
    if best.x[0] < 0:
        assert "turn its ranks around" in found
    else:
        slope, intercept = found.parameters["slope"][0], found.parameters["intercept"][0]
        assert (slope, intercept) == pytest.approx(best.x, rel=1e-3)
        assert loss(slope, intercept) <= best.fun + 1e-14


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [0.0, 1.0])
def test_scores_of_0_and_1_are_fitted_and_kept_apart(method, side):
    y_true, y_score = draw("too sure")
    y_score[::10], y_true[::10] = side, side
    y_true[::300] = 1 - side
    found = fit(method, y_true, y_score)
    calibrated = found(y_score)
    assert np.isfinite(calibrated).all()
    assert auroc(y_true, calibrated) == auroc(y_true, y_score)
    assert len(np.unique(calibrated)) == len(np.unique(y_score))


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_isotonic_believes_a_score_of_0_or_1_no_more_than_it_was_right(side):
    y_true, y_score = draw("too sure")
    y_score[::5], y_true[::5] = side, side
    y_true[::25] = 1 - side
    found = fit("isotonic", y_true, y_score)
    assert abs(found(side) - side) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_separable_labels_get_a_bounded_slope(method):
    y_true = np.repeat([0, 1], 50)
    y_score = np.concatenate([np.linspace(0.1, 0.4, 50), np.linspace(0.6, 0.9, 50)])
    found = fit(method, y_true, y_score)
    if method == "temperature":
        assert found.parameters["temperature"] == (SLOPES[0],)
    calibrated = found(y_score)
    assert (np.diff(calibrated) > 0).all()
    assert log_loss(y_true, calibrated) < log_loss(y_true, y_score)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_is_quick_and_always_the_same(method):
    rng = np.random.default_rng(0)
    logit = rng.normal(-3, 2, 20_000)
    y_true = rng.random(20_000) < expit(0.6 * logit)
    y_score = expit(logit).astype(np.float32)
    start = time.perf_counter()
    found = fit(method, y_true, y_score)
    assert time.perf_counter() - start < 1
    assert fit(method, y_true, y_score) == found
    assert fit(method, y_true.tolist(), y_score.astype(float).tolist()) == found


@pytest.mark.parametrize("method", METHODS)
def test_what_the_mask_leaves_out_is_never_read(method):
    y_true, y_score = draw("too sure")
    rng = np.random.default_rng(4)
    mask = rng.random(len(y_true)) < 0.7
    expected = fit(method, y_true[mask], y_score[mask])
    y_true[~mask], y_score[~mask] = np.nan, rng.choice([np.nan, 7.0, -np.inf], np.sum(~mask))
    assert fit(method, y_true, y_score, mask) == expected
    assert brier_score(y_true, y_score, mask) == brier_score(y_true[mask], y_score[mask])
    kept = expected_calibration_error(y_true[mask], y_score[mask])
    assert expected_calibration_error(y_true, y_score, mask) == kept


# Labels that are left as they are


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rare", [0, 1])
def test_too_few_of_a_class_are_left_as_they_are(method, rare):
    least = LEAST_POSITIVES[method]
    y_true, y_score = draw("too sure")
    y_score = y_score[np.argsort(y_true != rare, kind="stable")]
    y_true = np.where(np.arange(len(y_true)) < least, rare, 1 - rare)
    y_score[y_true == 1] = np.sqrt(y_score[y_true == 1])
    assert isinstance(fit(method, y_true, y_score), Calibrator)
    reason = fit(method, y_true[1:], y_score[1:])
    assert f"{least - 1} {'positive' if rare else 'negative'}" in reason
    assert f"{method} needs at least {least} of each" in reason


@pytest.mark.parametrize("method", METHODS)
def test_one_class_and_no_images_are_left_as_they_are(method):
    assert fit(method, np.ones(500), np.linspace(0, 1, 500)).startswith("500 positive and 0 neg")
    assert fit(method, [], []).startswith("0 positive and 0 negative")


@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_are_left_as_they_are(method):
    assert fit(method, [0, 1] * 200, [0.3] * 400) == "all its scores are the same"


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("temperature", "the best temperature is over 100"),
        ("platt", "its slope would be -.*turn its ranks around"),
    ],
)
def test_a_fit_that_would_turn_ranks_around_is_not_made(method, says):
    y_true, y_score = draw("too sure")
    reason = fit(method, 1 - y_true, y_score)
    assert isinstance(reason, str)
    assert re.match(says, reason)


def test_isotonic_of_falling_scores_is_not_made():
    y_score = np.linspace(0.1, 0.9, 400)
    assert fit("isotonic", y_score < 0.5, y_score) == "its scores do not rise with the label"


def test_neighbouring_blocks_of_equal_shares_are_one_whatever_rounding_says():
    """Of these scipy makes two blocks that have the same share of positives."""
    positives = [40, 28, 41, 47, 7, 36, 22, 19, 14, 46, 22, 5, 24, 48, 40, 49, 29, 36, 26, 37, 37]
    images = [77, 55, 77, 88, 11, 66, 44, 33, 22, 88, 44, 11, 44, 88, 77, 88, 55, 66, 44, 66, 66]
    places = np.repeat(np.arange(23), [*images, 22, 11])
    y_true = np.concatenate(
        [
            np.arange(of) < won
            for won, of in zip([*positives, 11, 7], [*images, 22, 11], strict=True)
        ]
    )
    found = fit("isotonic", y_true, (places + 1) / 25)
    assert (np.diff(found.parameters["shares"]) > 0).all()


def test_a_slope_next_to_nothing_is_not_made():
    # As many positives as negatives at each logit, but for a handful at the ends.
    logit = np.repeat(np.linspace(-20, 20, 1001), 2)
    y_true = np.tile([0, 1], 1001)
    y_true[:8], y_true[-8:] = 0, 1
    reason = fit("platt", y_true, expit(logit))
    assert re.match(r"its slope would be 0\.00.* hardly rise with the label", reason)


def test_scores_too_near_to_each_other_are_left_as_they_are():
    y_score = 0.5 + np.linspace(0, 1e-5, 400)
    y_true = np.arange(400) > np.tile([100, 300], 200)
    assert "too near to each other" in fit("platt", y_true, y_score)


def test_a_curve_that_is_at_1_for_low_scores_already_is_not_made():
    y_score = np.geomspace(1e-30, 0.5, 400)
    y_true = np.arange(400) >= 30
    assert fit("platt", y_true, y_score) == "its curve would be at 1 for scores below 1/64 already"
    with pytest.raises(DataError, match="at 1 for scores below 1/64"):
        platt(1.0, 30.0)


def test_weighted_sampling_moves_a_level_that_a_temperature_cannot_move_back():
    rng = np.random.default_rng(6)
    logit = rng.normal(-4, 1, 20_000)
    y_true = rng.random(20_000) < expit(logit)
    y_score = expit(logit + 6)
    reason = fit("temperature", y_true, y_score)
    assert "too high or too low" in reason
    assert "platt" in reason
    mended = fit("platt", y_true, y_score)(y_score)
    assert mended.mean() == pytest.approx(y_true.mean(), rel=0.05)


# JSON


@pytest.mark.parametrize("method", METHODS)
def test_json_gives_a_calibrator_back_to_the_last_bit(method, drawn):
    y_true, y_score = drawn
    found = fit(method, y_true, y_score)
    values = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert values["method"] == method
    back = Calibrator.from_json(values)
    assert back == found
    assert (back(y_score) == found(y_score)).all()
    assert (back(neighbours()) == found(neighbours())).all()


def test_json_is_plain():
    assert temperature(1.5).as_json() == {"method": "temperature", "temperature": 1.5}
    expected = {"method": "platt", "slope": 1.5, "intercept": -2.0}
    assert platt(1.5, -2.0).as_json() == expected
    assert Calibrator.from_json({"method": "platt", "intercept": -2, "slope": 1.5}) == (
        platt(1.5, -2.0)
    )
    assert isotonic([0.1, 0.2], [0.0, 0.5]).as_json()["shares"] == [0.0, 0.5]
    assert prior(-1.5).as_json() == {"method": "prior", "shift": -1.5}
    told = {"method": "temperature", "temperature": 1.5, "offset": -2.0}
    assert moved(temperature(1.5), -2.0).as_json() == told
    assert Calibrator.from_json(told) == moved(temperature(1.5), -2.0)


ISOTONIC = {"method": "isotonic", "scores": [0.1, 0.2], "shares": [0.0, 0.5]}


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        "temperature",
        {},
        {"method": "beta", "temperature": 1.0},
        {"method": ["platt"]},
        {"method": "temperature"},
        {"method": "temperature", "temperature": 1.0, "slope": 1.0},
        {"method": "temperature", 3: 1.0},
        {"method": "temperature", "temperature": 0.0},
        {"method": "temperature", "temperature": -1.0},
        {"method": "temperature", "temperature": 0.0099},
        {"method": "temperature", "temperature": 101},
        {"method": "temperature", "temperature": float("nan")},
        {"method": "temperature", "temperature": float("inf")},
        {"method": "temperature", "temperature": 10**400},
        {"method": "temperature", "temperature": "1.5"},
        {"method": "temperature", "temperature": True},
        {"method": "temperature", "temperature": None},
        {"method": "temperature", "temperature": [1.0]},
        {"method": "temperature", "temperature": {"value": 1.0}},
        {"method": "prior"},
        {"method": "prior", "shift": float("nan")},
        {"method": "prior", "shift": 19.0},
        {"method": "prior", "shift": [1.0, 2.0]},
        {"method": "prior", "shift": 10.0, "offset": 9.0},
        {"method": "temperature", "temperature": 1.0, "offset": float("inf")},
        {"method": "temperature", "temperature": 1.0, "offset": "1"},
        {"method": "temperature", "temperature": 1.0, "offset": None},
        {"method": "temperature", "temperature": 100.0, "offset": 15.0},
        {"method": "platt", "slope": -1.0, "intercept": 0.0},
        {"method": "platt", "slope": 1.0},
        {"method": "platt", "slope": 1.0, "intercept": float("nan")},
        {"method": "platt", "slope": 1.0, "intercept": 1e6},
        {**ISOTONIC, "scores": 0.1},
        {**ISOTONIC, "scores": "ab"},
        {**ISOTONIC, "scores": []},
        {"method": "isotonic", "scores": [], "shares": []},
        {"method": "isotonic", "scores": [0.1], "shares": [0.2]},
        {**ISOTONIC, "scores": [0.2, 0.1]},
        {**ISOTONIC, "scores": [0.1, 0.1]},
        {**ISOTONIC, "shares": [0.5, 0.5]},
        {**ISOTONIC, "shares": [0.5, 0.4]},
        {**ISOTONIC, "shares": [-0.1, 0.4]},
        {**ISOTONIC, "shares": [0.1, 1.1]},
        {**ISOTONIC, "scores": [0.1, 1.1]},
        {**ISOTONIC, "scores": [-0.1, 0.5]},
        {**ISOTONIC, "scores": [0.1, 0.2, 0.3]},
        {**ISOTONIC, "scores": [0.1, None]},
        {**ISOTONIC, "scores": [0.1, [0.2]]},
        {**ISOTONIC, "scores": [False, True]},
        {**ISOTONIC, "scores": [0.1, float("nan")]},
        {**ISOTONIC, "scores": [0.1, "0.2"]},
        {
            "method": "isotonic",
            "scores": np.linspace(0, 1, MOST_KNOTS + 1).tolist(),
            "shares": np.linspace(0, 1, MOST_KNOTS + 1).tolist(),
        },
    ],
    ids=lambda values: str(values)[:70],
)
def test_strange_json_is_refused(values):
    with pytest.raises(DataError, match="calibrator"):
        Calibrator.from_json(values)


def test_a_calibrator_that_no_fit_gives_is_not_made():
    with pytest.raises(DataError, match="not known"):
        Calibrator("beta", {})
    with pytest.raises(DataError, match="its parameters are none"):
        Calibrator("platt", {})
    with pytest.raises(DataError, match="one number"):
        Calibrator("temperature", {"temperature": (1.0, 2.0)})


@pytest.mark.parametrize(
    "use",
    [brier_score, reliability_bins, expected_calibration_error]
    + [lambda y, s, method=method: fit(method, y, s) for method in METHODS]
    + [lambda y, s: temperature(2.0)(s)],
)
def test_scores_that_are_no_probabilities_are_refused(use):
    with pytest.raises(DataError, match=r"2 of 4 scores are outside of \[0, 1\] \(-0.1, 1.5\)"):
        use([0, 1, 0, 1], [0.5, -0.1, 1.5, 1.0])


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="'plat' is not known: did you mean platt"):
        fit("plat", [0, 1], [0.1, 0.2])


def test_examples():
    assert doctest.testmod(calibration).failed == 0
