"""Figures of groups against plain selection."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    roc_auc_score,
)

from cxrtool.core.errors import UsageError
from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.scoring import assess
from cxrtool.evaluation.subgroups import assess_groups, group_rows, known_groups
from tests.support.samples import LABELS, THRESHOLDS, draw_sample

pytestmark = pytest.mark.filterwarnings("error")


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


def people(sexes, ages):
    """A row each for every pair of a sex and an age."""
    pairs = [(sex, age) for sex in sexes for age in ages]
    return pd.DataFrame(pairs, columns=["sex", "age"])


def test_groups_of_two_columns_are_those_of_both_at_once():
    about = people(["Female", "Male", ""], [30, 85, np.nan])
    found = group_rows(about, ["sex x age"])["sex x age"].tolist()
    assert found == [
        *("Female, 20-39", "Female, 80+", "not known"),
        *("Male, 20-39", "Male, 80+", "not known"),
        *["not known"] * 3,
    ]
    # Without being asked, they stand after sex and age.
    usual = known_groups(about, None)
    assert list(usual) == ["sex", "age", "sex x age"]
    assert usual["sex x age"].tolist() == found
    assert list(known_groups(about.drop(columns="age"), None)) == ["sex"]


def test_two_columns_are_both_in_the_table_and_make_few_groups():
    about = people(["a", "b", "c", "d", "e"], [10, 30, 50, 70, 90])
    with pytest.raises(UsageError, match=r"'weight'.*sex"):
        group_rows(about, ["sex x weight"])
    with pytest.raises(UsageError, match="sex x age x sex"):
        group_rows(about, ["sex x age x sex"])
    with pytest.raises(UsageError, match="25 values make too many groups"):
        group_rows(about, ["sex x age"])
    assert list(known_groups(about, None)) == ["sex", "age"]
    # A column may be called so.
    assert group_rows(about.assign(**{"sex x age": "one"}), ["sex x age"])["sex x age"][0] == "one"
