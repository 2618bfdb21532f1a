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


TRIAGE = "certified-sensitivity=0.5@60,certified-specificity=0.5@60"


def test_a_certified_point_and_a_triage_are_kept_with_what_they_rest_on(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    before = run.thresholds.read_text()
    rule = "certified-sensitivity=0.5@60"
    found = evaluate(trained, operating_point=rule, triage=TRIAGE, keep=True)
    card = read_card(run)
    assert (card.operating_point, card.chosen_on, card.family) == (rule, "valid", "none")
    with_one = {label for label, limit in card.thresholds.items() if limit is not None}
    assert with_one == set(card.certificates) != set()
    assert set(card.without) == set(card.labels) - with_one
    assert "No Finding" not in card.triage.labels
    assert found.as_json()["triage"]["labels"].keys() == card.triage.labels.keys() != set()
    for label, one in found.certificates.items():
        assert card.certificates[label].model_dump() == one.as_json()
        assert one.reached >= 0.5
    # What is stored is used without being asked for, and forgotten when that is asked for.
    again = evaluate(trained)
    assert again.operating_point == found.operating_point
    assert again.triage == found.triage
    assert evaluate(trained, triage="none").triage is None
    evaluate(trained, operating_point="youden", triage="none", keep=True)
    assert set(json.loads(run.thresholds.read_text())) == set(json.loads(before))


def test_a_threshold_edited_by_hand_is_not_certified_any_more(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    evaluate(trained, operating_point="certified-sensitivity=0.5@60", keep=True)
    values = json.loads(run.thresholds.read_text())
    label = next(iter(values["certificates"]))
    values["thresholds"][label] = 0.999
    run.thresholds.write_text(json.dumps(values))
    card = read_card(run)
    assert card.edited == (label,)
    assert label not in card.certificates
    assert set(card.certificates) == set(values["certificates"]) - {label}
    assert label not in evaluate(trained).certificates


def test_families_are_kept_apart_by_name(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    rule = "certified-sensitivity=0.5@60"
    for family in ("none", "holm"):
        evaluate(trained, operating_point=rule, family=family)
    assert {rule, f"{rule}, holm"} <= set(read_card(run).operating_points)
    evaluate(trained, operating_point=rule, family="holm", keep=True)
    card = read_card(run)
    assert (card.family, card.edited) == ("holm", ())
    with pytest.raises(UsageError, match="--family holm goes with a certified"):
        evaluate(trained, operating_point="youden", family="holm")
