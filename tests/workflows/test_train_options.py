import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.manifest import read_manifest, read_split
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.training import dataloaders as dataloaders
from cxrtool.training import sampling as sampling
from cxrtool.training.choices import resolve
from cxrtool.training.data import read_training_data
from cxrtool.training.learner import CXRLearner
from cxrtool.training.losses import MaskedCrossEntropy
from cxrtool.training.setup import set_up
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.copies import copy_folder
from tests.support.smaller import get_smaller

LABELS = list(CHEXPERT_LABELS)
ONCE = replace(TINY, epochs=1, batch_size=8, limit=32)


def rows_of(workspace, *parts):
    manifest = read_manifest(workspace.manifest)
    split = read_split(workspace.split, manifest)
    return manifest[split.isin(parts)].assign(part=split[split.isin(parts)])


def write_cells(workspace, cells):
    """Set raw label cells: {(path, label): text}."""
    frame = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    frame = frame.set_index("path", drop=False)
    for (path, label), text in cells.items():
        frame.loc[path, label] = text
    frame.to_csv(workspace.manifest, index=False)


def set_up_tiny(workspace, seed=1, **changes):
    config, device = resolve(replace(TINY, **changes))
    return set_up(config, device, workspace, seed=seed, reporter=SILENT)


def test_some_labels_are_a_smaller_network_in_the_manifests_order(trained):
    """At a learning rate of 0 the last layer keeps the rows that it took from the run."""
    config = replace(ONCE, labels="Fracture, Edema", weights="tiny", lr=0.0, weight_decay=0.0)
    run = train_model(replace(config, name="two"), trained.workspace, seed=1).run
    two = ["Edema", "Fracture"]
    assert json.loads(run.labels.read_text())["labels"] == two
    assert list(json.loads(run.thresholds.read_text())["thresholds"]) == two
    table = pd.read_csv(run.predictions("valid"))
    logits = [f"{label}:logit" for label in two]
    assert table.columns.tolist() == ["path", *two, "positive", "warning", "error", *logits]
    history = pd.read_csv(run.history)
    assert [name for name in history.columns if name in LABELS] == two
    head = load_file(run.weights)["fc.weight"]
    whole = load_file(RunFolder(trained.workspace.runs / "tiny").weights)["fc.weight"]
    assert torch.equal(head, whole[[LABELS.index(label) for label in two]])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("Edma", "did you mean Edema"),
        ("is_valid", "not known"),
        ("edema", "did you mean Edema"),
        (" , ", "names none"),
        ("", "names none"),
    ],
)
def test_labels_that_are_none_are_refused(prepared_once, asked, told):
    with pytest.raises(UsageError, match=told):
        read_training_data(replace(ONCE, labels=asked), prepared_once, 1, SILENT)


def test_only_labels_can_have_a_policy(prepared_once):
    config = replace(ONCE, uncertainty="ones,Edma=zeros")
    with pytest.raises(UsageError, match="did you mean Edema") as told:
        read_training_data(config, prepared_once, 1, SILENT)
    names = str(told.value).partition("there are ")[2].split(", ")
    assert names == LABELS


def test_no_finding_is_what_all_labels_make_of_it_in_train_and_in_valid(prepared):
    """Under zeros: no label positive, and not itself an explicit 0; also trained on alone."""
    for part in ("train", "valid"):
        some = rows_of(prepared, part)["path"].iloc[:4].tolist()
        write_cells(prepared, {(path, label): "" for path in some for label in LABELS})
        write_cells(prepared, {(some[1], "Fracture"): "1", (some[2], "Edema"): "-1"})
        write_cells(prepared, {(some[3], NO_FINDING): "0"})
    config = replace(TINY, uncertainty="zeros")
    whole = read_training_data(config, prepared, 1, SILENT)
    alone = read_training_data(replace(config, labels=NO_FINDING), prepared, 1, SILENT)
    for valid, part in ((False, "train"), (True, "valid")):
        raw = rows_of(prepared, part)[LABELS]
        expected = (raw == 1).sum(axis=1).eq(0) & raw[NO_FINDING].ne(0) | raw[NO_FINDING].eq(1)
        assert expected.iloc[:4].tolist() == [True, False, True, False]
        targets = whole.targets(valid=valid)[:, LABELS.index(NO_FINDING)]
        np.testing.assert_array_equal(targets, expected.to_numpy(np.float32))
        np.testing.assert_array_equal(alone.targets(valid=valid)[:, 0], targets)


@pytest.fixture
def masked_cells(prepared):
    """Cells of training rows that are uncertain, and of rows that say nothing."""
    rows = rows_of(prepared, "train")
    labels = [label for label in LABELS if label != NO_FINDING]
    for path, label in zip(rows["path"].iloc[:6], labels[:6], strict=True):
        write_cells(prepared, {(path, label): "-1"})
    return list(zip(rows["path"].iloc[:6], labels[:6], strict=True))


@pytest.mark.parametrize("label", [None, "Edema"])
def test_what_is_masked_changes_nothing_in_training(prepared, masked_cells, tmp_path, label):
    """Uncertain or not mentioned: under ignore and blank ignore the weights are the same."""
    policy = {"uncertainty": "ignore" if label is None else f"zeros,{label}=ignore"}
    cells = [cell for cell in masked_cells if label is None or cell[1] == label]
    assert cells
    config = replace(TINY, epochs=1, batch_size=40, blank="ignore", **policy)
    weights = {}
    for name, text in (("uncertain", "-1"), ("blank", ""), ("positive", "1")):
        folder = copy_folder(prepared.folder, tmp_path / name)
        write_cells(Workspace(folder), dict.fromkeys(cells, text))
        run = train_model(config, Workspace(folder), seed=1).run
        weights[name] = sha256(run.weights)
    assert weights["uncertain"] == weights["blank"]
    assert weights["positive"] != weights["blank"]


def test_blank_counts_as_negative_unless_it_is_ignored(prepared_once):
    raw = rows_of(prepared_once, "train")[LABELS].to_numpy(float)
    data = {
        blank: read_training_data(replace(TINY, blank=blank), prepared_once, 1, SILENT)
        for blank in ("zeros", "ignore")
    }
    silent = np.isnan(raw)
    assert 0 < silent.mean() < 1
    assert (data["zeros"].targets(valid=False)[silent] == 0).all()
    np.testing.assert_array_equal(np.isnan(data["ignore"].targets(valid=False)), silent)
    said = ~silent
    for targets in (data["zeros"].targets(valid=False), data["ignore"].targets(valid=False)):
        np.testing.assert_array_equal(targets[said], np.abs(raw[said]))


def drawn_targets(setup):
    """An epoch's targets as the network sees them, in the order of the training rows."""
    loader = setup.learner.dls.train
    loader.begin_epoch()
    order = np.concatenate([np.array(batch) for batch in loader.batches])
    targets = torch.cat([batch[1].as_subclass(torch.Tensor) for batch in loader])
    assert sorted(order) == list(range(len(setup.data.part(valid=False))))
    return targets[np.argsort(order)].numpy()


def test_each_policy_reaches_the_network(prepared, masked_cells):
    policy = "ones,Cardiomegaly=smooth,Lung Opacity=smooth-zeros,Lung Lesion=ignore,Edema=zeros"
    limits = {
        "Cardiomegaly": (0.55, 0.85),
        "Lung Opacity": (0.0, 0.3),
        "Lung Lesion": (np.nan, np.nan),
        "Edema": (0, 0),
        "Enlarged Cardiomediastinum": (1, 1),
    }
    setup = set_up_tiny(prepared, uncertainty=policy, sampling="uniform", batch_size=17)
    setup.learner.dls.train.drop_last = False
    first, second = drawn_targets(setup), drawn_targets(setup)
    rows = rows_of(prepared, "train")[LABELS]
    assert len(first) == len(rows)
    for label, (low, high) in limits.items():
        column = LABELS.index(label)
        uncertain = rows[label].eq(-1).to_numpy()
        assert uncertain.any(), label
        for targets in (first, second):
            cells = targets[uncertain, column]
            inside = np.isnan(cells) if np.isnan(low) else (cells >= low) & (cells <= high)
            assert inside.all(), label
        fixed = low == high or np.isnan(low)
        same = np.array_equal(first[uncertain, column], second[uncertain, column], equal_nan=True)
        assert same == fixed, label
        said = rows[label].fillna(0).to_numpy()[~uncertain]
        np.testing.assert_array_equal(first[~uncertain, column], said)


def test_smooth_counts_as_positive_in_sampling_and_smooth_zeros_does_not(prepared, masked_cells):
    weights = {
        policy: set_up_tiny(prepared, uncertainty=policy).learner.dls.train.weights
        for policy in ("ones", "smooth", "zeros", "smooth-zeros", "ignore")
    }
    np.testing.assert_array_equal(weights["smooth"], weights["ones"])
    np.testing.assert_array_equal(weights["smooth-zeros"], weights["ignore"])
    assert not np.array_equal(weights["smooth"], weights["smooth-zeros"])
    targets = set_up_tiny(prepared, uncertainty="ignore").data.targets(valid=False)
    own = sampling.sample_weights(targets, ~np.isnan(targets))
    np.testing.assert_allclose(weights["ignore"], own / own.sum())


@pytest.mark.parametrize("policy", ["ignore", "smooth"])
def test_masked_cells_are_left_out_of_the_valid_scores(prepared, policy):
    rows = rows_of(prepared, "valid")
    doubtful = rows["path"].iloc[::3].tolist()
    write_cells(prepared, {(path, "Edema"): "-1" for path in doubtful})
    write_cells(prepared, {(rows["path"].iloc[1], "Edema"): "1"})
    config = replace(TINY, epochs=1, uncertainty=policy)
    run = train_model(config, prepared, seed=1).run
    read = read_predictions(run.predictions("valid"), LABELS)
    scores = read.scores["Edema"].to_numpy(float)[:, None]
    raw = rows_of(prepared, "valid")["Edema"].to_numpy(float)[:, None]
    assert (raw == -1).sum() == len(doubtful)
    told = pd.read_csv(run.history)["Edema"].iloc[0]
    assert told == pytest.approx(auroc_per_label(raw == 1, scores, raw != -1)[0])
    as_ones = auroc_per_label(np.abs(raw) == 1, scores, np.full(raw.shape, True))[0]
    assert told != pytest.approx(as_ones)


class Hearing(Listening):
    """Keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pos_weight": "balanced"}, "counts rare findings twice"),
        ({"pos_weight": "2"}, "counts rare findings twice"),
        ({"pos_weight": "balanced", "sampling": "uniform"}, None),
        ({"schedule": "cosine", "warmup": 1.0}, "never reach --lr"),
        ({"schedule": "cosine", "warmup": 0.5}, None),
        ({"loss": "auc"}, "--loss auc never takes over"),
        ({"loss": "auc", "auc_after": 0}, None),
        ({"unfreeze": "top"}, "the body keeps its random weights"),
        ({"blank": "ignore"}, r"no negative training image and cannot be learned: No Finding"),
    ],
)
def test_what_is_unusual_is_warned_of(prepared_once, monkeypatch, tmp_path, changes, told):
    workspace = Workspace(tmp_path / "cxr")
    copy_folder(prepared_once.folder, workspace.folder)
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(replace(TINY, epochs=1, **changes), workspace, seed=1, reporter=hearing)
    assert [text for text in hearing.warnings if told and told in text] or not told
    assert told or not hearing.warnings, hearing.warnings


def stop(*_, **__):
    raise RunError("enough")


def test_a_label_without_positives_is_warned_of(prepared, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    paths = rows_of(prepared, "train")["path"]
    write_cells(prepared, {(path, "Fracture"): "" for path in paths})
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(ONCE, prepared, seed=1, reporter=hearing)
    told = [text for text in hearing.warnings if "no positive training image" in text]
    assert len(told) == 1
    assert "Fracture" in told[0]


def test_a_frozen_training_is_told(prepared, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(replace(ONCE, freeze_epochs=1), prepared, seed=1, reporter=hearing)
    assert any("the last layer alone is trained" in text for text in hearing.notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pos_weight": "many"}, "none, balanced or a number"),
        ({"pos_weight": "0"}, "none, balanced or a number"),
        ({"pos_weight": "inf"}, "none, balanced or a number"),
        ({"pos_weight": "nan"}, "none, balanced or a number"),
        ({"pos_weight": "2", "loss": "asymmetric"}, "belongs to --loss bce"),
        ({"schedule": "one-cycle", "warmup": 1.0}, "pass --warmup 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        resolve(replace(TINY, **changes))


def test_too_many_validations_and_too_large_a_batch_name_the_most(prepared_once):
    with pytest.raises(UsageError, match="an epoch has 4 batches"):
        set_up_tiny(prepared_once, limit=32, batch_size=8, validations=5)
    assert set_up_tiny(prepared_once, limit=32, batch_size=8, validations=4)
    with pytest.raises(UsageError, match="--batch-size 32 is the largest possible"):
        set_up_tiny(prepared_once, limit=32, batch_size=33)


def test_why_nothing_in_valid_can_be_scored_is_told(prepared):
    paths = rows_of(prepared, "valid")["path"]
    write_cells(prepared, {(path, "Fracture"): "" for path in paths})
    with pytest.raises(DataError, match=r"of --labels .*--limit 20 leaves \d+ .*larger --limit"):
        set_up_tiny(prepared, limit=20, labels="Fracture")
    with pytest.raises(DataError, match=r"of --labels .*`cxrtool split"):
        set_up_tiny(prepared, labels="Fracture")


@pytest.mark.parametrize(("size", "told"), [(8, "try --batch-size 4 "), (2, "--image-size")])
def test_too_little_memory_names_what_to_try(prepared, monkeypatch, size, told):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(CXRLearner, "_backward", full)
    with pytest.raises(RunError, match=f"out of memory at --batch-size {size} .*{told}"):
        train_model(replace(ONCE, batch_size=size), prepared, seed=1)
    assert list(prepared.runs.iterdir()) == []


def test_a_loss_that_is_no_number_names_the_batch_and_its_images(prepared, monkeypatch):
    batches, original = [], dataloaders.SampledLoader.begin_epoch

    def begin(self, *arguments):
        original(self, *arguments)
        batches.append([[self.paths[row] for row in batch] for batch in self.batches])

    calls = iter(range(100))
    monkeypatch.setattr(dataloaders.SampledLoader, "begin_epoch", begin)
    monkeypatch.setattr(
        MaskedCrossEntropy,
        "forward",
        lambda _, logits, targets: logits.float().mean() * (np.nan if next(calls) == 2 else 1),
    )
    with pytest.raises(RunError, match="epoch 1, batch 3, whose images are") as told:
        train_model(ONCE, prepared, seed=1)
    assert all(path in str(told.value) for path in batches[0][2])
    others = {path for batch in batches[0] for path in batch} - set(batches[0][2])
    assert not any(path in str(told.value) for path in others)


@pytest.mark.slow
def test_compiled_is_trained_as_uncompiled_is(prepared, monkeypatch):
    """Through torch's tracing, both phases and a run that goes on; without the C++ compiler."""
    compiled, original = [], nn.Module.compile

    def compile_quickly(self):
        compiled.append(self)
        original(self, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_quickly)
    monkeypatch.setattr("torchvision.models.get_model", get_smaller)
    config = replace(ONCE, arch="resnet34", sampling="uniform", limit=16, epochs=2)
    config = replace(config, freeze_epochs=1, keep_checkpoint=True)
    plain = train_model(replace(config, epochs=3, name="plain"), prepared, seed=1).run
    assert not compiled
    traced = train_model(replace(config, compile=True, name="traced"), prepared, seed=1).run
    assert len(compiled) == 2
    going_on = replace(config, resume="traced", epochs=3)
    train_model(going_on, prepared, seed=1, given={"epochs", "resume"})
    assert len(compiled) == 3
    histories = [pd.read_csv(run.history)["train_loss"] for run in (plain, traced)]
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-3)
    states = [load_file(run.weights) for run in (plain, traced)]
    assert set(states[0]) == set(states[1])
    assert not any("_orig_mod" in key for key in states[1])
