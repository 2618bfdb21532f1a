"""What the page says of its model."""

import json
from pathlib import Path

import pytest

from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.run_cards import read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.gui.model_card import facts_of_file, facts_of_run
from tests.support.gui import ABOUT, LABELS
from tests.support.sealing import change_model


def test_the_card_of_a_run_that_was_not_scored_says_so(trained_once):
    facts = facts_of_run(RunFolder(trained_once.workspace.runs / "tiny"), "torch on cpu, fp32")
    rows = dict(facts.rows)
    patients = json.loads((trained_once.workspace.runs / "tiny" / "patients.json").read_text())
    assert facts.score == "not scored on test yet"
    assert "cxrtool evaluate" in rows["Test"]
    assert rows["Network"] == "resnet18, 32 × 32 pixels"
    assert f"of {len(patients['train'])} patients" in rows["Trained on"]
    assert rows["Split"].startswith("by patient")
    assert rows["Computes with"] == "torch on cpu, fp32"
    assert rows["Epochs"].startswith("2, the best of them ")


def test_the_card_says_that_patients_are_on_both_sides(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    patients = read_json(run.patients)
    write_json(run.patients, {**patients, "valid": patients["train"][:1]})
    change_model(run)
    assert dict(facts_of_run(run, "").rows)["Split"].startswith("by image")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"mean_auroc": "high"}, 'mean_auroc is "high"'),
        ({"mean_auroc": 0.8, "mean_auroc_ci": [0.7]}, "mean_auroc_ci"),
        ({"mean_auroc": 0.8, "labels": {"Edema": {"auroc": True}}}, "labels.Edema.auroc is true"),
        ({"mean_auroc": 0.8, "labels": []}, "labels is a list of 0"),
    ],
)
def test_the_card_says_that_its_test_scores_cannot_be_read(trained, content, said):
    run = RunFolder(trained.workspace.runs / "tiny")
    write_json(run.metrics("test"), content)
    facts = facts_of_run(run, "")
    assert facts.score == "not scored on test yet"
    sampled, warning = facts.warnings
    assert sampled == sampling_remark(run, read_card(run))
    assert "weighted sampling" in sampled
    assert warning.startswith("metrics/test.json: ")
    assert said in warning
    assert warning.endswith("run `cxrtool evaluate` again")


def test_the_card_has_the_test_score_with_its_interval(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    scores = {
        "mean_auroc": 0.8125,
        "mean_auroc_ci": [0.75, 0.875],
        "intervals": {"level": 0.95},
        "labels": {"Edema": {"auroc": 0.5, "auroc_ci": [0.25, 0.75]}, "Fracture": {"auroc": None}},
        "n": 12,
        "patients": 7,
        "defined": 1,
        "protocol": {"trained_on": True},
    }
    write_json(run.metrics("test"), scores)
    facts = facts_of_run(run, "")
    assert facts.score == "mean AUROC on test 0.812 (0.750 to 0.875)"
    shown = {one.label: one.shown for one in facts.labels}
    assert shown["Edema"] == "0.500 (0.250 to 0.750)"
    assert shown["Fracture"] == ""
    assert facts.level == 0.95
    assert "trained on" in facts.warnings[0]


def test_an_exported_model_says_what_it_knows_and_no_more():
    facts = facts_of_file(Path("x/model.onnx"), ABOUT, "onnxruntime on cpu, fp32")
    assert facts.name == "model.onnx"
    assert facts.score == "not scored on test yet"
    assert facts.brief == "resnet18 at 80 px, onnxruntime on cpu, fp32"
    assert [one.label for one in facts.labels] == list(LABELS)
    told = {"train_patients": 1, "test_mean_auroc": 0.75, "test_protocol": {"trained_on": True}}
    facts = facts_of_file(Path("x/model.onnx"), {**ABOUT, **told, "run": "a"}, "")
    assert facts.score == "mean AUROC on test 0.750"
    assert "trained on" in facts.warnings[0]
    assert dict(facts.rows)["Trained on"] == "1 patient"
    assert dict(facts.rows)["Exported from"] == "a"
