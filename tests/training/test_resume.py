import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import DataError, RunError, StoppedError, UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.training import checkpoints as checkpoints_module
from cxrtool.training import continuation
from cxrtool.training import control as control_module
from cxrtool.training import recorder as train_record
from cxrtool.training.checkpoints import read_checkpoint
from cxrtool.training.tracking import Tracker
from cxrtool.workflows import train as train_module
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Listening
from tests.support.blank_curves import draw_blank
from tests.support.copies import copy_folder, own
from tests.support.smaller import get_smallest

# Everything that has a state: dropout and random depth, weighted sampling, drawn targets, a frozen
# epoch, two validations an epoch, an average of the weights; saved after each batch.
CONFIG = replace(
    TINY,
    arch="efficientnet_b0",
    uncertainty="smooth",
    freeze_epochs=1,
    unfreeze="all",
    validations=2,
    ema=0.9,
    epochs=3,
    plateau_patience=0,
    checkpoint_every=0.0,
    keep_checkpoint=True,
    name="run",
)
TRANSFORMER = replace(CONFIG, arch="timm/test_vit", drop_path=0.3, drop_rate=0.1)
TIMES = ["train_seconds", "seconds", "images_per_second"]


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Trainings here are stopped and gone on with dozens of times; their size is no matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.get_model", get_smallest)
        yield


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """They are not looked at here, and drawing them takes as long as such a training."""
    monkeypatch.setattr(train_record, "draw_curves", draw_blank)


class KilledError(BaseException):
    """Nothing catches it."""


def workspace_in(folder, prepared_once):
    copy_folder(prepared_once.folder, folder / "cxr")
    return Workspace(folder / "cxr")


@pytest.fixture(scope="module")
def alone(prepared_once, tmp_path_factory):
    """The run of a training that nothing disturbed."""
    workspace = workspace_in(tmp_path_factory.mktemp("alone"), prepared_once)
    return train_model(CONFIG, workspace, seed=5).run


@pytest.fixture(scope="module")
def finished_once(prepared_once, tmp_path_factory):
    """A workspace with a run of one epoch, finished."""
    workspace = workspace_in(tmp_path_factory.mktemp("one"), prepared_once)
    train_model(replace(CONFIG, epochs=1), workspace, seed=5)
    return workspace


@pytest.fixture
def finished(finished_once, tmp_path):
    return Workspace(copy_folder(finished_once.folder, tmp_path / "cxr"))


def resume(workspace, seed=42, reporter=None, **given):
    config = TrainConfig(resume="run", device="cpu", workers=0, **given)
    options = {} if reporter is None else {"reporter": reporter}
    asked = {"resume", "device", "workers", *given}
    return train_model(config, workspace, seed=seed, given=asked, **options)


def assert_equal_runs(run, other):
    for name in ("model.safetensors", "thresholds.json", "labels.json", "predictions/valid.csv"):
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name
    one, two = (pd.read_csv(path.history).drop(columns=TIMES) for path in (run, other))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def kill_at(monkeypatch, owner, name, call, *, after):
    """Raise in the n-th call of a function, before it does anything or when it has done all."""
    original, calls = getattr(owner, name), []

    def dying(*arguments, **options):
        calls.append(name)
        if len(calls) == call and not after:
            raise KilledError
        result = original(*arguments, **options)
        if len(calls) == call:
            raise KilledError
        return result

    monkeypatch.setattr(owner, name, dying)


MOMENTS = {
    "with its settings written and nothing else": (train_record, "write_json", 1, False),
    "before the first checkpoint": (train_record, "write_checkpoint", 1, False),
    "before the first step": (train_module, "run_phases", 1, False),
    "in the frozen epoch": (train_record, "write_checkpoint", 3, True),
    "when the frozen epoch was saved": (train_record, "write_checkpoint", 8, True),
    "while saving": (checkpoints_module, "save_file", 9, False),
    "before a checkpoint is in its place": (checkpoints_module, "save_file", 12, True),
    "while validating": (control_module, "", 0, False),
    "with better weights saved and no checkpoint yet": (train_record, "write_tensors", 2, True),
    "with the history written and no checkpoint yet": (train_record, "write_table", 4, True),
    "when all epochs are done": (train_record.RunRecorder, "finish", 1, False),
    "while finishing": (train_record, "draw_curves", 1, True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_goes_on_to_the_same_end(moment, alone, prepared, monkeypatch):
    assert_equal_runs(killed_and_resumed(CONFIG, moment, prepared, monkeypatch), alone)


def test_a_killed_training_of_a_transformer_goes_on_to_the_same_end(prepared_once, tmp_path):
    runs = []
    for moment in ("", "in the frozen epoch", "with the history written and no checkpoint yet"):
        workspace = workspace_in(tmp_path / (moment or "alone"), prepared_once)
        with pytest.MonkeyPatch.context() as patch:
            runs.append(
                killed_and_resumed(TRANSFORMER, moment, workspace, patch)
                if moment
                else train_model(TRANSFORMER, workspace, seed=5).run
            )
    for run in runs[1:]:
        assert_equal_runs(run, runs[0])


def killed_and_resumed(config, moment, prepared, monkeypatch):
    """The run of a training that was killed at some moment, and resumed."""
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        if moment == "while validating":
            original = control_module.Control.after_batch

            def dying(self):
                if not self.training and self.state.epoch == 1:
                    raise KilledError
                original(self)

            patch.setattr(control_module.Control, "after_batch", dying)
        else:
            kill_at(patch, owner, name, call, after=after)
        # A kill undoes nothing, as an exception would.
        patch.setattr("cxrtool.core.new_runs.OpenRun.undo", lambda _: None)
        with pytest.raises(KilledError):
            train_model(config, prepared, seed=5)
    run = RunFolder(prepared.runs / "run")
    assert not run.finished
    torch.manual_seed(99)
    assert resume(prepared).run == run
    assert [path.name for path in run.checkpoints.iterdir()] == ["last.safetensors"]
    return run


def test_a_longer_training_is_the_one_that_was_long_from_the_start(finished, alone, monkeypatch):
    logged = []

    @contextmanager
    def listen(*_):
        tracker = Tracker(None, SILENT)
        tracker.log = lambda row, step: logged.append((step, row["step"]))
        yield tracker

    monkeypatch.setattr(train_module, "track", listen)
    result = resume(finished, epochs=3)
    assert (result.epochs, read_card(result.run).arch) == (3, "efficientnet_b0")
    assert_equal_runs(result.run, alone)
    # What was logged before is logged again, and the validations are counted on.
    assert [step for step, _ in logged] == [0, 1, 2, 3, 4, 5]
    assert [step for _, step in logged] == pd.read_csv(result.run.history)["step"].tolist()


def test_an_extended_run_forgets_what_its_former_weights_scored(finished):
    run = RunFolder(finished.runs / "run")
    for path in (run.metrics("test"), run.predictions("test")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    resume(finished, epochs=2)
    assert not run.metrics("test").exists()
    assert not run.predictions("test").exists()
    assert run.predictions("valid").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lr": 0.5}, r"--lr 0.5 contradicts run run, which has 0.001"),
        ({"batch_size": 4}, r"--batch-size 4 contradicts"),
        ({"body_lr": 0.1}, r"--body-lr 0.1 contradicts run run, which has unset"),
        ({"recipe": "strong"}, r"--recipe strong contradicts"),
        ({"name": "new"}, r"leave --name out"),
        ({"force": True}, r"leave --force out"),
        ({"dry_run": True}, r"leave --dry-run out"),
        ({}, r"run run is finished after 1 epochs: --epochs N extends it"),
        ({"epochs": 1}, r"run run is finished"),
    ],
)
def test_what_contradicts_the_run_is_refused(finished, given, told):
    before = (finished.runs / "run" / "model.json").read_bytes()
    with pytest.raises(UsageError, match=told):
        resume(finished, **given)
    assert (finished.runs / "run" / "model.json").read_bytes() == before
    assert read_card(RunFolder(finished.runs / "run")).arch == "efficientnet_b0"


def test_options_that_agree_with_the_run_or_say_where_it_runs_are_no_contradiction(finished):
    result = resume(
        finished, epochs=2, lr=CONFIG.lr, ema=0.9, precision="auto", wandb="off", seed=5
    )
    assert result.epochs == 2


def test_another_seed_contradicts_the_run(finished):
    config = TrainConfig(resume="run", epochs=2)
    with pytest.raises(UsageError, match="--seed 6 contradicts run run, which has 5"):
        train_model(config, finished, seed=6, given={"resume", "epochs", "seed"})


def test_fewer_epochs_than_it_was_begun_for_are_refused(finished):
    resume(finished, epochs=2)
    with pytest.raises(UsageError, match="started with 2 epochs"):
        resume(finished, epochs=1)


@pytest.mark.parametrize("name", ["manifest", "split"])
def test_other_data_than_it_began_with_is_refused(finished, name):
    path = getattr(finished, name)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DataError, match=rf"{name}.csv is not the one that run run began with"):
        resume(finished, epochs=2)


def test_a_cache_of_another_size_is_refused(finished):
    shutil.rmtree(finished.cache)
    config = RunFolder(finished.runs / "run").environment
    config.write_text(
        config.read_text().replace('"squish": [\n    32', '"squish": [\n    64,\n 32')
    )
    with pytest.raises(DataError, match=r"made smaller to \[64, 32\].*--cache-size 64"):
        resume(finished, epochs=2)


def damage(path, how):
    if how == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        torch.save({"a": torch.ones(2)}, path)
    else:
        save_file({"a": torch.ones(2)}, path)


@pytest.mark.parametrize("how", ["cut", "empty", "pickle", "without facts"])
def test_a_damaged_checkpoint_is_told(finished, how):
    run = RunFolder(finished.runs / "run")
    damage(own(run.checkpoint), how)
    with pytest.raises(RunError, match=r"last.safetensors is not a readable checkpoint"):
        resume(finished, epochs=2)
    assert read_card(run).arch == "efficientnet_b0"


def test_a_finished_run_keeps_its_weights_alone_and_says_how_to_go_on(prepared):
    config = replace(TINY, epochs=1, limit=32, name="run")
    run = train_model(config, prepared, seed=5).run
    assert run.finished
    assert run.weights.is_file()
    assert [path.name for path in run.checkpoints.rglob("*.safetensors")] == []
    with pytest.raises(RunError, match=r"--weights run.*--keep-checkpoint"):
        resume(prepared, epochs=2)


def test_whether_the_checkpoint_stays_may_change_with_the_resumption(finished):
    run = RunFolder(finished.runs / "run")
    assert run.checkpoint.is_file()
    resume(finished, epochs=2, keep_checkpoint=False)
    assert run.finished
    assert not run.checkpoint.exists()


def test_a_run_without_checkpoint_is_told(finished):
    shutil.rmtree(RunFolder(finished.runs / "run").checkpoints)
    with pytest.raises(RunError, match="has no checkpoint to resume from"):
        resume(finished, epochs=2)


def test_a_full_disk_ends_training_and_the_last_checkpoint_is_whole(alone, prepared, monkeypatch):
    calls = []

    def full(tensors, path, metadata=None):
        calls.append(path)
        if len(calls) >= 10:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_module, "save_file", full)
        with pytest.raises(RunError, match=r"No space left.*is intact.*--resume run"):
            train_model(CONFIG, prepared, seed=5)
    run = RunFolder(prepared.runs / "run")
    assert read_checkpoint(run.checkpoint).facts["control"]["step"] > 0
    assert not list(run.checkpoints.glob(".last*"))
    resume(prepared)
    assert_equal_runs(run, alone)


def test_a_full_disk_before_a_step_is_saved_leaves_the_run_or_the_one_it_replaces(
    finished, monkeypatch
):
    """The first checkpoint is there, and the first better weights find no room."""
    before = RunFolder(finished.runs / "run").weights.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train_record, "write_tensors", full)
    quick = replace(TINY, epochs=1, limit=20)
    with pytest.raises(RunError, match=r"No space left.*older run run is there again"):
        train_model(replace(quick, name="run", force=True), finished, seed=5)
    assert RunFolder(finished.runs / "run").weights.read_bytes() == before
    assert [path.name for path in finished.runs.iterdir()] == ["run"]
    with pytest.raises(RunError, match=r"No space left.*is intact.*--resume new"):
        train_model(replace(quick, name="new"), finished, seed=5)
    assert RunFolder(finished.runs / "new").checkpoint.is_file()


def test_a_training_that_goes_on_elsewhere_says_that_it_is_not_the_same(finished, monkeypatch):
    original = continuation.read_checkpoint

    def of_another_device(path):
        checkpoint = original(path)
        checkpoint.facts["device"] = "cuda"
        return checkpoint

    monkeypatch.setattr(continuation, "read_checkpoint", of_another_device)
    listening = Listening()
    result = resume(finished, epochs=2, reporter=listening)
    assert result.epochs == 2
    assert any("started on cuda in 1 processes" in warning for warning in listening.warnings)


def test_a_stretched_cosine_is_told(prepared):
    config = replace(CONFIG, epochs=1, schedule="cosine", freeze_epochs=0, limit=16, batch_size=4)
    train_model(config, prepared, seed=5)
    listening = Listening()
    resume(prepared, epochs=2, reporter=listening)
    assert any("stretched over 2 epochs" in warning for warning in listening.warnings)


def test_moments_come_back_in_the_layout_of_their_weights(prepared, monkeypatch):
    """The fused step reads memory in order: another layout would be other weights' moments."""
    train_model(replace(CONFIG, epochs=1, freeze_epochs=0), prepared, seed=5)
    strides = []
    original = continuation.restore

    def spy(checkpoint, learner, control, processes):
        exact = original(checkpoint, learner, control, processes)
        for weight, state in learner.opt.opt.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                assert state[name].stride() == weight.stride()
            strides.append((weight.stride(), weight.contiguous().stride()))
        return exact

    monkeypatch.setattr(continuation, "restore", spy)
    resume(prepared, epochs=2)
    assert any(own != plain for own, plain in strides)


COMMAND_LINE = """
import sys, time
import torchvision.models
from cxrtool.training import control as control
from cxrtool.cli.app import main
from tests.support.copies import copy_folder, own
from tests.support.smaller import get_smallest

def slowly(self):  # a signal comes before all is done
    time.sleep(0.1)
    after_batch(self)

after_batch, control.Control.after_batch = control.Control.after_batch, slowly
torchvision.models.get_model = get_smallest
sys.argv[0] = "cxrtool"
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(prepared, alone, number):
    options = [
        *("--arch", "efficientnet_b0", "--weights", "none", "--uncertainty", "smooth"),
        *("--freeze-epochs", "1", "--unfreeze", "all", "--validations", "2", "--ema", "0.9"),
        *("--epochs", "3", "--plateau-patience", "0", "--image-size", "32", "--batch-size", "16"),
        *("--precision", "fp32", "--device", "cpu", "--workers", "2", "--seed", "5"),
        *("--name", "run", "-w", str(prepared.folder)),
    ]
    command = [sys.executable, "-c", COMMAND_LINE, "train", *options]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    told = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": paths}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **told},
        start_new_session=True,
    )
    run = RunFolder(prepared.runs / "run")
    while not run.history.exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    told = process.communicate(timeout=300)[1]
    assert process.returncode == 130, told
    last = told.strip().splitlines()[-1]
    assert "stopped in epoch" in last
    assert f"cxrtool train --resume run -w {prepared.folder}" in last
    assert "Traceback" not in told
    resume(prepared)
    assert_equal_runs(run, alone)


def test_a_stop_before_the_first_epoch_leaves_a_run_to_go_on_with(prepared, alone, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(control_module.Control, "_agreed_to_stop", lambda self, batch: batch == 2)
        with pytest.raises(StoppedError, match=r"epoch 1, after 2 of its batches.*--resume run"):
            train_model(replace(CONFIG, checkpoint_every=99), prepared, seed=5)
    resume(prepared)
    assert_equal_runs(RunFolder(prepared.runs / "run"), alone)
