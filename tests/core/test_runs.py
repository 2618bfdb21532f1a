import os

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.json_files import write_json
from cxrtool.core.runs import RunFolder, best_trial, find_resumable, find_run, trials_among
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.runs import list_runs

HEAD = "trial,state,valid_mean_auroc,best_epoch,seconds,run,reason,lr"


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
    with pytest.raises(RunError, match="no checkpoint to resume from"):
        find_resumable(tmp_path, "d")
    with pytest.raises(RunError, match="has a checkpoint to resume from"):
        find_resumable(tmp_path / "none", "last")


def test_what_never_began_can_be_resumed_if_its_settings_are_there(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / ".lock").touch()
    assert run.never_began
    with pytest.raises(RunError, match="killed before its settings were written: give the command"):
        find_resumable(tmp_path, "a")
    with pytest.raises(RunError, match="has a checkpoint to resume from"):
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


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


def finish(workspace, name, **environment):
    run = RunFolder(workspace.runs / name)
    write_json(run.environment, environment)
    write_json(run.model, {"finished": f"2026-01-01T00:00:0{len(name)}+00:00"})
    return run


def table(workspace, study, *rows):
    folder = workspace.studies / study
    folder.mkdir(parents=True)
    (folder / "trials.csv").write_text("\n".join([HEAD, *rows, ""]))
    return folder


def test_after_a_search_the_run_before_it_is_still_the_last_one(workspace):
    mine = finish(workspace, "mine", study=None)
    for number in (1, 2, 3):
        finish(workspace, f"search-0{number}", study="search")
    assert find_run(workspace.runs, None) == find_run(workspace.runs, "last") == mine
    assert find_run(workspace.runs, "search-02").name == "search-02"
    mine.checkpoint.parent.mkdir()
    mine.checkpoint.touch()
    other = RunFolder(workspace.runs / "search-03")
    other.checkpoint.parent.mkdir()
    other.checkpoint.touch()
    assert find_resumable(workspace.runs, "last") == mine


def test_what_version_0_1_searched_is_known_by_the_studys_table(workspace):
    mine = finish(workspace, "mine")
    for number in (1, 2):
        finish(workspace, f"old-0{number}")
    table(workspace, "old", "1,finished,0.7,2,1.0,old-01,,0.1", "2,failed,,,1.0,old-02,no,0.2")
    folders = list(workspace.runs.glob("*/"))
    assert trials_among(folders) == {"old-01": "old", "old-02": "old"}
    assert find_run(workspace.runs, None) == mine
    # A training of the user's own that replaced a trial is theirs, and says so.
    finish(workspace, "old-01", study=None)
    assert trials_among(folders) == {"old-02": "old"}


def test_where_all_runs_are_trials_the_best_is_named_and_none_is_taken(workspace):
    for number in (1, 2, 3):
        finish(workspace, f"s-0{number}", study="s")
    rows = ["1,finished,0.7,2,1.0,s-01,,1", "2,finished,0.9,2,1,s-02,,1", "3,finished,,2,1,s-03,,1"]
    folder = table(workspace, "s", *rows)
    assert best_trial(folder, ["s-01", "s-02", "s-03"]) == "s-02"
    assert best_trial(folder, ["s-01"]) == "s-01"
    with pytest.raises(RunError, match=r"name a run \(s-02 is the best of study s\)"):
        find_run(workspace.runs, None)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a,b\n1,2\n", b"run\n\x00", None])
def test_a_table_that_cannot_be_read_makes_no_run_a_trial(workspace, content):
    mine = finish(workspace, "mine")
    path = workspace.studies / "s" / "trials.csv"
    path.parent.mkdir(parents=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert find_run(workspace.runs, None) == mine
    assert best_trial(path.parent, ["mine"]) is None


def test_runs_says_which_are_trials(workspace):
    finish(workspace, "a", study=None)
    finish(workspace, "b", study="s")
    assert {run.run: run.study for run in list_runs(workspace)} == {"a": None, "b": "s"}


def test_a_near_name_of_a_run_is_offered(tmp_path):
    for name in ("baseline", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(RunError, match=r"\(did you mean baseline\?\); there are: baseline, other"):
        find_run(tmp_path / "runs", "baselin")
