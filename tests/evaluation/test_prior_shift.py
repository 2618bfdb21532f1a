"""Prior shift: known odds out of the logits, predictive values elsewhere, and what is refused."""

import doctest

import numpy as np
import pytest
from scipy.special import expit, logit

from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.core.schemas import Counts
from cxrtool.evaluation import prior_shift
from cxrtool.evaluation.calibration_measures import measure_calibration
from cxrtool.evaluation.intervals import wilson_interval
from cxrtool.evaluation.prior_shift import (
    PriorShift,
    parse_prevalences,
    predictive_values,
    training_shifts,
)

pytestmark = pytest.mark.filterwarnings("error")
UNIFORM = {"sampling": "uniform", "pos_weight": "none", "loss": "bce"}
WEIGHTED = {**UNIFORM, "sampling": "weighted"}


def counts(positives=20, n=100, drawn=None):
    return Counts(positives=positives, n=n, drawn=drawn)


# What a training did


def test_a_shift_is_the_difference_of_the_log_odds():
    found = training_shifts("a", {"Edema": counts(20, 100, 0.5)}, WEIGHTED)["Edema"]
    assert (found.before, found.after) == (pytest.approx(0.5), 0.2)
    assert found.log_odds == pytest.approx(logit(0.2))
    assert float(found.calibrator(0.5)) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(("weight", "times"), [("none", 1), ("balanced", 4), ("3.5", 3.5), (2, 2)])
def test_a_weight_of_the_positives_multiplies_the_odds(weight, times):
    settings = {**UNIFORM, "pos_weight": weight}
    found = training_shifts("a", {"Edema": counts(20, 100, 0.2)}, settings)["Edema"]
    assert found.log_odds == pytest.approx(-np.log(times))
    both = training_shifts(
        "a", {"Edema": counts(20, 100, 0.4)}, {**settings, "sampling": "weighted"}
    )
    assert both["Edema"].log_odds == pytest.approx(logit(0.2) - logit(0.4) - np.log(times))


def test_plain_sampling_needs_no_record_of_what_was_drawn_and_shifts_nothing():
    assert training_shifts("a", {"Edema": counts()}, UNIFORM)["Edema"].log_odds == pytest.approx(0)


@pytest.mark.parametrize(("positives", "drawn"), [(0, 0.0), (100, 1.0), (20, 0.0), (20, 1.0)])
def test_a_label_of_one_class_has_no_odds(positives, drawn):
    found = training_shifts("a", {"Edema": counts(positives, 100, drawn)}, WEIGHTED)
    assert "no prior odds" in found["Edema"]


@pytest.mark.parametrize(
    ("train", "settings", "match"),
    [
        (None, WEIGHTED, "does not say how often"),
        ({}, WEIGHTED, "does not say how often"),
        ({"Edema": counts(20, 100, 0.5)}, {}, "does not say how often"),
        ({"Edema": counts()}, WEIGHTED, "version 0.1"),
        ({"Edema": counts(20, 100, 0.5)}, {**WEIGHTED, "loss": "asymmetric"}, "--loss asymmetric"),
        ({"Edema": counts(20, 100, 0.5)}, {**WEIGHTED, "loss": "auc"}, "--loss auc"),
    ],
)
def test_a_training_of_which_the_priors_are_not_known_is_refused(train, settings, match):
    with pytest.raises(RunError, match=match) as refused:
        training_shifts("first", train, settings)
    assert "cxrtool evaluate first --calibrate platt" in str(refused.value)


def test_probabilities_that_were_learned_from_weighted_draws_are_put_right():
    rng = np.random.default_rng(0)
    n = 60_000
    y_true = rng.random(n) < 0.08
    seen = rng.normal(1.5 * y_true, 1)  # what a network would see of an image
    drawn = 0.45
    learned = expit(logit(drawn) + 1.5 * seen - 1.5**2 / 2)  # Bayes' rule at the odds as drawn
    shift = training_shifts("a", {"Edema": counts(8, 100, drawn)}, WEIGHTED)["Edema"]
    before = measure_calibration(y_true, learned)
    after = measure_calibration(y_true, shift.calibrator(learned))
    assert before.intercept.value < -1.5
    assert after.intercept.value == pytest.approx(0, abs=0.06)
    assert after.slope.value == pytest.approx(1, abs=0.05)
    assert (np.argsort(shift.calibrator(learned)) == np.argsort(learned)).all()


# Predictive values elsewhere


def test_predictive_values_are_bayes_rule():
    for sensitivity, specificity, prevalence in ((0.9, 0.8, 0.02), (0.4, 0.99, 0.5)):
        ppv, npv = predictive_values(Estimate(sensitivity), Estimate(specificity), prevalence)
        true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        assert ppv.value == pytest.approx(true / (true + false))
        true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        assert npv.value == pytest.approx(true / (true + false))
        assert ppv.interval is None is npv.interval


def rate(hits, n):
    return Estimate.of(hits / n, wilson_interval([hits / n], [n])[0])


def test_their_intervals_hold_the_true_values():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        found = predictive_values(
            rate(rng.binomial(60, 0.8), 60), rate(rng.binomial(300, 0.9), 300), 0.03
        )
        truth = 0.8 * 0.03 / (0.8 * 0.03 + 0.1 * 0.97), 0.9 * 0.97 / (0.9 * 0.97 + 0.2 * 0.03)
        held.append(
            [one.interval[0] <= at <= one.interval[1] for one, at in zip(found, truth, strict=True)]
        )
    assert (np.mean(held, axis=0) > 0.935).all()
    assert (np.mean(held, axis=0) < 0.975).all()


def test_rates_of_0_and_1_leave_ends_that_are_open_on_one_side():
    ppv, npv = predictive_values(rate(50, 50), rate(200, 200), 0.1)
    assert (ppv.value, npv.value) == (1, 1)
    assert ppv.interval[1] == npv.interval[1] == 1
    assert 0.5 < ppv.interval[0] < 1
    assert 0.9 < npv.interval[0] < 1
    none, some = predictive_values(rate(0, 50), rate(190, 200), 0.1)
    assert none.value == none.interval[0] == 0 < none.interval[1] < 0.5
    assert 0.85 < some.value < 0.95
    nobody, _ = predictive_values(rate(0, 50), rate(200, 200), 0.1)
    assert nobody == Estimate()
    assert predictive_values(Estimate(), rate(1, 2), 0.1) == (Estimate(), Estimate())


# What somebody writes


def test_prevalences_are_read():
    labels = ("Edema", "No Finding", "a=b")
    assert parse_prevalences(" Edema=0.02, No Finding = 0.6,a=b=0.5", labels) == {
        "Edema": 0.02,
        "No Finding": 0.6,
        "a=b": 0.5,
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Edema", "expected LABEL=SHARE"),
        ("=0.2", "expected LABEL=SHARE"),
        ("", "expected LABEL=SHARE"),
        ("Edema=0.2,", "expected LABEL=SHARE"),
        ("Edma=0.2", "did you mean Edema"),
        ("Edema=0.2,Edema=0.3", "given twice"),
        ("Edema=0", "above 0 and below 1"),
        ("Edema=1", "above 0 and below 1"),
        ("Edema=-0.1", "above 0 and below 1"),
        ("Edema=nan", "above 0 and below 1"),
        ("Edema=some", "above 0 and below 1"),
        ("Edema=2", "did you mean Edema=0.02"),
        ("Edema=2%", "did you mean Edema=0.02"),
    ],
)
def test_what_is_no_prevalence_is_refused(text, match):
    with pytest.raises(UsageError, match=match):
        parse_prevalences(text, ("Edema", "Fracture"))


def test_a_shift_there_and_back_is_none():
    there, back = PriorShift(0.3, 0.02), PriorShift(0.02, 0.3)
    assert there.log_odds == pytest.approx(-back.log_odds)


def test_examples():
    assert doctest.testmod(prior_shift).failed == 0
