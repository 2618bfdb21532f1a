import base64
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.reports.failures import worst_failures
from cxrtool.workflows.evaluate import evaluate_run
from tests.support.copies import copy_folder, own
from tests.support.evaluating import LABELS, evaluate, truth_of


@pytest.fixture(scope="module")
def scored(trained_once, tmp_path_factory):
    """A workspace of this module's own, for the evaluation that `result` is of."""
    folder = tmp_path_factory.mktemp("scored") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    return replace(trained_once, workspace=Workspace(folder))


@pytest.fixture(scope="module")
def result(scored):
    return evaluate(scored)


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
        ("patients.json", '"key": "', '"key": "0'),
        ("patients.json", "a", "b"),
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


def test_a_failures_picture_is_its_image_and_made_only_where_it_is_asked_for(scored, monkeypatch):
    taken = []

    def noted(of, sources):
        taken.append(sources)
        return worst_failures(of, sources)

    monkeypatch.setattr("cxrtool.reports.part_card.worst_failures", noted)
    evaluate(scored, report=True, show_images=True)
    evaluate(scored, report=True)
    assert taken[1].pictures is None
    rows, _ = truth_of(scored, "test")
    for path, patient in zip(rows["path"][:3], rows["patient_id"], strict=False):
        [picture] = taken[0].pictures((patient, path))
        shown = Image.open(io.BytesIO(base64.b64decode(picture.partition("base64,")[2])))
        there = Image.open(scored.data / path).convert("L").resize(shown.size)
        assert np.abs(np.asarray(shown, float) - np.asarray(there)).mean() < 6
    with pytest.raises(DataError, match="--show-images needs it"):
        _of_a_missing_file(taken[0])


def _of_a_missing_file(sources):
    """The picture of a row whose image is gone."""
    sources.pictures.args[1][("nobody", "gone.jpg")] = ["gone.jpg"]
    sources.pictures(("nobody", "gone.jpg"))


def test_images_need_a_page(scored):
    with pytest.raises(UsageError, match="leave --no-report out"):
        evaluate(scored, show_images=True)
