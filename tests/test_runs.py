import os

import pytest

from cxrtool.errors import DataError, RunError, UsageError
from cxrtool.files import write_json
from cxrtool.runs import NewRunFolder, RunFolder, check_new_name, find_run


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


def test_a_new_run_takes_its_name_with_its_first_epoch_and_keeps_the_old_until_then(tmp_path):
    old = finished(tmp_path, "a", age=1)
    with NewRunFolder(tmp_path, "a", "x", force=True) as folder:
        (folder.run.path / "history.csv").write_text("new")
        assert old.finished
        folder.keep()
        assert not old.finished
        assert (old.path / "history.csv").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_before_the_first_epoch_leaves_the_old_run_alone(tmp_path):
    old = finished(tmp_path, "a", age=1)

    def fails():
        with NewRunFolder(tmp_path, "a", "x", force=True):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert old.finished
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_after_the_first_epoch_keeps_what_is_there(tmp_path):
    run = RunFolder(tmp_path / "a")

    def fails():
        with NewRunFolder(tmp_path, None, "a", force=False) as folder:
            folder.keep()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert run.path.is_dir()
    assert not run.finished


def test_two_trainings_at_once_take_two_names(tmp_path):
    first = NewRunFolder(tmp_path, None, "a", force=False)
    second = NewRunFolder(tmp_path, None, "a", force=False)
    with first, second:
        (first.run.path / "who").write_text("first")
        (second.run.path / "who").write_text("second")
        first.keep()
        second.keep()
    assert (tmp_path / "a" / "who").read_text() == "first"
    assert (tmp_path / "a-2" / "who").read_text() == "second"


def test_a_name_is_taken_once(tmp_path):
    first = NewRunFolder(tmp_path, "a", "x", force=False)
    with first, pytest.raises(DataError, match="run a exists"):
        NewRunFolder(tmp_path, "a", "x", force=False).__enter__()


def test_a_run_given_as_the_place_one_is_in_has_its_name(tmp_path, monkeypatch):
    finished(tmp_path / "runs", "a", age=1)
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert find_run(tmp_path / "none", ".").name == "a"
    with pytest.raises(RunError, match="no run ''"):
        find_run(tmp_path / "runs", "")
