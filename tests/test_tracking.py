import sys
import types

import pytest
from conftest import Listening

from cxrtool.tracking import track


class FakeRun:
    """What a W&B run is to us."""

    def __init__(self, broken=False):
        self.logged, self.finished, self.broken = [], False, broken

    def define_metric(self, *_, **__):
        pass

    def log(self, figures):
        if self.broken:
            raise ConnectionError("no route")
        self.logged.append(figures)

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
        for row in rows:
            tracker.log(row)


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


@pytest.mark.slow
def test_a_real_offline_run_stays_here_and_names_no_script(tmp_path):
    import wandb

    listening = Listening()
    log("offline", tmp_path, listening, [{"epoch": 1, "auroc": 0.71}])
    assert listening.warnings == []
    wandb.teardown()  # as a process does when it ends: only then is the file whole for certain
    files = [path for path in tmp_path.rglob("*.wandb") if path.is_file()]
    assert len(files) == 1
    content = files[0].read_bytes()
    assert b"auroc" in content
    assert b"test_tracking" not in content


def test_the_final_table_is_logged_and_its_failure_stops_nothing(fake, tmp_path):
    fake.Table = lambda columns, data: (columns, data)
    listening = Listening()
    with track("online", "run", {}, tmp_path, listening, "an-id") as tracker:
        tracker.table("valid", ["label", "auroc"], [["Edema", 0.7]])
        assert fake.run.logged == [{"valid": (["label", "auroc"], [["Edema", 0.7]])}]
        assert (fake.given["id"], fake.given["resume"]) == ("an-id", "allow")
        fake.run.broken = True
        tracker.table("valid", ["label"], [["Edema"]])
    assert listening.warnings == ["Weights & Biases did not take the table: no route"]
