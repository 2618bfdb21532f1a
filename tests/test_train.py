import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY
from safetensors.torch import load_file, save_file
from torchvision import models

from cxrtool import learner as learner_module
from cxrtool.config import PredictConfig
from cxrtool.errors import DataError, RunError, UsageError, WeightsError
from cxrtool.files import sha256
from cxrtool.labels import CHEXPERT_LABELS, targets_and_mask
from cxrtool.manifest import read_manifest, read_split
from cxrtool.predictions import read_scores
from cxrtool.runs import RunFolder
from cxrtool.workflows import train_record
from cxrtool.workflows.predict import predict_images
from cxrtool.workflows.train import train_model

LABELS = list(CHEXPERT_LABELS)
ONCE = replace(TINY, epochs=1)


def run_of(trained):
    return RunFolder(trained.workspace.runs / trained.run)


def rows_of(trained, part):
    manifest = read_manifest(trained.workspace.manifest)
    return manifest[read_split(trained.workspace.split, manifest) == part]


def test_a_run_holds_what_the_contract_names(trained_once):
    run = run_of(trained_once)
    for path in (
        run.config,
        run.environment,
        run.labels,
        run.history,
        run.weights,
        run.model,
        run.thresholds,
        run.patients,
        run.predictions("valid"),
    ):
        assert path.is_file(), path
    for path in run.path.glob("*.json"):
        assert json.loads(path.read_text())["format"] == 1
    model = json.loads(run.model.read_text())
    assert model["weights_sha256"] == sha256(run.weights)
    assert model["manifest_sha256"] == sha256(trained_once.workspace.manifest)
    assert model["split_sha256"] == sha256(trained_once.workspace.split)
    patients = json.loads(run.patients.read_text())["train"]
    assert patients == sorted(set(rows_of(trained_once, "train")["patient_id"]))
    assert json.loads(run.labels.read_text())["labels"] == LABELS


def test_no_pickle_is_written(trained_once):
    suffixes = {path.suffix for path in run_of(trained_once).path.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".csv", ".yaml", ".safetensors"}


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("bf16", 0.02)])
def test_predict_gives_the_scores_of_trainings_own_validation(trained, precision, close):
    run = run_of(trained)
    if precision == "bf16":
        train_model(replace(ONCE, name="half", precision="bf16"), trained.workspace, seed=1)
        run = RunFolder(trained.workspace.runs / "half")
    rows = rows_of(trained, "valid")
    files = [str(trained.data / path) for path in rows["path"]]
    config = PredictConfig(run=run.name, device="cpu", precision=precision, workers=0, batch_size=5)
    table = predict_images(config, files, trained.workspace).table
    own = read_scores(run.predictions("valid"), LABELS)
    assert own.index.tolist() == rows["path"].tolist()
    assert np.abs(table[LABELS].to_numpy() - own.to_numpy()).max() < close


def test_thresholds_maximise_youdens_j_on_valid(trained_once):
    run = run_of(trained_once)
    thresholds = json.loads(run.thresholds.read_text())["thresholds"]
    rows = rows_of(trained_once, "valid")
    scores = read_scores(run.predictions("valid"), LABELS)
    targets, _ = targets_and_mask(rows[LABELS].to_numpy(dtype=float), LABELS, "ones")
    defined = 0
    for column, label in enumerate(LABELS):
        truth, score = targets[:, column] == 1, scores[label].to_numpy(dtype=float)
        if truth.all() or not truth.any():
            assert thresholds[label] is None
            continue
        defined += 1

        def youden(t, truth=truth, score=score):
            return (score[truth] >= t).mean() - (score[~truth] >= t).mean()

        best = max(youden(t) for t in score)
        assert youden(thresholds[label]) == pytest.approx(best)
    assert defined > 5


def test_the_test_part_is_never_read(trained, tmp_path):
    """With the test images gone and their labels turned round, the run is the same."""
    data = shutil.copytree(trained.data, tmp_path / "data")
    info = json.loads(trained.workspace.data_info.read_text())
    trained.workspace.data_info.write_text(json.dumps({**info, "folder": str(data)}))
    manifest = pd.read_csv(trained.workspace.manifest, dtype=str, keep_default_na=False)
    test = rows_of(trained, "test")["path"].tolist()
    turned = manifest["path"].isin(test)
    assert turned.sum() > 5
    manifest.loc[turned, LABELS] = manifest.loc[turned, LABELS].replace({"1": "0", "": "1"})
    manifest.to_csv(trained.workspace.manifest, index=False)
    for path in test:
        (data / path).unlink()
    train_model(replace(TINY, name="blind"), trained.workspace, seed=42)
    blind, seeing = RunFolder(trained.workspace.runs / "blind"), run_of(trained)
    assert blind.thresholds.read_bytes() == seeing.thresholds.read_bytes()
    assert sha256(blind.weights) == sha256(seeing.weights)


def test_the_same_seed_gives_the_same_weights_and_another_others(trained):
    """`blind` above is the same seed's second run; here another seed and other workers."""
    train_model(replace(TINY, name="other"), trained.workspace, seed=43)
    train_model(replace(TINY, name="workers", workers=2), trained.workspace, seed=42)
    runs = trained.workspace.runs
    first = sha256(run_of(trained).weights)
    assert sha256(RunFolder(runs / "workers").weights) == first
    assert sha256(RunFolder(runs / "other").weights) != first


def test_the_best_epochs_weights_and_scores_are_kept(trained, monkeypatch):
    states = []
    original = train_record.RunRecorder.end_epoch

    def spy(self, row, better, logits):
        state = {key: value.clone() for key, value in self.network.state_dict().items()}
        states.append((state, logits))
        original(self, row, better, logits)

    means = iter([0.6, 0.8, 0.7])
    monkeypatch.setattr(train_record.RunRecorder, "end_epoch", spy)
    monkeypatch.setattr(learner_module, "auroc_per_label", lambda *_: np.full(14, next(means)))
    result = train_model(replace(TINY, epochs=3, name="best"), trained.workspace, seed=42)
    assert (result.epochs, result.best_epoch, result.valid_mean_auroc) == (3, 2, 0.8)
    saved = load_file(result.run.weights)
    best, logits = states[1]
    assert all(torch.equal(saved[key], best[key]) for key in best)
    assert not torch.equal(saved["fc.weight"], states[2][0]["fc.weight"])
    scores = read_scores(result.run.predictions("valid"), LABELS).to_numpy()
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_config_yaml_repeats_the_run(trained):
    values = yaml.safe_load(run_of(trained).config.read_text())
    assert values.pop("seed") == 42
    repeated = replace(TINY, name="again", **values)
    train_model(repeated, trained.workspace, seed=42)
    again = RunFolder(trained.workspace.runs / "again")
    assert sha256(again.weights) == sha256(run_of(trained).weights)


def test_the_history_has_a_row_an_epoch(trained_once):
    history = pd.read_csv(run_of(trained_once).history)
    assert history["epoch"].tolist() == [1, 2]
    best = json.loads(run_of(trained_once).model.read_text())
    row = history[history["epoch"] == best["best_epoch"]].iloc[0]
    assert row["valid_mean_auroc"] == pytest.approx(best["valid_mean_auroc"])
    assert history["valid_mean_auroc"].max() == row["valid_mean_auroc"]
    assert set(LABELS) < set(history.columns)


def test_mean_and_deviation_are_those_of_the_training_part(trained_once):
    from PIL import Image

    model = json.loads(run_of(trained_once).model.read_text())
    images = [
        np.asarray(Image.open(trained_once.data / path), dtype=float) / 255
        for path in rows_of(trained_once, "train")["path"]
    ]
    mean = np.mean([image.mean() for image in images])
    assert model["pixel_mean"] == pytest.approx(mean)
    square = np.mean([(image**2).mean() for image in images])
    assert model["pixel_std"] == pytest.approx(np.sqrt(square - mean**2))


def test_with_pretrained_weights_the_report_freezes_and_without_it_does_not():
    pretrained = replace(TINY, weights="imagenet").resolved()
    assert (pretrained.freeze_epochs, pretrained.unfreeze) == (3, "top")
    assert (TINY.resolved().freeze_epochs, TINY.resolved().unfreeze) == (0, "all")
    chosen = replace(TINY, freeze_epochs=2, unfreeze="top").resolved()
    assert (chosen.freeze_epochs, chosen.unfreeze) == (2, "top")


def test_training_starts_from_a_weights_file(trained, tmp_path):
    torch.manual_seed(5)
    state = models.resnet18(weights=None).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    config = replace(ONCE, weights=str(tmp_path / "w.safetensors"), name="from-file")
    result = train_model(config, trained.workspace, seed=1)
    saved = load_file(result.run.weights)
    # One epoch of the head alone: the body is the file's, bit by bit.
    assert all(torch.equal(saved[k], v) for k, v in state.items() if not k.startswith("fc."))


def test_limit_draws_by_seed(trained):
    config = replace(ONCE, limit=20, batch_size=10, name="limited")
    result = train_model(config, trained.workspace, seed=1)
    model = json.loads(result.run.model.read_text())
    assert model["images"]["train"] == 20
    assert model["images"]["valid"] <= 20


def test_names_are_free_or_refused(trained):
    before = sha256(run_of(trained).weights)
    with pytest.raises(DataError, match=r"run tiny exists .*--force"):
        train_model(replace(ONCE, name="tiny"), trained.workspace, seed=1)
    with pytest.raises(DataError, match="plain folder name"):
        train_model(replace(ONCE, name="../out"), trained.workspace, seed=1)
    assert sha256(run_of(trained).weights) == before
    first = train_model(ONCE, trained.workspace, seed=1).run.name
    second = train_model(ONCE, trained.workspace, seed=1).run.name
    assert (first, second) == ("resnet18-ones", "resnet18-ones-2")


def test_a_training_that_fails_before_its_first_epoch_leaves_nothing(trained, monkeypatch):
    def fail(*_, **__):
        raise RunError("broken")

    monkeypatch.setattr("cxrtool.workflows.train.run_phases", fail)
    before = sha256(run_of(trained).weights)
    for config in (replace(ONCE, name="new"), replace(ONCE, name="tiny", force=True)):
        with pytest.raises(RunError, match="broken"):
            train_model(config, trained.workspace, seed=1)
    assert sorted(path.name for path in trained.workspace.runs.iterdir()) == ["tiny"]
    assert sha256(run_of(trained).weights) == before


def test_an_interrupted_training_is_not_a_finished_run(trained, monkeypatch):
    original = train_record.RunRecorder.end_epoch

    def interrupted(self, row, better, logits):
        original(self, row, better, logits)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_record.RunRecorder, "end_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_model(replace(TINY, name="cut"), trained.workspace, seed=1)
    cut = RunFolder(trained.workspace.runs / "cut")
    assert cut.history.is_file()
    assert not cut.finished


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"arch": "resnet19"}, UsageError, "did you mean resnet1"),
        ({"device": "cuda:7"}, UsageError, "no such device"),
        ({"device": "gpu"}, UsageError, "use auto, cpu"),
        ({"drop_rate": 0.2}, UsageError, "no drop rate"),
        ({"batch_size": 5000}, UsageError, "more than the"),
        ({"weights": "gone.pth"}, WeightsError, "no such file"),
    ],
)
def test_what_cannot_be_trained_is_told_and_leaves_nothing(prepared, change, error, told):
    with pytest.raises(error, match=told):
        train_model(replace(ONCE, **change), prepared, seed=1)
    assert not prepared.runs.exists() or not any(prepared.runs.iterdir())


def test_a_valid_part_that_cannot_be_scored_is_refused(prepared):
    manifest = read_manifest(prepared.manifest)
    split = pd.read_csv(prepared.split)
    keep = (split["split"] == "valid").to_numpy()
    frame = pd.read_csv(prepared.manifest, dtype=str, keep_default_na=False)
    frame.loc[keep, LABELS] = ""
    frame.to_csv(prepared.manifest, index=False)
    assert len(manifest) == len(frame)
    with pytest.raises(DataError, match="valid has no label with both"):
        train_model(ONCE, prepared, seed=1)


def test_images_that_moved_away_are_told(prepared):
    info = json.loads(prepared.data_info.read_text())
    prepared.data_info.write_text(json.dumps({**info, "folder": "/nowhere/at/all"}))
    with pytest.raises(DataError, match=r"not at /nowhere/at/all any more"):
        train_model(ONCE, prepared, seed=1)
