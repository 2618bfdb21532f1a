"""All figures of a sample against scikit-learn, and what intervals rest on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.calibration import Calibrator
from cxrtool.evaluation.intervals import bootstrap_interval, mean_freedom
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint
from cxrtool.evaluation.prior_shift import predictive_values
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.scoring import About, assess, score_sample
from cxrtool.evaluation.thresholds import ChosenRule, Rule, thresholds_for
from tests.support.results import ORIGIN
from tests.support.samples import LABELS, THRESHOLDS, draw_sample

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("seed", range(3))
def test_each_figure_is_scikit_learns(seed):
    sample = draw_sample(seed)
    # Of scores that occur: an image on the threshold is positive.
    thresholds = np.sort(sample.scores, axis=0)[150]
    thresholds[LABELS.index("Nothing")] = np.nan
    found = assess(sample, thresholds, None).as_json()
    for column, label in enumerate(LABELS):
        figures, kept = found["labels"][label], sample.mask[:, column]
        truth, score = sample.targets[kept, column], sample.scores[kept, column]
        assert (figures["n"], figures["positives"]) == (kept.sum(), truth.sum())
        assert figures["prevalence"] == pytest.approx(truth.mean())
        assert figures["brier"] == pytest.approx(brier_score_loss(truth, score), abs=1e-12)
        if label == "Nothing":
            assert figures["auroc"] is None is figures["auprc"] is figures["sensitivity"]
            assert [figures[name] for name in ("tp", "fp", "fn", "tn")] == [None] * 4
            continue
        assert figures["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert figures["auprc"] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        called = score >= thresholds[column]
        tn, fp, fn, tp = confusion_matrix(truth, called).ravel()
        assert [figures[name] for name in ("tp", "fp", "fn", "tn")] == [tp, fp, fn, tn]
        assert figures["sensitivity"] == pytest.approx(tp / (tp + fn))
        assert figures["specificity"] == pytest.approx(tn / (tn + fp))
        assert figures["ppv"] == pytest.approx(tp / (tp + fp))
        assert figures["npv"] == pytest.approx(tn / (tn + fn))
        assert figures["f1"] == pytest.approx(f1_score(truth, called))
    aurocs = [f["auroc"] for f in found["labels"].values() if f["auroc"] is not None]
    assert found["mean_auroc"] == pytest.approx(np.mean(aurocs))
    assert found["defined"] == 4
    five = found["competition"]
    assert five["labels"] == ["Edema", "Cardiomegaly"]
    assert five["mean_auroc"] == pytest.approx(np.mean(aurocs[:2]))


def test_intervals_hold_their_figures_and_hang_on_patients():
    sample = draw_sample(5)
    draws = draw_patients(sample.patients, replicates=200, seed=3)
    found = assess(sample, THRESHOLDS, draws).as_json()
    for figures in found["labels"].values():
        for name in ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "f1"):
            ends = figures[f"{name}_ci"]
            assert (ends is None) <= (figures[name] is None or figures["positive_patients"] < 20)
            if ends:
                assert 0 <= ends[0] <= figures[name] <= ends[1] <= 1
    low, high = found["mean_auroc_ci"]
    assert low < found["mean_auroc"] < high
    json.dumps(found, allow_nan=False)
    alone = draw_patients(sample.keys, replicates=200, seed=3)
    assert assess(sample, THRESHOLDS, alone).as_json()["mean_auroc_ci"] != [low, high]


def with_three_fractures(sample):
    targets = sample.targets.copy()
    counted = np.flatnonzero(targets[:, 2] & sample.mask[:, 2])
    targets[counted[3:], 2] = False
    assert len(set(sample.patients[counted[:3]])) == 3
    return replace(sample, targets=targets)


def test_a_label_of_few_patients_is_not_in_the_mean_over_supported_ones():
    sample = with_three_fractures(draw_sample(8))
    draws = draw_patients(sample.patients, replicates=200, seed=3)
    found = assess(sample, THRESHOLDS, draws).as_json()
    few = [label for label, one in found["labels"].items() if one["too_few"]]
    assert few == ["Fracture", "Nothing"]
    rest = [one["auroc"] for label, one in found["labels"].items() if label not in few]
    assert found["mean_auroc_supported"] == pytest.approx(np.mean(rest))
    assert found["mean_auroc_supported"] != found["mean_auroc"]
    assert (found["supported"], found["defined"]) == (len(rest), 4)
    low, high = found["mean_auroc_supported_ci"]
    assert low < found["mean_auroc_supported"] < high


def kish(patients):
    """The effective number of patients of these rows."""
    sizes = np.unique(patients, return_counts=True)[1]
    return sizes.sum() ** 2 / (sizes**2).sum()


def test_an_interval_rests_on_the_effective_patients_of_the_rarer_class():
    sample = with_three_fractures(draw_sample(8))
    draws = draw_patients(sample.patients, replicates=200, seed=3)
    drawn = bootstrap_rankings(sample.targets, sample.scores, sample.mask, draws).auprc
    found = assess(sample, THRESHOLDS, draws).as_json()
    rarer = []
    for column, label in enumerate(LABELS):
        kept, truth = sample.mask[:, column], sample.targets[:, column]
        of_class = [sample.patients[kept & (truth == value)] for value in (1, 0)]
        rarer.append(min(kish(of) if len(of) else 0 for of in of_class) - 1)
        figures = found["labels"][label]
        expected = bootstrap_interval(
            drawn[:, [column]], [figures["auprc"] or np.nan], [rarer[-1]]
        )[0]
        assert figures["auprc_ci"] == (None if label == "Nothing" else expected.tolist())
    # Draws without a positive of the rare label have no mean over the same four labels.
    whole, others = drawn[:, [0, 1, 2, 4]], [rarer[at] for at in (0, 1, 2, 4)]
    assert np.isnan(whole).any()
    means, freedom = whole.mean(axis=1)[:, None], mean_freedom(whole, others)
    expected = bootstrap_interval(means, [found["mean_auprc"]], [freedom])[0]
    assert found["mean_auprc_ci"] == expected.tolist()


def scored(sample, **changes):
    about = About(
        run="one",
        split="test",
        protocol=Protocol(
            name="other",
            labels_by="me",
            uncertainty="ones",
            blank="zeros",
            split_by="not known",
            views=(),
        ),
        unit="image",
        aggregate=None,
        origin=ORIGIN,
    )
    given = {"point": None, "calibration": None, "replicates": 200, "seed": 1}
    return score_sample(sample, about, **{**given, **changes})


def repeat(sample, times):
    """The same patients, each with so many copies of their images."""
    again = {
        name: np.repeat(getattr(sample, name), times, axis=0)
        for name in ("patients", "studies", "targets", "mask", "scores")
    }
    keys = np.array([f"{number:05d}.jpg" for number in range(times * len(sample.keys))])
    return replace(sample, keys=keys, groups={}, **again)


def test_copies_of_images_make_no_score_surer():
    sample = draw_sample(7)
    once, often = (scored(repeat(sample, times)).result.as_json()["labels"] for times in (1, 9))
    for label in LABELS:
        for name in ("auroc_ci", "auprc_ci"):
            assert once[label][name] == pytest.approx(often[label][name])


def test_few_patients_are_told_however_many_their_images_are():
    sample = with_three_fractures(draw_sample(7))
    warnings = scored(repeat(sample, 9)).result.warnings
    assert any("fewer than 10 patients" in text and "Fracture" in text for text in warnings)


def test_a_calibration_moves_the_threshold_with_the_scores():
    sample = draw_sample(9)
    point = OperatingPoint(
        chosen=ChosenRule(rule=Rule("youden"), chosen_on="valid"), thresholds=THRESHOLDS
    )
    curve = Calibrator("platt", {"slope": (0.5,), "intercept": (-1.0,)})
    calibration = Calibration(method="platt", chosen_on="valid", labels={"Edema": curve})
    plain, moved = (
        scored(sample, point=point, calibration=given).result.as_json()["labels"]
        for given in (None, calibration)
    )
    for label in LABELS:
        assert moved[label]["auroc"] == plain[label]["auroc"]
        assert moved[label]["sensitivity"] == plain[label]["sensitivity"]
        assert (moved[label]["threshold"] == plain[label]["threshold"]) == (label != "Edema")


def test_predictive_values_elsewhere_follow_from_the_rates_here_with_their_intervals():
    sample = draw_sample(9)
    point = OperatingPoint(
        chosen=ChosenRule(rule=Rule("youden"), chosen_on="valid"), thresholds=THRESHOLDS
    )
    curve = Calibrator("platt", {"slope": (0.9,), "intercept": (-0.2,)})
    calibration = Calibration(
        method="platt", chosen_on="valid", labels={"Edema": curve}, prevalence={"Edema": 0.4}
    )
    plain, moved = (
        scored(sample, point=point, calibration=given).result
        for given in (calibration, calibration.move({"Edema": 0.05}))
    )
    before, after = plain.labels["Edema"], moved.labels["Edema"]
    assert (after.ppv, after.sensitivity, after.auroc) == (
        before.ppv,
        before.sensitivity,
        before.auroc,
    )
    expected = predictive_values(after.sensitivity, after.specificity, 0.05)
    assert (after.target_ppv, after.target_npv) == expected
    assert after.target_ppv.interval is not None
    assert after.target_ppv.value < after.ppv.value
    assert before.target_prevalence is None
    assert after.calibration_intercept.value == pytest.approx(
        before.calibration_intercept.value + np.log(0.4 / 0.6) - np.log(0.05 / 0.95), abs=1e-4
    )
    assert any("Edema 5.0 %" in text for text in moved.warnings)
    assert not any("moved" in text for text in plain.warnings)


@pytest.mark.parametrize(
    "curve",
    [
        Calibrator("temperature", {"temperature": (3.0,)}),
        Calibrator("isotonic", {"scores": (0.1, 0.9), "shares": (0.2, 0.6)}),
        Calibrator("prior", {"shift": (-2.5,)}),
        Calibrator("prior", {"shift": (-2.5,)}, 4.0),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_where_nobody_is_positive_nobody_becomes_so_by_a_calibration(curve, kind):
    """The highest score is a tie of a negative: no score that occurs is specific enough."""
    calibration = Calibration(method=curve.method, chosen_on="valid", labels={"Edema": curve})
    targets, mask = np.array([[False], [True], [True], [False]]), np.ones((4, 1), bool)
    ends = [0.0, 0.5, 1 - 2**-53, 1.0]
    for highest in [*np.random.default_rng(5).uniform(0.7, 1, 50), *ends]:
        scores = (highest * np.array([[0.2], [0.7], [1], [1]])).astype(kind).astype(float)
        thresholds = thresholds_for(Rule("specificity", 1.0), targets, scores, mask)
        assert (scores < thresholds).all()
        assert thresholds[0] - scores.max() < 1e-7
        moved = calibration.of_thresholds(("Edema",), thresholds)
        assert (calibration.of_scores(("Edema",), scores) < moved).all()


def test_scores_that_are_no_probabilities_are_ranked_only():
    sample = draw_sample(1)
    moved = replace(sample, scores=100 * sample.scores - 7)
    found, plain = (assess(s, THRESHOLDS * np.nan, None).as_json() for s in (moved, sample))
    for label in LABELS:
        assert found["labels"][label]["auroc"] == plain["labels"][label]["auroc"]
        assert found["labels"][label]["brier"] is None is found["labels"][label]["ece"]
