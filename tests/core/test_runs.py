import os

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.files import write_json
from cxrtool.core.runs import RunFolder, find_resumable, find_run


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


def test_the_run_to_go_on_with_is_the_one_last_at_work(tmp_path):
    for name, age in (("a", 5), ("b", 1), ("c", 9)):
        run = RunFolder(tmp_path / name)
        run.checkpoints.mkdir(parents=True)
        run.checkpoint.write_text("")
        os.utime(run.checkpoint, (1_700_000_000 - age,) * 2)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "history.csv").write_text("")
    assert find_resumable(tmp_path, "last").name == "b"
    assert find_resumable(tmp_path, "c").name == "c"
    with pytest.raises(RunError, match="no checkpoint to go on from"):
        find_resumable(tmp_path, "d")
    with pytest.raises(RunError, match="has a checkpoint to go on from"):
        find_resumable(tmp_path / "none", "last")


def test_what_never_began_can_be_resumed_if_its_settings_are_there(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / ".lock").touch()
    assert run.never_began
    with pytest.raises(RunError, match="killed before its settings were written: give the command"):
        find_resumable(tmp_path, "a")
    with pytest.raises(RunError, match="has a checkpoint to go on from"):
        find_resumable(tmp_path, "last")
    run.config.write_text("")
    for given in ("a", "last"):
        assert find_resumable(tmp_path, given) == run
    run.best(3).touch()
    assert not run.never_began


def test_a_run_given_as_the_place_one_is_in_has_its_name(tmp_path, monkeypatch):
    finished(tmp_path / "runs", "a", age=1)
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert find_run(tmp_path / "none", ".").name == "a"
    with pytest.raises(RunError, match="no run ''"):
        find_run(tmp_path / "runs", "")
