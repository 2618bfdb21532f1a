"""What counts as the truth of a part, and whom a run may not be scored on."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrtool.core.config import SplitConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.numbers import Estimate
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.data.prediction_tables import Predictions, read_predictions
from cxrtool.data.seen import SeenByRun, SeenRows
from cxrtool.evaluation.truth import Known, sample_of_rows
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening, call_chexperts
from tests.support.evaluating import LABELS, evaluate, truth_of


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


def seen_rows(images=0, patients=0):
    return SeenRows(
        patients=["p"] * patients, images=["i"] * images, of_patients=100, of_images=100
    )


@pytest.mark.parametrize(
    ("known", "spoils"),
    [
        ({}, False),
        # A data set holds one picture in a hundred twice: told, and the scores stand.
        ({"itself": seen_rows(images=1)}, False),
        ({"itself": seen_rows(images=2)}, True),
        ({"itself": seen_rows(images=1), "own_split": False}, True),
        ({"itself": seen_rows(patients=1)}, True),
        ({"itself": seen_rows(patients=9, images=9), "by_image": True}, False),
        # Nothing explains what another run has seen.
        ({"before": seen_rows(images=1), "by_image": True}, True),
        ({"before": seen_rows(patients=1)}, True),
    ],
)
def test_only_its_own_split_explains_what_a_run_has_seen(known, spoils):
    seen = {"itself": seen_rows(), "before": seen_rows(), "unchecked": ()}
    seen |= {name: rows for name, rows in known.items() if name in seen}
    usual = {"own_split": True, "by_image": False}
    usual |= {name: value for name, value in known.items() if name in usual}
    assert Known(seen=SeenByRun(**seen), **usual).spoils is spoils
