import os

import pytest

from cxrtool.errors import DataError, RunError, UsageError
from cxrtool.files import write_json
from cxrtool.runs import (
    RunFolder,
    check_new_name,
    find_resumable,
    find_run,
    new_run,
    resumed_run,
)


def finished(runs, name, age):
    """A finished run, `age` seconds old."""
    run = RunFolder(runs / name)
    write_json(run.model, {})
    when = 1_700_000_000 - age
    os.utime(run.model, (when, when))
    return run


def test_without_a_name_it_is_the_last_finished_run(tmp_path):
    finished(tmp_path, "a", age=10)
    newest = finished(tmp_path, "b", age=1)
    finished(tmp_path, "c", age=20)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / ".hidden-x").mkdir()
    assert find_run(tmp_path, None) == newest
    assert find_run(tmp_path, "last") == newest


def test_a_run_is_found_by_name_and_by_path(tmp_path):
    finished(tmp_path / "runs", "a", age=1)
    assert find_run(tmp_path / "runs", "a").path == tmp_path / "runs" / "a"
    assert find_run(tmp_path / "none", str(tmp_path / "runs" / "a")).name == "a"


def test_unfinished_runs_are_counted_where_there_is_no_finished_one(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="1 did not finish"):
        find_run(tmp_path, None)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", ".hidden", "last", "a\\b", "-x", "a\nb"]
)
def test_a_name_that_is_no_folders_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="plain folder name"):
        check_new_name(tmp_path, name, force=True)


def test_a_new_run_replaces_the_old_one_when_it_settles(tmp_path):
    old = finished(tmp_path, "a", age=1)
    with new_run(tmp_path, "a", "x", force=True) as opened:
        (opened.run.path / "history.csv").write_text("new")
        assert len(list(tmp_path.glob(".a-replaced-*/model.json"))) == 1
        opened.settle()
    assert not old.finished
    assert (old.path / "history.csv").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_error_before_a_run_settles_leaves_all_as_it_was(tmp_path, name):
    old = finished(tmp_path, "a", age=1)

    def fails():
        with new_run(tmp_path, name, "x", force=True):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert old.finished
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_after_a_run_settled_keeps_what_is_there(tmp_path):
    def fails():
        with new_run(tmp_path, None, "a", force=False) as opened:
            opened.settle()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert (tmp_path / "a").is_dir()
    assert not RunFolder(tmp_path / "a").finished


def test_what_a_killed_training_had_put_aside_goes_when_its_run_goes_on(tmp_path):
    (tmp_path / ".a-replaced-1").mkdir()
    (tmp_path / ".b-replaced-1").mkdir()
    (tmp_path / "a").mkdir()
    with resumed_run(RunFolder(tmp_path / "a")):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b-replaced-1", "a"]


def test_two_trainings_at_once_take_two_names(tmp_path):
    with (
        new_run(tmp_path, None, "a", force=False) as first,
        new_run(tmp_path, None, "a", force=False) as second,
    ):
        assert (first.run.name, second.run.name) == ("a", "a-2")


def test_a_name_is_taken_once(tmp_path):
    with new_run(tmp_path, "a", "x", force=False):
        with (
            pytest.raises(DataError, match="run a exists"),
            new_run(tmp_path, "a", "x", force=False),
        ):
            pass
        with (
            pytest.raises(DataError, match="another training"),
            new_run(tmp_path, "a", "x", force=True),
        ):
            pass
        with (
            pytest.raises(DataError, match="another training"),
            resumed_run(RunFolder(tmp_path / "a")),
        ):
            pass


def test_the_run_to_go_on_with_is_the_one_last_at_work(tmp_path):
    for name, age in (("a", 5), ("b", 1), ("c", 9)):
        run = RunFolder(tmp_path / name)
        run.checkpoints.mkdir(parents=True)
        run.checkpoint.write_text("")
        os.utime(run.checkpoint, (1_700_000_000 - age,) * 2)
    (tmp_path / "d").mkdir()
    assert find_resumable(tmp_path, "last").name == "b"
    assert find_resumable(tmp_path, "c").name == "c"
    with pytest.raises(RunError, match="no checkpoint to go on from"):
        find_resumable(tmp_path, "d")
    with pytest.raises(RunError, match="has a checkpoint to go on from"):
        find_resumable(tmp_path / "none", "last")


def test_a_run_given_as_the_place_one_is_in_has_its_name(tmp_path, monkeypatch):
    finished(tmp_path / "runs", "a", age=1)
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert find_run(tmp_path / "none", ".").name == "a"
    with pytest.raises(RunError, match="no run ''"):
        find_run(tmp_path / "runs", "")
