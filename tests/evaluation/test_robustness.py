"""What changes of the images do to scores: paired differences and decisions that turn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.robustness import assess_robustness
from cxrtool.evaluation.sample import Sample

THRESHOLDS = np.array([0.5, np.nan])


@pytest.fixture
def plain():
    rng = np.random.default_rng(2)
    targets = rng.random((400, 2)) < 0.4
    return Sample(
        labels=("Edema", "Fracture"),
        keys=np.arange(400).astype(str),
        patients=(np.arange(400) // 2).astype(str),
        studies=np.full(400, ""),
        targets=targets,
        mask=rng.random((400, 2)) < 0.9,
        scores=1 / (1 + np.exp(-2 * targets - rng.normal(size=(400, 2)) + 1)),
    )


def noisy(sample, noise=2.0):
    rng = np.random.default_rng(4)
    logits = np.log(sample.scores / (1 - sample.scores)) + rng.normal(0, noise, (400, 2))
    return replace(sample, scores=1 / (1 + np.exp(-logits)))


def test_what_changes_nothing_costs_nothing(plain):
    draws = draw_patients(plain.patients, replicates=100)
    found = assess_robustness(plain, {"none": plain}, THRESHOLDS, draws).changes["none"]
    assert (found.difference.value, found.flipped, found.worst) == (0, 0, None)


def test_noise_costs_what_scikit_learn_says_and_the_interval_holds_it(plain):
    after = noisy(plain)
    draws = draw_patients(plain.patients, replicates=300)
    whole = assess_robustness(plain, {"noise": after}, THRESHOLDS, draws)
    found, aurocs = whole.changes["noise"], []
    for sample in (plain, after):
        columns = [
            (sample.targets[mask, at], sample.scores[mask, at])
            for at, mask in enumerate(sample.mask.T)
        ]
        aurocs.append([roc_auc_score(*column) for column in columns])
    assert whole.mean_auroc == pytest.approx(np.mean(aurocs[0]))
    assert found.mean_auroc == pytest.approx(np.mean(aurocs[1]))
    assert found.difference.value == pytest.approx(np.mean(aurocs[1]) - np.mean(aurocs[0]))
    low, high = found.difference.interval
    assert low < found.difference.value < high < 0
    edema = found.labels["Edema"]
    assert edema.value == pytest.approx(aurocs[1][0] - aurocs[0][0])
    assert found.worst[1].value == min(one.value for one in found.labels.values())


def test_decisions_that_turn_are_those_of_labels_with_a_threshold(plain):
    after = noisy(plain)
    found = assess_robustness(plain, {"noise": after}, THRESHOLDS, None).changes["noise"]
    rows = plain.mask[:, 0]
    turned = (plain.scores[rows, 0] >= 0.5) != (after.scores[rows, 0] >= 0.5)
    assert 0 < found.flipped == pytest.approx(turned.mean())
    assert found.difference.interval is None
    none = assess_robustness(plain, {"noise": after}, np.full(2, np.nan), None)
    assert none.changes["noise"].flipped is None


def test_a_label_without_a_class_takes_no_part(plain):
    gone = replace(plain, targets=plain.targets & [True, False])
    found = assess_robustness(gone, {"noise": noisy(gone)}, THRESHOLDS, None).changes["noise"]
    assert found.labels["Fracture"].value is None
    assert found.difference.value == pytest.approx(found.labels["Edema"].value)
