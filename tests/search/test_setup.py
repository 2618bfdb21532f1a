"""A study is planned, begun, replaced or refused."""

import shutil

import pandas as pd
import pytest

from cxrtool.core import files as files
from cxrtool.core.errors import DataError, RunError, StoppedError, UsageError
from cxrtool.core.workspace import Workspace
from cxrtool.search import setup as tune_setup
from cxrtool.search import study_storage as study_storage
from cxrtool.search import worker as tune_worker
from cxrtool.search.study import StudyFolder
from cxrtool.search.trial_process import Outcome
from tests.support.searching import interrupted, pretend, search


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
def test_what_cannot_be_is_refused(undrawn, options, given, error, message):
    search(undrawn, name="a", trials=1)
    with pytest.raises(error, match=message) as caught:
        search(undrawn, given=given, **options)
    assert "secret" not in str(caught.value)


def test_another_split_is_another_study(undrawn):
    search(undrawn, name="a", trials=1)
    split = pd.read_csv(undrawn.split)
    split.iloc[::-1].to_csv(undrawn.split, index=False)
    with pytest.raises(DataError, match=r"split.csv is not the one that study a"):
        search(undrawn, resume="a", trials=2)


def test_force_replaces_a_study_and_nothing_else(undrawn):
    search(undrawn, name="a", trials=2)
    found = search(undrawn, name="a", trials=1, force=True)
    assert len(found.trials) == 1
    stranger = undrawn.studies / "mine"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="is not a study"):
        search(undrawn, name="mine", force=True)
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


def test_two_searches_in_one_study_are_refused(undrawn, monkeypatch):
    def meanwhile(config, workspace, seed, *, on_message, shall_stop):
        with pytest.raises(DataError, match="another search is running"):
            search(undrawn, resume="a")
        return pretend(config, workspace, seed, on_message=on_message, shall_stop=shall_stop)

    monkeypatch.setattr(tune_worker, "run_trial", meanwhile)
    assert len(search(undrawn, name="a", trials=1).trials) == 1


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
