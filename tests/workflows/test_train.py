import contextlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from cxrtool.core import config as config_module
from cxrtool.core.config import (
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    SplitConfig,
    TrainConfig,
)
from cxrtool.core.errors import DataError, RunError, UsageError, WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.runs import RunFolder
from cxrtool.core.yaml_files import read_yaml
from cxrtool.data.labels import CHEXPERT_LABELS, targets_and_mask
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.data.starts import is_recorded, located_start
from cxrtool.training import augmentation as augmentation
from cxrtool.training import control as control_module
from cxrtool.training import recorder as train_record
from cxrtool.training import sampling as sampling
from cxrtool.training import setup as train_setup
from cxrtool.training.block import XRayBlock
from cxrtool.training.control import TrainingPlan
from cxrtool.training.learner import CXRLearner
from cxrtool.training.losses import AsymmetricLoss, MaskedCrossEntropy
from cxrtool.training.tracking import Tracker
from cxrtool.workflows import train as train_module
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.predict import predict_images
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening, finished_run
from tests.support.blank_curves import draw_blank
from tests.support.smaller import get_smallest

LABELS = list(CHEXPERT_LABELS)
ONCE = replace(TINY, epochs=1)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Dozens of networks are trained here; their size is no matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.get_model", get_smallest)
        yield


@pytest.fixture(scope="module")
def trained_once(small_networks, prepared_once, drawn, tmp_path_factory):
    """A workspace with a finished run `tiny` of such a network, its curves drawn."""
    with finished_run(prepared_once, drawn, tmp_path_factory.mktemp("trained") / "cxr") as trained:
        yield trained


@pytest.fixture(autouse=True)
def no_curves(trained_once, monkeypatch):
    """Of all other runs they are not drawn: that takes longer than such a training."""
    monkeypatch.setattr(train_record, "draw_curves", draw_blank)


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
    kept = (run.weights, run.labels, run.patients, run.pictures)
    guarded = {path.name: sha256(path) for path in kept}
    assert model["sha256"] == guarded
    assert model["manifest_sha256"] == sha256(trained_once.workspace.manifest)
    assert model["split_sha256"] == sha256(trained_once.workspace.split)
    patients = json.loads(run.patients.read_text())
    for part in ("train", "valid"):
        assert len(patients[part]) == len(set(rows_of(trained_once, part)["patient_id"]))
    assert "patient0" not in run.patients.read_text()
    assert json.loads(run.labels.read_text())["labels"] == LABELS


def test_no_pickle_is_written(trained_once):
    suffixes = {path.suffix for path in run_of(trained_once).path.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".csv", ".yaml", ".safetensors", ".png"}


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("bf16", 0.02)])
def test_predict_gives_the_scores_of_trainings_own_validation(trained, precision, close):
    run = run_of(trained)
    if precision == "bf16":
        train_model(replace(ONCE, name="half", precision="bf16"), trained.workspace, seed=1)
        run = RunFolder(trained.workspace.runs / "half")
    rows = rows_of(trained, "valid")
    files = [str(trained.data / path) for path in rows["path"]]
    config = PredictConfig(
        run=[run.name], device="cpu", precision=precision, workers=0, batch_size=5
    )
    table = predict_images(config, files, trained.workspace).table
    own = read_predictions(run.predictions("valid"), LABELS).scores
    assert own.index.tolist() == rows["path"].tolist()
    assert np.abs(table[LABELS].to_numpy() - own.to_numpy()).max() < close


def test_thresholds_maximise_youdens_j_on_valid(trained_once):
    run = run_of(trained_once)
    thresholds = json.loads(run.thresholds.read_text())["thresholds"]
    rows = rows_of(trained_once, "valid")
    scores = read_predictions(run.predictions("valid"), LABELS).scores
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
    original = train_record.RunRecorder.validated

    def spy(self, row, better, logits, network, state):
        weights = {key: value.clone() for key, value in network.state_dict().items()}
        states.append((weights, logits))
        original(self, row, better, logits, network, state)

    means = iter([0.6, 0.8, 0.7])
    monkeypatch.setattr(train_record.RunRecorder, "validated", spy)
    monkeypatch.setattr(control_module, "auroc_per_label", lambda *_: np.full(14, next(means)))
    result = train_model(replace(TINY, epochs=3, name="best"), trained.workspace, seed=42)
    assert (result.epochs, result.best_epoch, result.valid_mean_auroc) == (3, 2, 0.8)
    saved = load_file(result.run.weights)
    best, logits = states[1]
    assert all(torch.equal(saved[key], best[key]) for key in best)
    assert not torch.equal(saved["fc.weight"], states[2][0]["fc.weight"])
    scores = read_predictions(result.run.predictions("valid"), LABELS).scores.to_numpy()
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


def test_training_starts_from_a_weights_file_and_keeps_its_name_and_no_folder(trained, tmp_path):
    torch.manual_seed(5)
    state = get_smallest("resnet18").state_dict()
    file = tmp_path / "of a person" / "w.safetensors"
    file.parent.mkdir()
    save_file(state, file)
    config = replace(ONCE, weights=str(file), name="from-file")
    result = train_model(config, trained.workspace, seed=1)
    kept = f"w.safetensors@sha256:{sha256(file)}"
    assert read_yaml(result.run.config)["weights"] == kept
    told = f"w.safetensors (SHA-256 {sha256(file)})"
    assert json.loads(result.run.model.read_text())["weights_from"] == told
    evaluation = EvaluateConfig(run="from-file", bootstrap=0, workers=0, device="cpu")
    evaluate_run(evaluation, trained.workspace, seed=1)
    assert told in result.run.report("test").read_text()
    written = [path for path in result.run.path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"of a person" in path.read_bytes()]
    # The same file is known again where it lies, and by name in the current folder.
    runs = trained.workspace.runs
    assert is_recorded(kept, str(file), runs)
    with pytest.raises(WeightsError, match=r"Say where it is: --weights PATH/TO/w\.safe"):
        train_model(replace(ONCE, weights=kept, name="again"), trained.workspace, seed=1)
    with contextlib.chdir(file.parent):
        assert file.samefile(located_start(kept, runs))
        again = train_model(replace(ONCE, weights=kept, name="again"), trained.workspace, seed=1)
    assert read_yaml(again.run.config)["weights"] == kept
    written = [path for path in again.run.path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"of a person" in path.read_bytes()]
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
    with pytest.raises(UsageError, match="plain folder name"):
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
    original = train_record.RunRecorder.keep

    def interrupted(self, checkpoint, state):
        original(self, checkpoint, state)
        if state.epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(train_record.RunRecorder, "keep", interrupted)
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


def test_images_that_moved_away_are_told_where_there_is_no_cache(prepared):
    shutil.rmtree(prepared.cache)
    info = json.loads(prepared.data_info.read_text())
    prepared.data_info.write_text(json.dumps({**info, "folder": "/nowhere/at/all"}))
    with pytest.raises(DataError, match=r"no longer at /nowhere/at/all"):
        train_model(ONCE, prepared, seed=1)


def test_the_defaults_are_the_reports():
    """method.md's numbers, written out: sections 4 to 6 of the report."""
    told = vars(TrainConfig().resolved())
    report = {
        "arch": "densenet121",
        "weights": "imagenet",
        "epochs": 10,
        "batch_size": 32,
        "image_size": 224,
        "lr": 1e-3,
        "weight_decay": 1e-2,
        "freeze_epochs": 3,
        "unfreeze": "top",
        "plateau_patience": 2,
        "patience": 5,
        "drop_rate": 0.0,
        "sampling": "weighted",
        "uncertainty": "ones",
    }
    assert {name: told[name] for name in report} == report
    assert (config_module.UNFREEZE_FACTOR, config_module.PLATEAU_FACTOR) == (0.1, 0.1)
    assert config_module.LEAST_RATE == 1e-6
    limits = (augmentation.SCALE, augmentation.DEGREES, augmentation.SHEAR_PIXELS)
    assert (*limits, augmentation.TRANSLATION) == (0.05, 20, 5, 0.05)


@pytest.fixture
def arrived(monkeypatch):
    """What `train` hands on to each part of the training."""
    seen = {}

    def spy(module, name):
        original = getattr(module, name)

        def call(*arguments, **options):
            seen[name] = {**options, "arguments": arguments}
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    for name in ("block_of", "make_learner", "make_loss", "build_network"):
        spy(train_setup, name)
    spy(XRayBlock, "dataloaders")
    for name in ("Control", "run_phases", "WeightAverage"):
        spy(train_module, name)
    return seen


def test_every_option_arrives_where_it_acts(prepared, arrived):
    config = replace(
        TINY,
        arch="densenet121",
        drop_rate=0.25,
        epochs=2,
        freeze_epochs=1,
        unfreeze="top",
        lr=3e-3,
        body_lr=2e-3,
        weight_decay=4e-2,
        schedule="cosine",
        warmup=0.5,
        plateau_patience=1,
        patience=4,
        validations=2,
        ema=0.9,
        loss="asymmetric",
        limit=20,
        batch_size=7,
        checkpoint_every=3.0,
        compile=False,
    )
    train_model(config, prepared, seed=3)
    block, loading, learner = (
        arrived[name] for name in ("block_of", "dataloaders", "make_learner")
    )
    assert (block["arguments"][1], block["seed"], loading["bs"]) == (32, 3, 7)
    assert (learner["lr"], learner["body_lr"], learner["weight_decay"]) == (3e-3, 2e-3, 4e-2)
    assert learner["precision"] == "fp32"
    assert isinstance(learner["loss"], AsymmetricLoss)
    assert arrived["WeightAverage"]["arguments"][1] == 0.9
    assert arrived["Control"]["arguments"][1] == TrainingPlan(
        epochs=2,
        freeze_epochs=1,
        unfreeze="top",
        validations=2,
        patience=4,
        schedule="cosine",
        warmup=0.5,
        plateau_patience=1,
        checkpoint_every=180.0,
    )
    assert arrived["run_phases"]["compiled"] is False
    network = arrived["build_network"]
    assert (network["arguments"], network["drop_rate"]) == (("densenet121", 14), 0.25)
    targets = block["arguments"][0].targets(valid=False)
    weights = sampling.sample_weights(targets, ~np.isnan(targets))
    np.testing.assert_allclose(loading["sampling"], weights)


def test_uniform_sampling_arrives_too(prepared, arrived):
    train_model(replace(ONCE, sampling="uniform", limit=20, batch_size=10), prepared, seed=3)
    assert arrived["dataloaders"]["sampling"] == "uniform"


def test_no_path_goes_to_weights_and_biases(prepared, tmp_path, monkeypatch):
    given = {}

    @contextmanager
    def listen(mode, name, config, folder, reporter, identity):
        given.update(mode=mode, config=config)
        yield Tracker(None, reporter)

    monkeypatch.setattr(train_module, "track", listen)
    path = tmp_path / "patient_smith.pth"
    torch.save(get_smallest("resnet18").state_dict(), path)
    config = replace(ONCE, weights=str(path), wandb="offline", limit=20, batch_size=10)
    train_model(config, prepared, seed=1)
    assert given["mode"] == "offline"
    assert given["config"]["weights"] == "file"
    assert str(tmp_path) not in json.dumps(given["config"])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_broke_since_prepare_ends_training_with_advice(
    prepared, drawn, tmp_path, workers
):
    shutil.rmtree(prepared.cache)
    data = shutil.copytree(drawn.folder, tmp_path / "data")
    info = json.loads(prepared.data_info.read_text())
    prepared.data_info.write_text(json.dumps({**info, "folder": str(data)}))
    split = pd.read_csv(prepared.split)
    victim = split["path"][split["split"] == "valid"].iloc[0]
    (data / victim).write_bytes(b"broken")
    with pytest.raises(
        DataError, match=r"^\S*view1_frontal\.jpg: not a JPEG.*cxrtool prepare"
    ) as told:
        train_model(replace(ONCE, workers=workers), prepared, seed=1)
    assert "Traceback" not in str(told.value)
    assert list(prepared.runs.iterdir()) == []


def test_a_batch_of_one_is_refused(prepared):
    with pytest.raises(UsageError, match="needs two images"):
        train_model(replace(ONCE, batch_size=1), prepared, seed=1)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("data.json", '"folder"', '"fodler"'),
        ("data.json", "{", "["),
        ("manifest.csv", ",train,", ",mine,"),
        ("pixels.csv", ".jpg,", ".jpg,0"),
        ("pixels.csv", ".jpg,", ".jpg,x"),
    ],
)
def test_an_altered_file_of_the_workspace_is_named(prepared, name, old, new):
    path = prepared.folder / name
    text = path.read_text().replace(old, new) if name != "pixels.csv" else None
    if text is None:
        frame = pd.read_csv(path, dtype=str).assign(width="0" if "0" in new else "x")
        text = frame.to_csv(index=False)
    path.write_text(text)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        train_model(ONCE, prepared, seed=1)


def test_a_cache_changes_nothing_but_the_speed(prepared):
    """Where it has the network's own size."""
    first = train_model(replace(ONCE, name="cached"), prepared, seed=1)
    shutil.rmtree(prepared.cache)
    second = train_model(replace(ONCE, name="files"), prepared, seed=1)
    assert sha256(first.run.weights) == sha256(second.run.weights)


def test_what_was_read_from_a_larger_cache_is_predicted_the_same_way(prepared, drawn):
    """Prediction squishes an image as its cache did, first to the one side, then to the other."""
    data = PrepareConfig(data=drawn.folder, workers=0, cache_size=48)
    prepare_manifest(data, prepared)
    run = train_model(ONCE, prepared, seed=1).run
    assert json.loads(run.model.read_text())["squish"] == [48, 32]
    kept = read_predictions(run.predictions("valid"), CHEXPERT_LABELS).scores
    files = [str(drawn.folder / path) for path in kept.index]
    scored = predict_images(PredictConfig(run=[str(run.path)], precision="fp32"), files, prepared)
    np.testing.assert_allclose(
        scored.table[list(CHEXPERT_LABELS)].to_numpy(float), kept.to_numpy(), atol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: (w.cache / "cache.json").unlink(), "not a complete cache"),
        (lambda w: w.pixels.write_text(w.pixels.read_text() + "a/b.jpg,9,9,L,1,1,1,1\n"), "older"),
    ],
)
def test_a_cache_that_cannot_be_used_is_told_and_the_files_are_read(prepared, change, told):
    change(prepared)
    listening = Listening()
    train_model(ONCE, prepared, seed=1, reporter=listening)
    assert [text for text in listening.warnings if told in text]


def test_a_cache_smaller_than_the_network_is_told(prepared):
    listening = Listening()
    train_model(replace(ONCE, image_size=40), prepared, seed=1, reporter=listening)
    assert any("--cache-size 46" in text for text in listening.warnings)


def test_with_a_cache_the_image_files_are_not_needed(prepared):
    info = json.loads(prepared.data_info.read_text())
    prepared.data_info.write_text(json.dumps({**info, "folder": "/nowhere/at/all"}))
    assert train_model(ONCE, prepared, seed=1).epochs == 1


def test_images_that_were_not_decoded_cannot_be_trained_on(prepared):
    prepared.pixels.unlink()
    with pytest.raises(DataError, match="--check-images full"):
        train_model(ONCE, prepared, seed=1)


def test_a_fold_is_what_a_run_is_chosen_on(prepared):
    split_manifest(SplitConfig(sizes="60,20,20", folds=3, force=True), prepared, seed=42)
    run = train_model(replace(ONCE, fold=1), prepared, seed=1).run
    assert run.name.endswith("-fold1")
    manifest = read_manifest(prepared.manifest)
    parts = read_split(prepared.split, manifest, 1)
    valid = manifest["path"][parts == "valid"].tolist()
    assert (
        read_predictions(run.predictions("valid"), CHEXPERT_LABELS).scores.index.tolist() == valid
    )
    scored = evaluate_run(EvaluateConfig(split="valid", bootstrap=0), prepared, seed=1)
    assert scored.n == len(valid)


def test_patients_in_two_parts_are_warned_of(prepared):
    listening = Listening()
    split = pd.read_csv(prepared.split)
    split_manifest(SplitConfig(by="image", sizes="60,20,20", force=True), prepared, seed=1)
    train_model(ONCE, prepared, seed=1, reporter=listening)
    assert any("patients are in more than one part" in text for text in listening.warnings)
    split.to_csv(prepared.split, index=False)
    again = Listening()
    train_model(ONCE, prepared, seed=1, reporter=again)
    assert not any("more than one part" in text for text in again.warnings)


@pytest.mark.parametrize(("workers", "expected"), [(None, 0), (1, 1)])
def test_on_a_cpu_a_cache_needs_no_processes(prepared, workers, expected):
    run = train_model(replace(ONCE, workers=workers), prepared, seed=1).run
    assert json.loads(run.environment.read_text())["workers"] == expected


def test_a_subset_of_the_labels_is_trained_in_the_manifests_order(trained):
    config = replace(ONCE, labels="Pleural Effusion, Edema", name="two")
    run = train_model(config, trained.workspace, seed=1).run
    assert json.loads(run.labels.read_text())["labels"] == ["Edema", "Pleural Effusion"]
    assert load_file(run.weights)["fc.weight"].shape[0] == 2
    scores = read_predictions(run.predictions("valid"), ["Edema", "Pleural Effusion"]).scores
    assert list(scores.columns) == ["Edema", "Pleural Effusion"]
    result = evaluate_run(EvaluateConfig(run="two", bootstrap=0), trained.workspace, seed=1)
    assert set(result.labels) == {"Edema", "Pleural Effusion"}


@pytest.mark.parametrize(
    ("labels", "told"), [("Edemma", "did you mean Edema"), (" , ", "names none")]
)
def test_labels_that_do_not_exist_are_refused(prepared, labels, told):
    with pytest.raises(UsageError, match=told):
        train_model(replace(ONCE, labels=labels), prepared, seed=1)


def with_labels(workspace, change):
    """Change the raw label values of the manifest's training rows."""
    frame = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    split = pd.read_csv(workspace.split, dtype=str).set_index("path")["split"]
    rows = frame["path"].map(split).eq("train").to_numpy()
    cells = frame.loc[rows, LABELS].to_numpy(dtype=object)
    frame.loc[rows, LABELS] = change(cells)
    frame.to_csv(workspace.manifest, index=False)


@pytest.mark.parametrize(("policy", "blank"), [("ignore", "zeros"), ("ones", "ignore")])
def test_a_masked_label_of_a_sample_moves_no_weight(prepared, monkeypatch, policy, blank):
    masked, counted = [], []
    original = MaskedCrossEntropy.forward

    def watch(self, logits, targets):
        if logits.requires_grad:
            hidden = torch.isnan(targets)
            logits.register_hook(lambda gradient: masked.append(gradient[hidden].abs()))
            logits.register_hook(lambda gradient: counted.append(gradient[~hidden].abs()))
        return original(self, logits, targets)

    monkeypatch.setattr(MaskedCrossEntropy, "forward", watch)
    train_model(replace(ONCE, uncertainty=policy, blank=blank), prepared, seed=1)
    assert torch.cat(masked).numel() >= 5
    assert not torch.cat(masked).any()
    assert torch.cat(counted).all()


def test_smoothed_targets_are_drawn_anew_for_each_sample(prepared, monkeypatch):
    with_labels(prepared, lambda cells: np.full_like(cells, "-1"))
    seen = []
    original = MaskedCrossEntropy.forward

    def watch(self, logits, targets):
        if logits.requires_grad:
            seen.append(targets.clone())
        return original(self, logits, targets)

    monkeypatch.setattr(MaskedCrossEntropy, "forward", watch)
    for policy, low, high in (("smooth", 0.55, 0.85), ("smooth-zeros", 0.0, 0.3)):
        seen.clear()
        train_model(replace(TINY, uncertainty=policy, name=policy), prepared, seed=1)
        drawn = torch.cat(seen).flatten()
        assert low <= drawn.min() < low + 0.02
        assert high - 0.02 < drawn.max() <= high
        assert drawn.unique().numel() > 0.95 * drawn.numel()


@pytest.mark.parametrize(
    ("size", "told"), [(16, "try --batch-size 8"), (2, "try a smaller --image-size")]
)
def test_memory_that_runs_out_is_told_with_a_batch_size_to_try(prepared, monkeypatch, size, told):
    def no_room(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(CXRLearner, "_backward", no_room)
    with pytest.raises(RunError, match=rf"ran out of memory at --batch-size {size} .*{told}"):
        train_model(replace(ONCE, batch_size=size), prepared, seed=1)
    assert list(prepared.runs.iterdir()) == []


def test_a_loss_that_is_no_number_names_the_batch(prepared):
    with pytest.raises(RunError, match=r"no longer finite in epoch 1, batch \d.*\.jpg"):
        train_model(replace(ONCE, lr=100, weight_decay=100), prepared, seed=1)


def test_rare_findings_are_not_to_be_counted_twice(prepared):
    listening = Listening()
    config = replace(ONCE, pos_weight="balanced")
    train_model(config, prepared, seed=1, reporter=listening)
    assert any("counts rare findings twice" in warning for warning in listening.warnings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"validations": 99}, "--validations 99: an epoch has 5 batches"),
        ({"schedule": "one-cycle", "warmup": 1.0}, "has a warm-up of its own"),
        ({"pos_weight": "much"}, "not none, balanced or a number"),
        ({"loss": "auc", "pos_weight": "balanced"}, "--pos-weight belongs to --loss bce"),
        ({"uncertainty": "ones,Edemma=zeros"}, "did you mean Edema"),
    ],
)
def test_options_that_cannot_be_are_refused(prepared, change, told):
    with pytest.raises(UsageError, match=told):
        train_model(replace(ONCE, **change), prepared, seed=1)
    assert not prepared.runs.exists() or not list(prepared.runs.iterdir())


@pytest.mark.parametrize("loss", ["asymmetric", "auc"])
def test_other_losses_train(prepared, loss):
    result = train_model(replace(TINY, loss=loss, name=loss), prepared, seed=1)
    assert np.isfinite(pd.read_csv(result.run.history)["train_loss"]).all()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_is_the_same_network(prepared):
    # With its backward pass the compiler takes a minute; another test traces both, uncompiled. Of a
    # whole ResNet the forward passes alone take as long.
    config = replace(ONCE, arch="resnet34", limit=16, batch_size=8, freeze_epochs=1)
    plain = train_model(replace(config, name="plain"), prepared, seed=1).run
    made = train_model(replace(config, name="made", compile=True), prepared, seed=1).run
    one, two = load_file(plain.weights), load_file(made.weights)
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=0.05, atol=0.01)
