import json
import os
import struct
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest

from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.training.tracking import Tracker, track
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Hearing, Listening


class FakeRun:
    """What a W&B run is to us."""

    def __init__(self, broken=False):
        self.logged, self.finished, self.broken = [], False, broken
        self.summary, self.steps = {}, []

    def define_metric(self, *_, **__):
        pass

    def log(self, figures, step):
        if self.broken:
            raise ConnectionError("no route")
        self.logged.append(figures)
        self.steps.append(step)

    def finish(self):
        self.finished = True


@pytest.fixture
def fake(monkeypatch):
    """wandb with an `init` that keeps what it is given."""
    module = types.ModuleType("wandb")
    module.given, module.run = {}, FakeRun()
    module.Settings = dict

    def init(**given):
        module.given = given
        return module.run

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def log(mode, tmp_path, listening, rows):
    with track(mode, "run", {"lr": 0.1}, tmp_path, listening) as tracker:
        for step, row in enumerate(rows):
            tracker.log(row, step)


def test_off_touches_nothing(fake, tmp_path):
    log("off", tmp_path, Listening(), [{"epoch": 1}])
    assert fake.given == {}
    assert fake.run.logged == []


def test_numbers_are_logged_and_nothing_else(fake, tmp_path):
    log("online", tmp_path, Listening(), [{"epoch": 1, "auroc": 0.7, "path": "patient00001"}])
    assert fake.run.logged == [{"epoch": 1, "auroc": 0.7}]
    assert fake.run.finished
    assert fake.given["config"] == {"lr": 0.1}
    assert fake.given["mode"] == "online"


def test_what_could_hold_paths_is_switched_off(fake, tmp_path):
    log("online", tmp_path, Listening(), [])
    settings = fake.given["settings"]
    assert settings["console"] == "off"
    for name in ("disable_git", "disable_code", "x_disable_meta", "x_disable_machine_info"):
        assert settings[name] is True
    assert settings["save_code"] is False
    assert settings["x_save_requirements"] is False
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_a_failure_to_log_is_told_once_and_training_goes_on(fake, tmp_path):
    fake.run.broken = True
    listening = Listening()
    log("online", tmp_path, listening, [{"epoch": 1}, {"epoch": 2}])
    assert len(listening.warnings) == 1
    assert "no route" in listening.warnings[0]


def test_a_failure_to_start_is_told_and_training_goes_on(fake, tmp_path):
    def init(**_):
        raise RuntimeError("not logged in")

    fake.init = init
    listening = Listening()
    log("online", tmp_path, listening, [{"epoch": 1}])
    assert "not logged in" in listening.warnings[0]


def records(file):
    """The records of W&B's log: blocks of 32 KB as in LevelDB, after a head of 7 bytes."""
    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 2**15 - place % 2**15 < 7:
            place += 2**15 - place % 2**15
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield parts
            parts = b""


def logged_offline(folder):
    """The steps with their epochs that a folder of an offline run holds."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("*.wandb")
    found = []
    for one in map(Record.FromString, records(file)):
        items = {"/".join(item.nested_key) or item.key: item for item in one.history.item}
        if items:
            found.append((int(items["_step"].value_json), json.loads(items["epoch"].value_json)))
    return found


def test_a_resumed_offline_run_loses_no_step_of_either_folder(tmp_path):
    """What is synced last counts: so it holds all, and no step means two things."""
    import wandb

    for epochs in ((1, 2), (1, 2, 3)):
        rows = [{"epoch": epoch, "auroc": 0.7} for epoch in epochs]
        with track("offline", "run", {}, tmp_path, Listening(), "anid") as tracker:
            for step, row in enumerate(rows):
                tracker.log(row, step)
            tracker.summarise({"valid/Edema/auroc": 0.7})
        time.sleep(1)  # the folders' names hold the second
    wandb.teardown()  # as a process does when it ends: only then is a file whole for certain
    first, second = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert logged_offline(first) == [(0, 1), (1, 2)]
    assert logged_offline(second) == [(0, 1), (1, 2), (2, 3)]
    names = {path.name for path in tmp_path.rglob("*")}
    assert "requirements.txt" not in names
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for private in (str(Path.home()), "test_tracking", sys.executable):
            assert private.encode() not in content, path


def test_the_final_figures_are_given_and_their_failure_stops_nothing(fake, tmp_path):
    listening = Listening()
    with track("online", "run", {}, tmp_path, listening, "an-id") as tracker:
        tracker.summarise({"valid/Edema/auroc": 0.7, "valid/Edema/threshold": None})
        assert fake.run.summary == {"valid/Edema/auroc": 0.7}
        assert (fake.given["id"], fake.given["resume"]) == ("an-id", "allow")
        fake.run.summary = None
        tracker.summarise({"valid/Edema/auroc": 0.7})
    assert len(listening.warnings) == 1
    assert "final figures" in listening.warnings[0]


class FakeArtifact:
    """What a W&B artifact is to us: the files at the time when they are given."""

    def __init__(self, name, type):
        self.name, self.type, self.files = name, type, {}

    def add_dir(self, folder):
        self.files = {path.name: path.read_text() for path in Path(folder).iterdir()}


def test_a_pack_is_one_artifact_and_its_failure_stops_nothing(fake, tmp_path):
    fake.Artifact, given, listening = FakeArtifact, [], Listening()
    fake.run.log_artifact = given.append

    def write(folder):
        (folder / "README.md").write_text("card")

    with track("online", "run", {}, tmp_path, listening) as tracker:
        tracker.log_pack("my run/1", write)
        (artifact,) = given
        assert (artifact.name, artifact.type) == ("my_run_1-pack", "model")
        assert artifact.files == {"README.md": "card"}
        fake.run.log_artifact = None
        tracker.log_pack("run", write)
    assert len(listening.warnings) == 1
    assert "did not take the pack" in listening.warnings[0]
    with track("off", "run", {}, tmp_path, listening) as tracker:
        tracker.log_pack("run", pytest.fail)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_training_gives_the_finished_run_as_a_pack_where_it_is_online(
    trained, monkeypatch, mode, quick_training
):
    given, notes = [], Hearing()
    monkeypatch.setattr(
        "cxrtool.training.tracking._start",
        lambda *_: types.SimpleNamespace(
            log=lambda *_, **__: None, summary={}, finish=lambda: None
        ),
    )
    monkeypatch.setattr(Tracker, "log_pack", lambda _, name, write: given.append((name, write)))
    config = replace(TINY, epochs=1, limit=40, wandb=mode, name="mine")
    train_model(config, trained.workspace, seed=1, reporter=notes)
    told = any("`cxrtool runs pack mine`" in text for text in notes.notes)
    assert told is (mode == "offline")
    if mode == "online":
        ((name, write),) = given
        folder = trained.workspace.folder / "made"
        folder.mkdir()
        write(folder)
        assert name == "mine"
        assert read_card(RunFolder(folder)).packed
