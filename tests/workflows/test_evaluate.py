import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrtool.core.config import EvaluateConfig, SplitConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import CHEXPERT_LABELS, targets_and_mask
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.data.prediction_tables import Predictions, read_predictions
from cxrtool.evaluation.truth import sample_of_rows
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening, call_chexperts
from tests.support.copies import copy_folder, own

LABELS = list(CHEXPERT_LABELS)
QUICK = {"device": "cpu", "precision": "fp32", "workers": 0, "bootstrap": 100, "report": False}


def evaluate(trained, reporter=None, **options):
    config = EvaluateConfig(**{**QUICK, "run": trained.run, **options})
    return evaluate_run(config, trained.workspace, seed=1, reporter=reporter or Listening())


@pytest.fixture(scope="module")
def scored(trained_once, tmp_path_factory):
    """A workspace of this module's own, for the evaluation that `result` is of."""
    folder = tmp_path_factory.mktemp("scored") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    return replace(trained_once, workspace=Workspace(folder))


@pytest.fixture(scope="module")
def result(scored):
    return evaluate(scored)


def truth_of(trained, part, policy="ones"):
    manifest = read_manifest(trained.workspace.manifest)
    rows = manifest[read_split(trained.workspace.split, manifest) == part]
    targets, _ = targets_and_mask(rows[LABELS].to_numpy(dtype=float), LABELS, policy)
    return rows, targets == 1


def test_each_figure_equals_scikit_learns(scored, result):
    rows, targets = truth_of(scored, "test")
    run = RunFolder(scored.workspace.runs / scored.run)
    scores = read_predictions(run.predictions("test"), LABELS).scores
    assert scores.index.tolist() == rows["path"].tolist()
    assert result.n == len(rows)
    defined = 0
    for column, label in enumerate(LABELS):
        figures, truth = result.labels[label], targets[:, column]
        score = scores[label].to_numpy(dtype=float)
        assert figures.n == len(rows)
        assert figures.positives == truth.sum()
        if truth.all() or not truth.any():
            assert figures.auroc.value is None
            continue
        defined += 1
        assert figures.auroc.value == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert figures.auprc.value == pytest.approx(
            average_precision_score(truth, score), abs=1e-12
        )
        if figures.threshold is not None:
            called = score >= figures.threshold
            assert figures.sensitivity.value == pytest.approx(called[truth].mean())
            assert figures.specificity.value == pytest.approx(1 - called[~truth].mean())
    assert result.defined == defined
    aurocs = [f.auroc.value for f in result.labels.values() if f.auroc.value is not None]
    assert result.mean_auroc.value == pytest.approx(np.mean(aurocs))


def test_intervals_hold_the_estimate(result):
    for figures in result.labels.values():
        if figures.auroc.interval is not None:
            low, high = figures.auroc.interval
            assert low <= figures.auroc.value <= high


def test_thresholds_are_the_runs(scored, result):
    run = RunFolder(scored.workspace.runs / scored.run)
    kept = json.loads(run.thresholds.read_text())["thresholds"]
    assert {label: f.threshold for label, f in result.labels.items()} == kept


def test_the_scores_are_written_as_they_are_returned(scored, result):
    run = RunFolder(scored.workspace.runs / scored.run)
    written = json.loads(run.metrics("test").read_text())
    assert written.pop("format") == 1
    assert written == result.as_json()


def test_the_protocol_is_told(scored, result):
    assert result.as_json()["protocol"] == {
        "name": "other",
        "labels_by": "the program that drew the images",
        "uncertainty": "ones",
        "blank": "zeros",
        "split_by": "patient",
        "views": ["frontal"],
    }
    assert result.unit == "image"


def test_the_protocol_names_the_views_that_are_there(trained):
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    split = pd.read_csv(trained.workspace.split)
    at = split.index[split["split"] == "test"][0]
    frame.loc[frame["path"] == split.loc[at, "path"], ["view", "orientation"]] = ["lateral", ""]
    frame.to_csv(trained.workspace.manifest, index=False)
    assert evaluate(trained).protocol.views == ("frontal", "lateral")


def test_radiologists_rows_are_another_protocol(trained):
    call_chexperts(trained.workspace)
    result = evaluate(trained, split="expert")
    assert result.protocol.name == "expert"
    assert result.protocol.labels_by == "radiologists of valid.csv"


def test_the_truths_policy_can_be_chosen(trained):
    result = evaluate(trained, uncertainty="zeros")
    _, targets = truth_of(trained, "test", "zeros")
    assert result.protocol.uncertainty == "zeros"
    assert [f.positives for f in result.labels.values()] == targets.sum(axis=0).tolist()


@pytest.mark.parametrize("policy", ["ignore", "smooth", "smooth-zeros"])
def test_uncertain_images_do_not_count_under_these_policies(trained, policy):
    result = evaluate(trained, uncertainty=policy)
    rows, _ = truth_of(trained, "test")
    scores = read_predictions(
        RunFolder(trained.workspace.runs / trained.run).predictions("test"), LABELS
    ).scores
    assert result.n == len(rows)
    left_out = 0
    for label, figures in result.labels.items():
        certain = (rows[label] != -1).to_numpy()
        truth = (rows[label] == 1).to_numpy()[certain]
        left_out += (~certain).sum()
        assert (figures.n, figures.positives) == (certain.sum(), truth.sum())
        if figures.auroc.value is not None:
            expected = roc_auc_score(truth, scores[label].to_numpy(dtype=float)[certain])
            assert figures.auroc.value == pytest.approx(expected, abs=1e-12)
    assert left_out  # else nothing was tried


def test_the_truths_policy_can_differ_from_label_to_label(trained):
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    frame.loc[frame.index[::2], ["Edema", "Pleural Effusion"]] = "-1"
    frame.to_csv(trained.workspace.manifest, index=False)
    text = "ones,Pleural Effusion=zeros"
    result = evaluate(trained, uncertainty=text)
    rows, ones = truth_of(trained, "test")
    assert result.protocol.uncertainty == text
    assert result.labels["Edema"].positives == ones[:, LABELS.index("Edema")].sum()
    assert result.labels["Pleural Effusion"].positives == (rows["Pleural Effusion"] == 1).sum()


def test_an_unknown_policy_of_the_truth_is_told(trained):
    with pytest.raises(UsageError, match="did you mean Edema"):
        evaluate(trained, uncertainty="ones,Oedema=zeros")


def test_what_is_not_mentioned_counts_as_it_did_in_training(trained):
    card = read_card(RunFolder(trained.workspace.runs / trained.run))
    rows, _ = truth_of(trained, "test")
    blank = rows[LABELS].isna().to_numpy()
    assert blank.any()
    zeros = pd.DataFrame(np.zeros(blank.shape))
    scores = Predictions(scores=zeros, logits=zeros)
    assert sample_of_rows(rows, card, "ones", card.blank, scores, {}).mask.all()
    ignoring = sample_of_rows(rows, card, "ones", "ignore", scores, {})
    np.testing.assert_array_equal(ignoring.mask, ~blank)
    assert evaluate(trained, blank="ignore").labels["Edema"].n == (~blank).sum(axis=0)[5]


def test_a_label_of_which_no_image_counts_is_undefined(trained):
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    frame["Edema"] = "-1"
    frame.to_csv(trained.workspace.manifest, index=False)
    result = evaluate(trained, uncertainty="ignore")
    figures = result.labels["Edema"]
    assert (figures.n, figures.positives) == (0, 0)
    assert figures.auroc == figures.auprc == figures.sensitivity == Estimate()
    assert 0 < result.defined <= 13
    json.dumps(result.as_json(), allow_nan=False)


def test_labels_with_one_class_are_undefined_and_the_mean_says_over_how_many(trained):
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    frame["Edema"] = "0"
    frame.to_csv(trained.workspace.manifest, index=False)
    result = evaluate(trained)
    assert result.labels["Edema"].auroc.value is None
    assert result.labels["Edema"].auroc.interval is None
    assert result.labels["Edema"].sensitivity.value is None
    assert result.defined <= 13
    json.dumps(result.as_json(), allow_nan=False)


def test_scores_that_are_there_are_not_made_again(trained):
    evaluate(trained)
    run = RunFolder(trained.workspace.runs / trained.run)
    kept = run.predictions("test").read_bytes()
    info = json.loads(trained.workspace.data_info.read_text())
    trained.workspace.data_info.write_text(json.dumps({**info, "folder": "/nowhere"}))
    evaluate(trained)
    assert run.predictions("test").read_bytes() == kept


def test_scores_of_an_edited_split_are_made_again(trained):
    evaluate(trained)
    split = pd.read_csv(trained.workspace.split)
    moved = split.index[split["split"] == "expert"][:3]
    split.loc[moved, "split"] = "test"
    split.to_csv(trained.workspace.split, index=False)
    rows, _ = truth_of(trained, "test")
    assert evaluate(trained).n == len(rows)


def test_patients_of_the_training_are_refused_unless_forced(trained):
    split_manifest(SplitConfig(sizes="40,20,40", force=True), trained.workspace, seed=9)
    with pytest.raises(DataError, match=r"patients in test are among those .* trained or chosen"):
        evaluate(trained)
    listening = Listening()
    result = evaluate(trained, listening, force=True, report=True)
    assert "too good" in listening.warnings[0]
    assert (result.protocol.name, result.protocol.trained_on) == ("other", True)
    page = RunFolder(trained.workspace.runs / trained.run).report("test").read_text("utf-8")
    assert "the run has seen patients of these images" in page
    assert re.search(r"cxrtool evaluate .*--force", page)


def test_a_split_by_image_is_scored_with_a_warning_if_the_run_was_trained_on_it(trained):
    split_manifest(SplitConfig(by="image", force=True), trained.workspace, seed=9)
    with pytest.raises(DataError, match="trained or chosen"):
        evaluate(trained)
    call_chexperts(trained.workspace)
    config = replace(TINY, epochs=1, name="by-image")
    train_model(config, trained.workspace, seed=1)
    listening = Listening()
    result = evaluate(trained, listening, run="by-image")
    assert (result.protocol.name, result.protocol.split_by) == ("holdout", "image")
    assert not result.protocol.trained_on
    assert "trained_on" not in result.as_json()["protocol"]
    assert "too good" in listening.warnings[0]


def test_valid_images_made_test_images_are_refused(trained):
    split = pd.read_csv(trained.workspace.split)
    split["split"] = split["split"].replace({"valid": "test", "test": "valid"})
    split.to_csv(trained.workspace.split, index=False)
    with pytest.raises(DataError, match="trained or chosen"):
        evaluate(trained)


def test_one_patient_in_two_parts_does_not_open_the_door(trained):
    split = pd.read_csv(trained.workspace.split)
    several = split[split["split"] == "train"].groupby("patient_id").filter(lambda g: len(g) > 1)
    split.loc[several.index[0], "split"] = "test"
    split.to_csv(trained.workspace.split, index=False)
    with pytest.raises(DataError, match=r"1 of .* patients in test"):
        evaluate(trained)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_scores_of_what_a_run_was_made_on_carry_a_warning(trained, part):
    listening = Listening()
    evaluate(trained, listening, split=part)
    expected = {"train": "the training images themselves", "valid": "chosen on valid"}[part]
    others = ("patients with a positive", "weighted sampling")
    of_part = [text for text in listening.warnings if not any(other in text for other in others)]
    assert len(of_part) == 1
    assert expected in of_part[0]


@pytest.mark.parametrize(("part", "name"), [("train", "other"), ("valid", "holdout")])
def test_a_score_of_the_training_is_no_hold_out(trained, part, name):
    call_chexperts(trained.workspace)
    protocol = evaluate(trained, split=part).protocol
    assert protocol.name == name
    assert protocol.trained_on == (part == "train")


def test_another_data_sets_scores_do_not_replace_the_runs_own(trained, tmp_path):
    evaluate(trained)
    run = RunFolder(trained.workspace.runs / trained.run)
    own = run.predictions("test").read_bytes()
    frame = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    frame["age"] = "50"
    frame.to_csv(trained.workspace.manifest, index=False)
    evaluate(trained)
    assert run.predictions("test").read_bytes() == own
    assert len(list((run.path / "predictions").glob("test-*.csv"))) == 1


def test_an_empty_part_is_told(trained):
    split = pd.read_csv(trained.workspace.split)
    split["split"] = split["split"].replace("expert", "test")
    split.to_csv(trained.workspace.split, index=False)
    with pytest.raises(DataError, match="no image is in expert"):
        evaluate(trained, split="expert")


def test_a_test_image_that_went_missing_is_told(trained, tmp_path):
    kept = RunFolder(trained.workspace.runs / trained.run).predictions("test")
    kept.unlink(missing_ok=True)
    info = json.loads(trained.workspace.data_info.read_text())
    trained.workspace.data_info.write_text(json.dumps({**info, "folder": str(tmp_path)}))
    with pytest.raises(DataError, match="images of test cannot be read"):
        evaluate(trained)


@pytest.mark.parametrize(
    "name", ["model.json", "labels.json", "thresholds.json", "patients.json", "model.safetensors"]
)
def test_a_missing_file_of_the_run_is_named(trained, name):
    (trained.workspace.runs / trained.run / name).unlink()
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        evaluate(trained)


def test_altered_weights_are_noticed(trained):
    run = RunFolder(trained.workspace.runs / trained.run)
    content = bytearray(run.weights.read_bytes())
    content[-1] ^= 1
    own(run.weights).write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"model\.safetensors is not the file that training wrote"):
        evaluate(trained)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("model.json", '"arch"', '"arc"'),
        ("model.json", '"format": 1', '"format": 2'),
        ("model.json", '"pixel_std": 0.', '"pixel_std": -0.'),
        ("thresholds.json", '"Edema"', '"Oedema"'),
        ("thresholds.json", '"thresholds": {', '"thresholds": {"Edema": "x", "x": {}}, "x": {'),
        ("labels.json", '"Edema"', '"Fracture"'),
        ("patients.json", '"train"', '"trained"'),
        ("patients.json", "patient00", "patient99"),
        ("labels.json", "{", "["),
    ],
)
def test_an_altered_json_file_of_the_run_is_named(trained, name, old, new):
    path = trained.workspace.runs / trained.run / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RunError):
        evaluate(trained)


def test_no_run_yet_names_the_command(prepared):
    with pytest.raises(RunError, match="cxrtool train"):
        evaluate_run(EvaluateConfig(), prepared, seed=1)


def test_an_unknown_run_names_those_there_are(trained):
    with pytest.raises(RunError, match="there are: tiny"):
        evaluate(trained, run="teeny")
