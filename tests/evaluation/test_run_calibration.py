"""A run's calibration: of its training, of what it stores, and moved to other prevalences."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy.special import logit

from cxrtool.core.config import EvaluateConfig, PredictConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.run_cards import read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.core.schemas import Counts
from cxrtool.evaluation.prior_shift import predictive_values
from cxrtool.evaluation.run_calibration import chosen_calibration, prior_calibration
from cxrtool.workflows.predict import predict_images
from tests.support.evaluating_tables import evaluate
from tests.support.samples import LABELS, draw_sample

SETTINGS = {"sampling": "weighted", "pos_weight": "none", "loss": "bce"}


def shifts_of(card):
    """What the training did, from the counts in labels.json."""
    return {
        label: float(logit(of.positives / of.n) - logit(of.drawn))
        for label, of in card.train.items()
    }


def test_the_training_priors_are_corrected_and_no_decision_changes(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    card, plain = read_card(run), evaluate(trained, calibrate="none")
    found = evaluate(trained, calibrate="prior", keep=True)
    assert found.calibration.method == "prior"
    assert found.calibration.chosen_on == "train"
    for label, shift in shifts_of(card).items():
        assert found.calibration.labels[label].parameters["shift"] == (pytest.approx(shift),)
        one, before = found.labels[label], plain.labels[label]
        assert (one.auroc, one.sensitivity, one.specificity) == (
            before.auroc,
            before.sensitivity,
            before.specificity,
        )
        assert one.brier != before.brier
        if before.threshold is not None:
            moved = logit(before.threshold) + shift
            assert logit(one.threshold) == pytest.approx(moved, abs=1e-3)
    kept = read_card(run)
    assert kept.calibration["method"] == "prior"
    assert evaluate(trained).labels == found.labels
    assert sampling_remark(run, kept) is None
    image = sorted(trained.data.rglob("*.jpg"))[0]
    config = PredictConfig(run=["tiny"], device="cpu", precision="fp32", workers=0)
    shown = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    evaluate(trained, calibrate="none", keep=True)
    raw = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    assert shown["positive"] == raw["positive"]
    for label, shift in shifts_of(card).items():
        assert logit(shown[label]) == pytest.approx(logit(raw[label]) + shift, abs=1e-2)


def test_a_prevalence_moves_what_is_calibrated_and_is_kept(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    card = read_card(run)
    label = next(iter(shifts_of(card)))
    plain = evaluate(trained, calibrate="prior")
    found = evaluate(trained, prevalence=f"{label}=0.02", keep=True)
    # Nothing was calibrated, so the training's priors come first; the data's share is then left.
    share = card.train[label].positives / card.train[label].n
    assert found.calibration.method == "prior"
    assert found.calibration.labels[label].offset == pytest.approx(logit(0.02) - logit(share))
    assert found.calibration.moved_to == {label: 0.02}
    one, before = found.labels[label], plain.labels[label]
    assert (one.auroc, one.sensitivity, one.ppv) == (before.auroc, before.sensitivity, before.ppv)
    assert one.target_prevalence == 0.02
    assert (one.target_ppv, one.target_npv) == predictive_values(
        one.sensitivity, one.specificity, 0.02
    )
    others = [name for name in found.labels if name != label]
    assert all(found.labels[name] == plain.labels[name] for name in others)
    assert any(f"{label} 2.0 %" in text for text in found.warnings)
    # Kept: used where nothing is asked for, with another calibration too, and not with none.
    assert evaluate(trained).labels[label] == one
    again = evaluate(trained, calibrate="prior")
    assert again.labels[label] == one
    assert evaluate(trained, prevalence="none").labels == plain.labels
    assert evaluate(trained, unit="study").calibration.moved_to == {label: 0.02}
    assert evaluate(trained, calibrate="none").labels[label].target_prevalence is None
    written = json.loads(run.metrics("test").read_text())
    assert written["labels"][label]["target_prevalence"] is None
    evaluate(trained)
    written = json.loads(run.metrics("test").read_text())
    assert written["labels"][label]["target_npv"] == one.target_npv.value
    assert written["calibration"]["moved_to"] == {label: 0.02}


def chosen(stored=None, sample=None, **options):
    """The calibration that is chosen for a run of these labels; `sample` is its valid part."""
    card = SimpleNamespace(calibration=stored, labels=LABELS, train=None)

    def valid():
        if sample is None:
            pytest.fail("the valid part is not needed")
        return sample

    return chosen_calibration(RunFolder(Path("tiny")), card, EvaluateConfig(**options), valid)


def test_a_fitted_calibration_is_moved_from_the_prevalence_of_valid():
    sample = draw_sample(1, n=600)
    fitted = chosen(sample=sample, calibrate="platt")
    share = sample.targets[sample.mask[:, 0], 0].mean()
    assert fitted.prevalence["Edema"] == pytest.approx(share)
    # Stored, it is neither fitted again nor changed; of version 0.1 it knows no prevalence.
    stored = json.loads(json.dumps(fitted.as_json()))
    found = chosen(stored, prevalence="Edema=0.3")
    assert found.labels["Edema"].offset == pytest.approx(logit(0.3) - logit(share))
    assert found.labels["Edema"].parameters == fitted.labels["Edema"].parameters
    assert found.labels["Cardiomegaly"] == fitted.labels["Cardiomegaly"]
    again = json.loads(json.dumps(found.as_json()))
    assert chosen(again) == found
    assert chosen(again, prevalence="none") == fitted
    assert chosen(again, sample=sample, calibrate="platt") == found
    del stored["prevalence"]
    assert chosen(stored).labels == fitted.labels
    assert chosen(stored, sample=sample, prevalence="Edema=0.3") == found


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(UsageError, match="leave --calibrate none out"):
        chosen(calibrate="none", prevalence="Edema=0.1")
    with pytest.raises(UsageError, match="--prevalence: label 'Edma' is not known"):
        chosen(prevalence="Edma=0.1")
    with pytest.raises(UsageError, match="above 0 and below 1"):
        chosen(prevalence="Edema=1.5")
    with pytest.raises(DataError, match="--prevalence Nothing: platt does not calibrate it"):
        chosen(sample=draw_sample(1), calibrate="platt", prevalence="Nothing=0.1")
    assert chosen(calibrate="none") is None
    assert chosen() is None


def test_labels_without_prior_odds_are_left_as_they_are():
    train = {"Edema": Counts(positives=5, n=20, drawn=0.5), "Fracture": Counts(positives=0, n=20)}
    train["Fracture"] = replace_drawn(train["Fracture"], 0.0)
    found = prior_calibration("a", train, SETTINGS)
    assert set(found.labels) == {"Edema"}
    assert "no prior odds" in found.left_out["Fracture"]
    assert found.prevalence == {"Edema": 0.25}
    moved = found.move({"Edema": 0.01})
    assert replace(moved.move({}), moved_to={}) == replace(found, moved_to={})
    assert float(moved.labels["Edema"](0.5)) == pytest.approx(0.01, abs=1e-5)


def replace_drawn(counts, drawn):
    return counts.model_copy(update={"drawn": drawn})


def test_a_run_of_version_0_1_says_that_it_does_not_know():
    with pytest.raises(RunError, match=r"version 0\.1"):
        prior_calibration("old", {"Edema": Counts(positives=5, n=20)}, SETTINGS)
