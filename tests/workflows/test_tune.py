import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import optuna
import pandas as pd
import pytest
import yaml
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core import files as files
from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import DataError, NotWrittenError, RunError, StoppedError, UsageError
from cxrtool.core.runs import RunFolder, trials_among
from cxrtool.core.workspace import Workspace
from cxrtool.search import setup as tune_setup
from cxrtool.search import study_storage as study_storage
from cxrtool.search import worker as tune_worker
from cxrtool.search.study import StudyFolder, enqueue_again
from cxrtool.search.study_storage import open_storage
from cxrtool.search.trial_process import Outcome, TrialConfig, _outcome, run_trial
from cxrtool.workflows import tune
from tests.conftest import TINY, Listening
from tests.support.searching import SEARCH, pretend, score, search

STATES = optuna.trial.TrialState


@pytest.fixture
def pretended(prepared, monkeypatch):
    """A workspace in which trials are not trained."""
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    return prepared


@pytest.fixture
def undrawn(pretended, monkeypatch):
    """As above, and the search is not drawn, which takes most of its time here."""
    monkeypatch.setattr(tune, "draw_study", lambda *_: [])
    return pretended


def trials(workspace, name):
    return pd.read_csv(workspace.studies / name / "trials.csv", keep_default_na=False)


def test_the_first_trial_has_the_settings_held_and_the_best_is_kept(pretended):
    found = search(pretended, name="a", lr=2e-3)
    assert [row["state"] for row in found.trials] == ["finished"] * 4
    assert found.trials[0]["values"] == {
        "lr": 2e-3,
        "weight_decay": TINY.weight_decay,
        "plateau_patience": TINY.plateau_patience,
    }
    best = max(found.trials, key=lambda row: row["valid_mean_auroc"])
    assert found.best == best
    assert "valid (" in found.selected_on
    assert "of 11 patients" in found.selected_on
    json.dumps(found.as_json(), allow_nan=False)
    table = trials(pretended, "a")
    assert table["valid_mean_auroc"].tolist() == [row["valid_mean_auroc"] for row in found.trials]
    assert {path.name for path in found.written} == {
        *("best.yaml", "trials.csv", "history.png", "slices.png", "importances.png")
    }
    assert all(path.stat().st_size > 100 for path in found.written)


def test_the_best_options_are_a_file_for_train(pretended):
    found = search(pretended, name="a")
    settings = yaml.safe_load((found.folder / "best.yaml").read_text())
    assert settings.pop("seed") == 1
    best = TrainConfig(**settings)
    assert score(best) == pytest.approx(found.best["valid_mean_auroc"])
    assert (best.arch, best.epochs, best.batch_size) == (TINY.arch, TINY.epochs, TINY.batch_size)
    planned = CliRunner().invoke(
        app,
        [
            *("train", "--config", str(found.folder / "best.yaml"), "-w", str(pretended.folder)),
            *("--dry-run", "--json", "--workers", "0", "--device", "cpu"),
        ],
    )
    assert planned.exit_code == 0, planned.stderr


def test_more_trials_go_on_as_one_search_would_have(pretended):
    whole = search(pretended, name="whole", trials=6)
    search(pretended, name="parts", trials=2)
    parts = search(pretended, resume="parts", trials=6)
    assert [row["values"] for row in parts.trials] == [row["values"] for row in whole.trials]


def test_a_study_knows_how_many_trials_were_asked_for(pretended):
    search(pretended, name="a", trials=2)
    assert len(search(pretended, resume="a", given={"resume"}).trials) == 2
    assert len(search(pretended, resume="a", trials=3).trials) == 3
    assert len(search(pretended, resume="a", given={"resume"}).trials) == 3


def test_what_was_stopped_is_done_again_and_nothing_is_lost(pretended, monkeypatch):
    whole = search(pretended, name="whole")
    calls = []

    def stopped(config, workspace, seed, *, on_message, shall_stop):
        calls.append(config)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(pretended, name="a")
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(pretended, resume="a")
    states = [row["state"] for row in found.trials]
    assert states == ["finished", "died, again as 3", "finished", "finished", "finished"]
    ended = [row["values"] for row in found.trials if row["state"] == "finished"]
    assert ended == [row["values"] for row in whole.trials]


def test_after_its_time_nothing_is_begun(pretended, monkeypatch):
    begun = []

    def third_is_slow(config, workspace, seed, *, on_message, shall_stop):
        begun.append(config)
        if len(begun) < 3:
            return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)
        while not shall_stop():
            time.sleep(0.02)
        return Outcome("stopped")

    monkeypatch.setattr(tune_worker, "run_trial", third_is_slow)
    found = search(pretended, name="a", trials=50, timeout=4 / 60)
    assert len(begun) == 3
    stopped = ["died, again as 4", "waiting"]
    assert [row["state"] for row in found.trials] == ["finished", "finished", *stopped]
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    assert len(search(pretended, resume="a", trials=3).trials) == 4


def test_a_trial_that_fails_counts_and_says_why(pretended, monkeypatch):
    def fails(config, workspace, seed, *, on_message, shall_stop):
        if config.lr > 1e-4:
            return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)
        return Outcome("failed", reason="the loss is no number")

    monkeypatch.setattr(tune_worker, "run_trial", fails)
    listening = Listening()
    found = search(pretended, listening, name="a", trials=8)
    failed = [row for row in found.trials if row["state"] == "failed"]
    assert failed
    assert all(row["reason"] == "the loss is no number" for row in failed)
    assert len(found.trials) == 8
    assert any("no number" in text for text in listening.warnings)
    assert found.best["values"]["lr"] > 1e-4


def test_trials_that_all_fail_end_the_search(pretended, monkeypatch):
    monkeypatch.setattr(tune_worker, "run_trial", lambda *_, **__: Outcome("failed", reason="full"))
    with pytest.raises(RunError, match=r"first 3 trials all failed.*full"):
        search(pretended, name="a", trials=9)


def test_a_search_without_a_score_is_an_error_with_the_first_reason(undrawn, monkeypatch):
    """Fewer trials than are needed to give up."""
    reasons = iter(["no room", "no number"])
    monkeypatch.setattr(
        tune_worker, "run_trial", lambda *_, **__: Outcome("failed", reason=next(reasons))
    )
    with pytest.raises(RunError, match=r"2 trials of study a ended.*the first: no room"):
        search(undrawn, name="a", trials=2)
    assert len(pd.read_csv(undrawn.studies / "a" / "trials.csv")) == 2
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    assert search(undrawn, resume="a", trials=3).best["trial"] == 3


def interrupted(config, workspace, seed, *, on_message, shall_stop):
    """A trial during which Ctrl-C is pressed."""
    os.kill(os.getpid(), signal.SIGINT)
    return Outcome("stopped") if shall_stop() else None


def test_what_no_trial_can_do_ends_the_search_and_leaves_nothing(pretended, monkeypatch):
    error = DataError("no positive image")
    monkeypatch.setattr(tune_worker, "run_trial", lambda *_, **__: Outcome("refused", error=error))
    with pytest.raises(DataError, match="no positive image"):
        search(pretended, name="a")
    assert not (pretended.studies / "a").exists()


def refused_then_resumed(workspace, monkeypatch, error, refused, **given):
    """A search that a trial's error ends, and what resuming it comes to."""
    monkeypatch.setattr(tune_worker, "run_trial", refused)
    said = Listening()
    said.note = said.warn
    with pytest.raises(type(error), match=str(error)):
        search(workspace, said, trials=2, **given)
    assert any("tune --resume a --trials 2" in text for text in said.warnings)
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(workspace, resume="a", trials=2).trials
    return [row["values"] for row in found if row["state"] == "finished"]


@pytest.mark.parametrize("error", [DataError("an image is gone"), NotWrittenError("no room")])
def test_a_search_is_kept_whose_trial_left_a_run(undrawn, monkeypatch, error):
    expected = [row["values"] for row in search(undrawn, name="whole", trials=2).trials]

    def refused(config, *_, **__):
        (undrawn.runs / config.name).mkdir(parents=True)
        return Outcome("refused", error=error)

    found = refused_then_resumed(undrawn, monkeypatch, error, refused, name="a")
    assert found == expected


def test_a_search_that_is_resumed_is_kept_whatever_ends_it(undrawn, monkeypatch):
    """It was stopped in its first trial, which may have taken hours, and then an image is gone."""
    expected = [row["values"] for row in search(undrawn, name="whole", trials=2).trials]
    monkeypatch.setattr(tune_worker, "run_trial", interrupted)
    with pytest.raises(StoppedError):
        search(undrawn, name="a", trials=2)
    error = DataError("an image is gone")
    refused = lambda *_, **__: Outcome("refused", error=error)  # noqa: E731
    assert refused_then_resumed(undrawn, monkeypatch, error, refused, resume="a") == expected


@pytest.mark.parametrize("told", [0, 1, 2])
def test_values_that_were_settled_are_tried_again_if_a_trial_died_before_it_was_told_all(told):
    settled = {"lr": 0.01, "weight_decay": 0.1}
    study = optuna.create_study()
    study.enqueue_trial(settled)
    trial = study.ask()
    for name in list(settled)[:told]:
        trial.suggest_float(name, 0.0, 1.0)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    enqueue_again(study, study.trials[0])
    again = study.ask()
    assert {name: again.suggest_float(name, 0.0, 1.0) for name in settled} == settled


def test_the_way_on_from_a_full_disk_is_one_that_there_is(tmp_path):
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    folder = StudyFolder(tmp_path / "search")

    def begins_and_finds_no_room(storage):
        raise full

    def goes_on_and_finds_no_room():
        with open_storage(folder, None, lambda storage: None):
            raise full

    with (
        pytest.raises(RunError, match=r"study\.db could not be written.*same command again"),
        open_storage(folder, None, begins_and_finds_no_room),
    ):
        pass
    assert not folder.database.exists()
    with pytest.raises(RunError, match=r"study\.db could not be written.*tune --resume search"):
        goes_on_and_finds_no_room()


def test_a_trial_that_found_no_room_is_no_failed_one():
    kinds = {
        "NotWrittenError": "refused",
        "DataError": "refused",
        "RunError": "failed",
        "StoppedError": "stopped",
    }
    for name, kind in kinds.items():
        assert _outcome({"error": [name, "why"]}, 1, "", asked=False).kind == kind


def test_what_is_killed_twice_has_failed(pretended, monkeypatch):
    killed = Outcome("killed", reason="killed by SIGKILL")
    seen = []

    def first_is_killed(config, workspace, seed, *, on_message, shall_stop):
        seen.append(config.lr)
        if config.lr == seen[0]:
            return killed
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", first_is_killed)
    found = search(pretended, name="a", trials=3)
    assert [row["state"] for row in found.trials] == [
        *("died, again as 2", "failed", "finished", "finished")
    ]


def test_a_trial_below_the_median_is_pruned(pretended, monkeypatch):
    asked = []

    def worse(config, workspace, seed, *, on_message, shall_stop):
        asked.append(config)
        value = 0.9 if len(asked) <= 3 else 0.5
        on_message("score", value)
        if shall_stop():
            return Outcome("stopped")
        return Outcome("done", {"best_epoch": 1, "valid_mean_auroc": value})

    monkeypatch.setattr(tune_worker, "run_trial", worse)
    found = search(pretended, name="a", trials=5, prune=True)
    assert [row["state"] for row in found.trials] == ["finished"] * 3 + ["pruned"] * 2
    asked.clear()
    assert {row["state"] for row in search(pretended, name="b", trials=5).trials} == {"finished"}


def test_a_small_space_is_tried_whole_and_no_more(pretended, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("batch_size: [8, 16]\nema: [0, 0.5]\n")
    found = search(pretended, name="a", trials=20, space=path)
    assert len({tuple(row["values"].values()) for row in found.trials}) == len(found.trials) == 4


@pytest.mark.parametrize(
    ("options", "given", "error", "message"),
    [
        ({"name": "a"}, (), DataError, "--resume a resumes it"),
        ({"resume": "zz"}, (), RunError, r"no study 'zz' .*there are: a"),
        ({"resume": "a", "lr": 0.5}, ("lr",), UsageError, "--lr contradicts study a"),
        ({"resume": "a", "name": "b"}, (), UsageError, "leave out --name"),
        ({"resume": "a", "backend": "wandb"}, (), UsageError, "has --backend optuna"),
        ({"sweep": "x"}, (), UsageError, "--backend wandb"),
        ({"backend": "wandb", "prune": True}, (), UsageError, "--prune goes with"),
        ({"backend": "wandb", "storage": "x"}, (), UsageError, "--storage goes with"),
        ({"backend": "wandb", "wandb": "online"}, (), UsageError, "logs its trials itself"),
        ({"name": "../b"}, (), UsageError, "plain folder name"),
        ({"storage": "sqlite:///x.db"}, (), UsageError, "SQLite is the default"),
        ({"storage": "nothing"}, (), UsageError, "--storage"),
        ({"storage": "postgresql://u:secret@localhost:1/x"}, (), RunError, "does not answer"),
        ({"name": "b", "drop_rate": 0.5}, (), UsageError, "drop"),
    ],
)
def test_what_cannot_be_is_refused(pretended, options, given, error, message):
    search(pretended, name="a", trials=1)
    with pytest.raises(error, match=message) as caught:
        search(pretended, given=given, **options)
    assert "secret" not in str(caught.value)


def test_another_split_is_another_study(pretended):
    search(pretended, name="a", trials=1)
    split = pd.read_csv(pretended.split)
    split.iloc[::-1].to_csv(pretended.split, index=False)
    with pytest.raises(DataError, match=r"split.csv is not the one that study a"):
        search(pretended, resume="a", trials=2)


def test_force_replaces_a_study_and_nothing_else(pretended):
    search(pretended, name="a", trials=2)
    found = search(pretended, name="a", trials=1, force=True)
    assert len(found.trials) == 1
    stranger = pretended.studies / "mine"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="is not a study"):
        search(pretended, name="mine", force=True)
    assert (stranger / "thesis.txt").exists()


@pytest.mark.parametrize("end", ["refused", "killed", "full", "stopped"])
def test_force_replaces_a_study_once_a_trial_of_the_new_one_has_ended(undrawn, monkeypatch, end):
    """What is there may be weeks of work, and the new search may not even begin."""
    older = search(undrawn, name="a", trials=2)

    def killed(*_, **__):
        raise OSError(28, "No space left on device") if end == "full" else KilledError

    def refused(*_, **__):
        return Outcome("refused", error=DataError("an image is gone"))

    with monkeypatch.context() as patch:
        if end in ("killed", "full"):
            patch.setattr(tune_setup, "create_study", killed)
        else:
            patch.setattr(tune_worker, "run_trial", refused if end == "refused" else interrupted)
        with pytest.raises((DataError, OSError, KilledError, StoppedError)):
            search(undrawn, name="a", trials=1, force=True, lr=5e-4)
    found = search(undrawn, resume="a", trials=3).trials
    if end == "stopped":  # the new one can be resumed, and the older is gone with its first trial
        assert 5e-4 in [row["values"]["lr"] for row in found]
        assert list(undrawn.studies.glob(".*")) == []
    else:
        assert found[:2] == older.trials
    assert len(search(undrawn, name="a", trials=1, force=True).trials) == 1
    assert list(undrawn.studies.glob(".*")) == []


def test_two_searches_in_one_study_are_refused(pretended, monkeypatch):
    def meanwhile(config, workspace, seed, *, on_message, shall_stop):
        with pytest.raises(DataError, match="another search is at work"):
            search(pretended, resume="a")
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", meanwhile)
    assert len(search(pretended, name="a", trials=1).trials) == 1


def command(workspace, *words):
    options = [
        *("--arch", TINY.arch, "--weights", "none", "--epochs", "1", "--image-size", "32"),
        *("--batch-size", "16", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
    ]
    first = [] if "--resume" in words else options
    return ["tune", "-w", str(workspace.folder), *first, *words]


class KilledError(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize(
    ("name", "moment"), [("a", "create_study"), (None, "locked"), ("a", "load_study")]
)
def test_a_search_that_is_killed_as_it_begins_begins_again(
    undrawn, monkeypatch, name, moment, tmp_path
):
    """Its name is free until its database is there whole; from then on it can be resumed."""
    alone = Workspace(shutil.copytree(undrawn.folder, tmp_path / "alone"))
    expected = search(alone, name=name, trials=2)

    def killed(*_, **__):
        raise KilledError

    owner = study_storage if moment == "locked" else tune_setup
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, killed)
        with pytest.raises(KilledError):
            search(undrawn, name=name, trials=2)
    folder = StudyFolder(undrawn.studies / expected.study)
    if moment == "load_study":
        found = search(undrawn, resume=expected.study)
    else:
        folder.path.mkdir(parents=True, exist_ok=True)
        for left in (
            ".lock",
            ".study-part-x1234567/study.db",
            ".study-part-x1234567/study.db-journal",
        ):
            (folder.path / left).parent.mkdir(exist_ok=True)
            (folder.path / left).write_text("x")
        with pytest.raises(RunError, match="killed before it began: give the command"):
            search(undrawn, resume=expected.study)
        monkeypatch.setattr(files, "_swept", set())  # as in another process
        found = search(undrawn, name=name, trials=2)
    assert (found.study, found.best["values"]) == (expected.study, expected.best["values"])
    values = [row["values"] for row in found.trials]
    assert values == [row["values"] for row in expected.trials]
    assert sorted(path.name for path in folder.path.glob(".*")) == []


def damage_database(path, how):
    content = path.read_bytes()
    path.unlink()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "noise":
        path.write_bytes(b"\xff" * len(content))
    elif how == "altered":
        path.write_bytes(content[:4096] + b"\0" * (len(content) - 4096))
    elif how == "empty":
        path.touch()
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


def test_a_damaged_database_is_one_message_with_the_way_on(undrawn, tmp_path):
    search(undrawn, name="a", trials=1)
    folder = StudyFolder(undrawn.studies / "a")
    kept = shutil.copytree(folder.path, tmp_path / "kept")
    for how in ("half", "noise", "altered", "empty", "pipe", "folder"):
        shutil.rmtree(folder.path)
        shutil.copytree(kept, folder.path)
        damage_database(folder.database, how)
        with pytest.raises(RunError, match=r"study\.db.*(damaged|cannot be read|holds no)") as told:
            search(undrawn, resume="a", trials=2)
        assert "--force" in str(told.value), how
    assert len(search(undrawn, name="a", trials=1, force=True).trials) == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("study_user_attributes", "value_json"), ("trial_user_attributes", "value_json")),
        *(("trial_params", "distribution_json"), ("trials", "state"), ("studies", "study_name")),
        *(("trial_values", "value_type"), ("study_directions", "direction")),
    ],
)
def test_a_value_in_the_database_that_is_none_is_one_message(undrawn, table, column):
    search(undrawn, name="a", trials=1)
    with contextlib.closing(sqlite3.connect(undrawn.studies / "a" / "study.db")) as database:
        changed = database.execute(f"UPDATE {table} SET {column} = '{{half'")
        assert changed.rowcount
        database.commit()
    with pytest.raises(RunError, match=r"study\.db (is damaged|holds no study).*--force"):
        search(undrawn, resume="a", trials=2)


def test_a_full_disk_ends_a_search_that_can_be_resumed(undrawn, monkeypatch):
    def full(*_, **__):
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr("optuna.trial.Trial.report", full)
        with pytest.raises(RunError, match=r"study\.db could not be.*full.*--resume a"):
            search(undrawn, name="a", trials=2)
    assert len(search(undrawn, resume="a").trials) >= 2


@pytest.mark.slow
def test_a_search_that_is_killed_loses_no_trial_and_its_trial_ends_with_it(warm, prepared):
    words = command(prepared, "--trials", "2", "--name", "a")
    process = subprocess.Popen([warm, *words], stdout=subprocess.PIPE)
    run = RunFolder(prepared.runs / "a-01")
    until = time.monotonic() + 120
    while not run.checkpoint.is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate()  # until nobody writes there any more
    done = subprocess.run(
        [warm, *command(prepared, "--resume", "a", "--trials", "2", "--json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ended = [row for row in found["trials"] if row["state"] == "finished"]
    assert len(ended) == 2
    assert all(RunFolder(prepared.runs / row["run"]).finished for row in ended)
    assert len({row["run"] for row in found["trials"]}) == 2  # the killed run was gone on with
    best = RunFolder(prepared.runs / found["best"]["run"])
    kept = yaml.safe_load((prepared.studies / "a" / "best.yaml").read_text())
    assert kept == yaml.safe_load(best.config.read_text())


@pytest.mark.slow
def test_a_trial_tells_how_it_goes_and_stops_when_asked(prepared):
    heard = []
    config = SEARCH.training()
    config = TrialConfig(**{**vars(config), "epochs": 50, "name": "one", "study": "a"})

    def stop():
        return any(kind == "score" for kind, _ in heard)

    outcome = run_trial(
        config,
        prepared,
        1,
        on_message=lambda kind, value: heard.append((kind, value)),
        shall_stop=stop,
    )
    assert outcome.kind == "stopped"
    run = RunFolder(prepared.runs / "one")
    assert run.checkpoint.is_file()
    assert trials_among([run.path]) == {"one": "a"}
    assert {"epoch", "score", "share", "note"} <= {kind for kind, _ in heard}


def test_a_trial_that_cannot_be_is_refused_with_its_error(prepared):
    config = TrainConfig(**{**vars(SEARCH.training()), "labels": "Nothing", "name": "one"})
    outcome = run_trial(config, prepared, 1, on_message=lambda *_: None, shall_stop=lambda: False)
    assert outcome.kind == "refused"
    assert "Nothing" in str(outcome.error)


def test_ctrl_c_leaves_a_study_to_go_on_with(pretended, monkeypatch):
    monkeypatch.setattr(tune_worker, "run_trial", interrupted)
    with pytest.raises(StoppedError, match="cxrtool tune --resume a --trials 3"):
        search(pretended, name="a", trials=3)
    monkeypatch.setattr(tune_worker, "run_trial", pretend)
    found = search(pretended, resume="a", trials=3)
    assert sum(row["state"] == "finished" for row in found.trials) == 3
