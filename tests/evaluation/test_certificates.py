"""Thresholds that keep a promise, compared with exact bounds, MAPIE and simulations."""

import doctest

import numpy as np
import pytest
from mapie.risk_control import BinaryClassificationController
from scipy.special import expit
from scipy.stats import binom, binomtest, norm

from cxrtool.evaluation import certificates
from cxrtool.evaluation.certificates import (
    LabelRows,
    certify,
    least_patients,
    lower_bound,
    p_value,
)
from cxrtool.evaluation.thresholds import Rule, threshold_for

RNG = np.random.default_rng


def alike(rng, positive, most=5, *, shift=1.5, shared=0.7):
    """Patients with one to `most` images that are alike: scores normal, of positives `shift` up."""
    patient = np.repeat(np.arange(len(positive)), rng.integers(1, most + 1, len(positive)))
    noise = rng.normal(size=len(patient))
    score = np.sqrt(shared) * rng.normal(size=len(positive))[patient] + np.sqrt(1 - shared) * noise
    return LabelRows(positive[patient], score + shift * positive[patient], patient)


def test_examples():
    assert doctest.testmod(certificates).failed == 0


@pytest.mark.parametrize(("wrong", "patients"), [(0, 29), (0, 5), (3, 68), (17, 100), (41, 500)])
def test_with_one_row_a_patient_the_bound_is_clopper_and_pearsons(wrong, patients):
    errors = np.arange(patients) < wrong
    ones = np.ones(patients, int)
    exact = binomtest(patients - wrong, patients, alternative="greater")
    low = exact.proportion_ci(confidence_level=0.95, method="exact").low
    assert lower_bound(errors.astype(int), ones, 0.05) == pytest.approx(low, rel=1e-9)
    assert p_value(errors.astype(int), ones, 0.9) == pytest.approx(
        binom.cdf(wrong, patients, 0.1), rel=1e-9
    )


def test_a_patient_that_is_half_wrong_is_half_an_error():
    wrong, rows = np.array([0, 1, 2, 1, 3, 0]), np.array([2, 2, 4, 4, 3, 1])
    found = p_value(wrong, rows, 0.8)  # 2.25 errors
    assert binom.cdf(2, 6, 0.2) < found < binom.cdf(3, 6, 0.2)
    whole = np.array([0, 1, 1, 0, 3, 0])
    assert p_value(whole, np.array([2, 2, 2, 4, 3, 1]), 0.8) == pytest.approx(
        binom.cdf(2, 6, 0.2), rel=1e-9
    )
    reached = lower_bound(wrong, rows, 0.05)
    assert p_value(wrong, rows, reached) == pytest.approx(0.05)


def test_nobody_is_no_evidence():
    nobody = np.zeros(0, int)
    assert (p_value(nobody, nobody, 0.5), lower_bound(nobody, nobody, 0.05)) == (1.0, 0.0)
    assert lower_bound(np.ones(9, int), np.ones(9, int), 0.05) == 0.0


@pytest.mark.parametrize(("share", "least"), [(0.9, 29), (0.95, 59), (0.98, 149)])
def test_the_least_number_of_patients_is_enough_and_one_less_is_not(share, least):
    assert least_patients(share, 0.05) == least
    for patients, enough in ((least - 1, False), (least, True)):
        # Three images of each patient are no three patients.
        rows = LabelRows.of(
            *(np.r_[np.ones(3 * patients), 0.0], np.r_[np.linspace(0.5, 1, 3 * patients), 0.1]),
            np.r_[np.repeat(np.arange(patients), 3), -1],
        )
        found = certify("sensitivity", share, 0.05, rows)
        assert (found.certificate is not None) == enough
        assert enough or found.reason == (
            f"has {patients} of the {least} patients with a positive that sensitivity {share:g} "
            "at 95 % confidence needs"
        )


@pytest.mark.parametrize(
    ("quantity", "share", "risk", "target"),
    [
        ("sensitivity", 0.9, "recall", 0.9),
        ("specificity", 0.8, "fpr", 0.2),
        ("ppv", 0.5, "precision", 0.5),
    ],
)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:Fixed sequence testing requires:UserWarning")
def test_on_independent_rows_it_is_mapies_threshold(quantity, share, risk, target, seed):
    rng = RNG(seed)
    # Powers of two: MAPIE rounds a share times a number up, and others may be rounded too far.
    positive = rng.permutation(np.arange(384) < 128)
    score = expit(rng.normal(size=384) + 2 * positive)
    rows = LabelRows.of(positive, score, np.arange(384))
    grid = {
        "sensitivity": np.unique(score[positive]),
        "specificity": np.unique(score)[::-1],
        "ppv": np.array(certificates.order_of_tests("ppv", share, 0.05, rows)),
    }[quantity]
    if quantity == "ppv":  # of which the number of rows called is no power of two
        grid = np.sort(score)[::-1][[15, 31, 63, 127, 255]]
    controller = BinaryClassificationController(
        predict_function=lambda column: np.hstack([1 - column, column]),
        risk=risk,
        target_level=target,
        confidence_level=0.95,
        list_predict_params=grid,
        fwer_method="fixed_sequence",
    )
    controller.calibrate(score[:, None], positive.astype(int))
    theirs = np.asarray(controller.valid_predict_params)
    if quantity == "ppv":
        ours = [
            one
            for one in grid
            if p_value(*certificates.tally("ppv", float(one), rows), share) <= 0.05
        ]
        assert theirs.tolist() == ours
    else:
        last = theirs.max() if quantity == "sensitivity" else theirs.min()
        assert certify(quantity, share, 0.05, rows).threshold == last


def test_specificity_is_sensitivity_seen_from_the_other_side():
    rng = RNG(3)
    rows = alike(rng, rng.random(200) < 0.4)
    mirrored = LabelRows(~rows.positive, -rows.score, rows.patient)
    found = certify("specificity", 0.9, 0.05, rows)
    seen = certify("sensitivity", 0.9, 0.05, mirrored)
    # Negatives are right below the threshold, positives also at it: the next score above.
    assert found.threshold == rows.score[rows.score > -seen.threshold].min()
    assert found.certificate.reached == pytest.approx(seen.certificate.reached)


def test_a_patient_counts_once_however_many_images_it_has():
    rng = RNG(4)
    score = rng.normal(1, 1, 100)
    once = LabelRows.of(np.ones(100), score, np.arange(100))
    times = np.where(np.arange(100) < 10, 30, 1)
    often = LabelRows.of(
        np.ones(times.sum()), np.repeat(score, times), np.repeat(np.arange(100), times)
    )
    assert certify("sensitivity", 0.9, 0.05, once) == certify("sensitivity", 0.9, 0.05, often)


@pytest.mark.parametrize(("quantity", "share"), [("ppv", 0.6), ("npv", 0.8)])
def test_a_sequence_ends_at_the_first_threshold_that_fails(quantity, share):
    rng = RNG(5)
    rows = alike(rng, rng.random(400) < 0.3)
    found = certify(quantity, share, 0.05, rows)
    order = certificates.order_of_tests(quantity, share, 0.05, rows)
    passed = [p_value(*certificates.tally(quantity, one, rows), share) <= 0.05 for one in order]
    assert passed[0]
    first = passed.index(False)
    assert found.others == tuple(order[:first])
    assert (found.threshold, found.exhausted) == (order[first - 1], False)
    assert found.certificate.ended.startswith(f"at {order[first]:.4g}, of ")
    called = {"ppv": lambda t: rows.score >= t, "npv": lambda t: rows.score < t}[quantity]
    numbers = [len(np.unique(rows.patient[called(one)])) for one in order]
    assert numbers == sorted(numbers)


def test_which_thresholds_are_tested_does_not_hang_on_who_is_positive():
    rng = RNG(6)
    rows = alike(rng, rng.random(300) < 0.3)
    others = LabelRows(rng.permutation(rows.positive), rows.score, rows.patient)
    for quantity in ("ppv", "npv"):
        both = [certificates.order_of_tests(quantity, 0.8, 0.05, one) for one in (rows, others)]
        assert both[0] == both[1]


@pytest.mark.parametrize("patients", [30, 68])
def test_a_certified_sensitivity_falls_short_in_a_twentieth_of_samples(patients):
    draws, rng, everybody = 250, RNG(7), np.ones(patients, bool)
    short, usual = 0, 0
    for _ in range(draws):
        rows = alike(rng, everybody)
        short += norm.sf(certify("sensitivity", 0.9, 0.05, rows).threshold - 1.5) < 0.9
        both = np.r_[rows.score, -9.0], np.r_[rows.positive, False]
        usual += norm.sf(threshold_for(Rule("sensitivity", 0.9), *both[::-1]) - 1.5) < 0.9
    # 5.5 % and two standard errors of so few draws.
    assert short / draws <= 0.055 + 2 * np.sqrt(0.05 * 0.95 / draws)
    assert usual / draws > 0.35


def test_a_certified_ppv_and_npv_fall_short_no_oftener():
    draws, rng, prevalence = 150, RNG(8), 0.3
    short, given = {"ppv": 0, "npv": 0}, {"ppv": 0, "npv": 0}
    for _ in range(draws):
        rows = alike(rng, rng.random(250) < prevalence, 3)
        for quantity, share in (("ppv", 0.6), ("npv", 0.85)):
            found = certify(quantity, share, 0.05, rows).threshold
            tail = norm.sf if quantity == "ppv" else norm.cdf
            ill, well = prevalence * tail(found - 1.5), (1 - prevalence) * tail(found)
            true = (ill if quantity == "ppv" else well) / (ill + well)
            given[quantity] += bool(np.isfinite(found))
            short[quantity] += bool(true < share)
    assert min(given.values()) > draws / 3
    assert max(short.values()) / draws <= 0.055 + 2 * np.sqrt(0.05 * 0.95 / draws)
