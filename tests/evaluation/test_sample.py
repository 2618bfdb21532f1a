"""All figures of a sample against scikit-learn, subgroups against plain selection."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from cxrtool.core.errors import DataError, UsageError
from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.calibration import Calibrator
from cxrtool.evaluation.comparison import paired_differences
from cxrtool.evaluation.intervals import area_interval, bootstrap_interval, mean_freedom
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.scoring import About, assess, score_sample
from cxrtool.evaluation.subgroups import assess_groups, group_rows
from cxrtool.evaluation.thresholds import ChosenRule, Rule, thresholds_for
from tests.support.results import ORIGIN

pytestmark = pytest.mark.filterwarnings("error")
LABELS = ("Edema", "Cardiomegaly", "Fracture", "Nothing", "Pneumonia")


def draw_sample(seed, n=240, patients=90, shift=0.0):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    targets = rng.random((n, 5)) < [0.4, 0.3, 0.05, 0.0, 0.5]
    targets[0, 2] = True
    logits = rng.normal(targets * 1.2 + shift, 1.0)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32).astype(float)
    sex = np.where(rng.random(n) < 0.5, "Female", "Male")
    return Sample(
        labels=LABELS,
        keys=np.array([f"{number:04d}.jpg" for number in range(n)]),
        patients=np.array([f"patient{number:05d}" for number in patient]),
        studies=np.array([f"study{number % 3}" for number in range(n)]),
        targets=targets,
        mask=rng.random((n, 5)) < [1, 0.8, 1, 1, 0.9],
        scores=scores,
        groups={"sex": sex},
    )


NAMES = ("one", "other")
THRESHOLDS = np.array([0.5, 0.6, 0.4, np.nan, 0.55])


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
            continue
        assert figures["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert figures["auprc"] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        called = score >= thresholds[column]
        tn, fp, fn, tp = confusion_matrix(truth, called).ravel()
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


def test_an_interval_rests_on_the_patients_of_the_rarer_class():
    sample = with_three_fractures(draw_sample(8))
    draws = draw_patients(sample.patients, replicates=200, seed=3)
    drawn = bootstrap_rankings(sample.targets, sample.scores, sample.mask, draws)
    found = assess(sample, THRESHOLDS, draws).as_json()
    for name, of, interval in (
        ("auroc", drawn.auroc, area_interval),
        ("auprc", drawn.auprc, bootstrap_interval),
    ):
        rarer = []
        for column, label in enumerate(LABELS):
            kept, truth = sample.mask[:, column], sample.targets[:, column]
            of_class = [len(set(sample.patients[kept & (truth == value)])) for value in (1, 0)]
            rarer.append(min(of_class) - 1)
            figures = found["labels"][label]
            expected = interval(of[:, [column]], [figures[name] or np.nan], [rarer[-1]])[0]
            assert figures[f"{name}_ci"] == (None if label == "Nothing" else expected.tolist())
        # Draws without a positive of the rare label have no mean over the same four labels.
        whole, others = of[:, [0, 1, 2, 4]], [rarer[at] for at in (0, 1, 2, 4)]
        assert np.isnan(whole).any()
        expected = interval(
            whole.mean(axis=1)[:, None],
            [found[f"mean_{name}"]],
            [mean_freedom(whole, others)],
        )[0]
        assert found[f"mean_{name}_ci"] == expected.tolist()


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


@pytest.mark.parametrize(
    "curve",
    [
        Calibrator("temperature", {"temperature": (3.0,)}),
        Calibrator("isotonic", {"scores": (0.1, 0.9), "shares": (0.2, 0.6)}),
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


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_study_is_its_images(aggregate):
    sample = draw_sample(2)
    found = by_study(sample, aggregate)
    frame = pd.DataFrame({"patient": sample.patients, "study": sample.studies})
    for (patient, study), rows in frame.groupby(["patient", "study"]).groups.items():
        at = np.flatnonzero((found.patients == patient) & (found.keys == study))
        assert len(at) == 1
        scores = sample.scores[rows]
        expected = scores.max(axis=0) if aggregate == "max" else scores.mean(axis=0)
        np.testing.assert_allclose(found.scores[at[0]], expected)
        counts = sample.mask[rows]
        np.testing.assert_array_equal(found.mask[at[0]], counts.any(axis=0))
        positive = (sample.targets[rows] & counts).any(axis=0)
        np.testing.assert_array_equal(found.targets[at[0]], positive)
        sexes = set(sample.groups["sex"][rows])
        assert found.groups["sex"][at[0]] == (sexes.pop() if len(sexes) == 1 else "several")
    with pytest.raises(DataError, match="name no study"):
        by_study(replace(sample, studies=np.full(len(sample.keys), "")), aggregate)


def test_a_groups_figures_are_those_of_its_rows():
    sample = draw_sample(3, n=600, patients=300)
    draws = draw_patients(sample.patients, replicates=100)
    found = assess_groups(sample, THRESHOLDS, draws)["sex"].as_json()
    aurocs = {}
    for name, group in found["groups"].items():
        rows = sample.groups["sex"] == name
        assert (group["n"], group["patients"]) == (rows.sum(), len(set(sample.patients[rows])))
        for column, label in enumerate(LABELS):
            kept = rows & sample.mask[:, column]
            truth, score = sample.targets[kept, column], sample.scores[kept, column]
            figures = group["labels"][label]
            assert (figures["n"], figures["positives"]) == (kept.sum(), truth.sum())
            whom = [len(set(sample.patients[kept][truth == value])) for value in (True, False)]
            assert figures["too_few"] == (min(whom) < 10)
            if truth.any() and not truth.all():
                expected = roc_auc_score(truth, score)
                assert figures["auroc"] == pytest.approx(expected, abs=1e-12)
                aurocs[name, label] = expected
                assert figures["tpr"] == pytest.approx((score >= THRESHOLDS[column])[truth].mean())
                assert figures["fpr"] == pytest.approx((score >= THRESHOLDS[column])[~truth].mean())
    gap = found["gaps"]["Edema"]["auroc"]
    apart = aurocs["Female", "Edema"] - aurocs["Male", "Edema"]
    assert gap["gap"] == pytest.approx(abs(apart))
    assert gap["highest"] == ("Female" if apart > 0 else "Male")
    assert gap["ci"][0] <= gap["gap"] <= gap["ci"][1]
    assert found["gaps"]["Nothing"]["auroc"] is None


def test_a_network_that_tells_the_group_alone_is_unmasked():
    """Sick patients are mostly of one group, and the score is the group: within it, chance."""
    rng = np.random.default_rng(4)
    sick = rng.random(800) < 0.5
    view = np.where(rng.random(800) < np.where(sick, 0.9, 0.1), "AP", "PA")
    scores = np.where(view == "AP", 0.8, 0.2) + rng.normal(0, 0.01, 800)
    sample = replace(
        draw_sample(0, n=800, patients=800),
        labels=("Edema",),
        targets=sick[:, None],
        mask=np.ones((800, 1), bool),
        scores=scores[:, None],
        groups={"view": view},
    )
    over_all = assess(sample, np.array([0.5]), None).as_json()["labels"]["Edema"]["auroc"]
    within = assess_groups(sample, np.array([0.5]), None)["view"].as_json()["within"]["Edema"]
    assert over_all > 0.85
    assert 0.4 < within < 0.6


def two_groups(patients):
    """A label whose positives in group B are 40 images of so many patients."""
    n = 400
    rng = np.random.default_rng(patients)
    group = np.where(np.arange(n) < 200, "A", "B")
    positive = np.arange(n) % 200 < np.where(group == "A", 100, 40)
    patient = np.array([f"p{number}" for number in range(n)])
    rare = (group == "B") & positive
    patient[rare] = [f"q{number % patients}" for number in range(40)]
    return replace(
        draw_sample(0, n=n),
        labels=("Fracture", "Edema"),
        patients=patient,
        targets=np.stack([positive, positive], axis=1),
        mask=np.ones((n, 2), bool),
        scores=rng.normal(np.outer(positive * np.where(group == "A", 2.0, 0.5), [0, 1])),
        groups={"site": group},
    )


@pytest.mark.parametrize(("patients", "enough"), [(9, False), (10, True)])
def test_a_group_of_few_patients_says_nothing_and_makes_no_gap(patients, enough):
    sample = two_groups(patients)
    draws = draw_patients(sample.patients, replicates=300, seed=2)
    found = assess_groups(sample, np.full(2, 0.5), draws)["site"].as_json()
    assert found["groups"]["B"]["labels"]["Edema"]["too_few"] != enough
    assert not found["groups"]["A"]["labels"]["Edema"]["too_few"]
    gaps = found["gaps"]["Edema"]
    assert [gaps[name] is not None for name in ("auroc", "tpr", "fpr")] == [enough] * 3
    if enough:
        rows = sample.groups["site"] == "A"
        drawn = [
            bootstrap_rankings(
                sample.targets, sample.scores, sample.mask & of_group[:, None], draws
            ).auroc
            for of_group in (rows, ~rows)
        ]
        apart = (drawn[0] - drawn[1])[:, [1]]
        expected = bootstrap_interval(apart, [gaps["auroc"]["gap"]], [patients - 1])
        assert gaps["auroc"]["ci"] == expected[0].tolist()


def test_a_score_within_groups_weighs_pairs():
    sample = two_groups(30)
    positive, score = sample.targets[:, 1], sample.scores[:, 1]
    group = sample.groups["site"]
    pairs = (positive[:, None] & ~positive) & (group[:, None] == group)
    higher = score[:, None] > score
    found = assess_groups(sample, np.full(2, 0.5), None)["site"].as_json()["within"]["Edema"]
    assert found == pytest.approx(higher[pairs].mean(), abs=1e-12)


def test_groups_are_bands_of_age_and_views_with_their_orientation():
    about = pd.DataFrame(
        {
            "age": [0, 19, 20, 80, 90, np.nan],
            "view": ["frontal"] * 4 + ["lateral", ""],
            "orientation": ["AP", "PA", "", "AP", "", ""],
            "path": [str(number) for number in range(6)],
        }
    )
    found = group_rows(about, ["age", "view"])
    assert found["age"].tolist() == ["0-19", "0-19", "20-39", "80+", "80+", "not known"]
    assert found["view"].tolist() == [
        *("frontal AP", "frontal PA", "frontal", "frontal AP", "lateral", "not known")
    ]
    with pytest.raises(UsageError, match="column of --by"):
        group_rows(about, ["sexx"])
    with pytest.raises(UsageError, match="too many groups"):
        group_rows(pd.DataFrame({"path": [str(number) for number in range(30)]}), ["path"])


def test_a_paired_difference_is_that_of_the_two_on_the_same_draws():
    one = draw_sample(6)
    noise = np.random.default_rng(9).normal(0, 0.05, one.scores.shape)
    other = replace(one, scores=np.clip(one.scores + noise, 0, 1))
    draws = draw_patients(one.patients, replicates=300)
    found = paired_differences(one, other, draws, NAMES).as_json()
    figures = [assess(sample, THRESHOLDS, draws).as_json() for sample in (one, other)]
    for label in LABELS:
        values = [of["labels"][label]["auroc"] for of in figures]
        if None not in values:
            assert found["labels"][label]["auroc"] == pytest.approx(values[0] - values[1])
    turned = paired_differences(one, other.choose(LABELS[::-1]), draws, NAMES).as_json()
    assert turned["labels"] == found["labels"]
    # What both have in common is gone: the pair is told apart far better than each alone.
    width = np.diff(found["labels"]["Edema"]["auroc_ci"])[0]
    assert width < np.diff(figures[0]["labels"]["Edema"]["auroc_ci"])[0] / 2
    with pytest.raises(DataError, match="rows are not the same"):
        paired_differences(one, replace(other, keys=other.keys[::-1]), draws, NAMES)
    with pytest.raises(DataError, match="truth is not the same"):
        paired_differences(one, replace(other, targets=~other.targets), draws, NAMES)
