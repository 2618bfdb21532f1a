"""Operating points and calibrations of a run, chosen on valid."""

import json
from dataclasses import replace

import pytest

from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation.operating_points import stored_point
from cxrtool.evaluation.thresholds import Rule
from tests.support.evaluating_tables import evaluate


@pytest.mark.parametrize("policy", ["ones", "zeros", "ignore"])
def test_points_are_chosen_under_the_policy_of_the_training_whatever_is_scored(trained, policy):
    stored = read_card(RunFolder(trained.workspace.runs / "tiny")).operating_points["f1"]
    found = evaluate(trained, operating_point="f1", uncertainty=policy)
    assert {label: of.threshold for label, of in found.labels.items()} == stored


def test_an_operating_point_is_stored_and_only_kept_if_asked(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    before = read_card(run)
    assert set(before.operating_points) == {"youden", "f1"}
    assert before.thresholds == before.operating_points["youden"]
    found = evaluate(trained, operating_point="specificity=0.8")
    assert found.operating_point.rule == Rule("specificity", 0.8)
    stored = read_card(run)
    assert stored.thresholds == before.thresholds
    assert stored.operating_points["specificity=0.8"] == {
        label: figures.threshold for label, figures in found.labels.items()
    }
    evaluate(trained, operating_point="specificity=0.8", keep=True)
    kept = read_card(run)
    assert kept.operating_point == "specificity=0.8"
    assert kept.thresholds == stored.operating_points["specificity=0.8"]
    assert evaluate(trained).operating_point.rule == Rule("specificity", 0.8)
    values = json.loads(run.thresholds.read_text())
    values["thresholds"]["Edema"] = 0.125
    run.thresholds.write_text(json.dumps(values))
    edited = evaluate(trained)
    assert edited.labels["Edema"].threshold == 0.125
    told = str(edited.operating_point)
    assert told == "specificity=0.8, edited by hand for Edema"
    with pytest.raises(UsageError, match="say what to keep"):
        evaluate(trained, keep=True)
    with pytest.raises(UsageError, match="scores images"):
        evaluate(trained, keep=True, operating_point="f1", unit="study")


def test_a_stored_rule_that_is_unknown_is_named_with_what_to_do(trained):
    card = read_card(RunFolder(trained.workspace.runs / "tiny"))
    told = r"thresholds\.json: .*best.*--operating-point youden --keep"
    with pytest.raises(RunError, match=told):
        stored_point(replace(card, operating_point="best"))
    edited = stored_point(replace(card, edited=("Edema",))).chosen
    assert (edited.rule, edited.edited) == (Rule("youden"), ("Edema",))


def test_a_calibration_changes_probabilities_and_no_rank_nor_decision(trained):
    from cxrtool.core.config import PredictConfig
    from cxrtool.workflows.predict import predict_images

    plain = evaluate(trained)
    image = trained.data / json.loads(json.dumps(sorted(trained.data.rglob("*.jpg"))[0].as_posix()))
    config = PredictConfig(run=["tiny"], device="cpu", precision="fp32", workers=0)
    before = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    found = evaluate(trained, calibrate="platt", keep=True)
    fitted = found.calibration.labels
    told = found.calibration.left_out
    assert set(fitted) | set(told) == set(found.labels)
    for label, figures in found.labels.items():
        assert figures.auroc.value == plain.labels[label].auroc.value
        assert figures.sensitivity.value == plain.labels[label].sensitivity.value
        assert (figures.brier != plain.labels[label].brier) == (label in fitted)
    after = predict_images(config, [str(image)], trained.workspace).table.iloc[0]
    assert after["positive"] == before["positive"]
    for label in found.labels:
        assert (after[label] != before[label]) == (label in fitted)
    assert evaluate(trained).calibration.method == "platt"
    evaluate(trained, calibrate="none", keep=True)
    assert evaluate(trained).calibration is None


def test_studies_have_thresholds_of_their_own_and_a_file_of_their_own(trained):
    images = evaluate(trained)
    found = evaluate(trained, unit="study", aggregate="max")
    assert found.n < images.n
    run = RunFolder(trained.workspace.runs / "tiny")
    assert run.metrics("test-study-max").is_file()
    assert "youden, study max" in read_card(run).operating_points
    assert json.loads(run.metrics("test").read_text())["unit"] == "image"


def test_without_valid_predictions_a_rule_cannot_be_chosen(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    run.predictions("valid").unlink()
    evaluate(trained)
    with pytest.raises(RunError, match=r"valid\.csv is missing"):
        evaluate(trained, operating_point="f1")
