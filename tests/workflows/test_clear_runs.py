import json

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.json_files import write_json
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder, find_resumable
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.clear_runs import remove_runs, size_of, slim_runs
from cxrtool.workflows.runs import list_runs

MB = 1_000_000


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


def begin(workspace, name, megabytes=2):
    run = RunFolder(workspace.runs / name)
    run.checkpoints.mkdir(parents=True)
    run.checkpoint.write_bytes(bytes(megabytes * MB))
    return run


def finish(workspace, name):
    run = begin(workspace, name)
    run.graphs.mkdir()
    (run.graphs / "a.onnx").write_bytes(bytes(MB))
    run.weights.write_bytes(bytes(MB))
    write_json(run.model, {"finished": "2026-01-01T00:00:00+00:00"})
    # Writers were killed: version 0.1's, and a later one's.
    left = [run.path / ".model-abcdefgh.safetensors", run.path / ".model-part-abcdefgh" / "model"]
    left[1].parent.mkdir()
    for path in left:
        path.write_bytes(bytes(MB // 2))
    return run


def test_what_is_named_goes_whole_and_nothing_else(workspace):
    for name in ("a", "b", "c"):
        finish(workspace, name)
    done = remove_runs(workspace, ["a", str(workspace.runs / "b"), "a"])
    assert list(done.freed) == ["a", "b"]
    assert all(5 * MB < size < 5 * MB + 1000 for size in done.freed.values())
    assert [path.name for path in workspace.runs.iterdir()] == ["c"]


@pytest.mark.parametrize("other", ["nobody", "last", "../cxr", ".", "", "/", "x/a", ".hidden"])
def test_unless_all_names_are_runs_of_the_workspace_none_goes(workspace, other):
    finish(workspace, "a")
    (workspace.runs / ".hidden").mkdir()
    (workspace.folder / "manifest.csv").touch()
    with pytest.raises(RunError, match=r"no run .*there are a"):
        remove_runs(workspace, ["a", other])
    assert (workspace.runs / "a" / "model.safetensors").is_file()
    assert (workspace.folder / "manifest.csv").is_file()


def test_rm_names_what_it_removes_and_offers_near_names(workspace):
    finish(workspace, "baseline")
    with pytest.raises(UsageError, match="name the runs"):
        remove_runs(workspace, [])
    with pytest.raises(RunError, match=r"'baselin' \(did you mean baseline"):
        remove_runs(workspace, ["baselin"])


def test_a_run_at_work_is_left_alone(workspace):
    run = begin(workspace, "a")
    done = finish(workspace, "b")
    with FileLock(run.checkpoints / ".lock"), pytest.raises(DataError, match="another training"):
        remove_runs(workspace, ["a"])
    with FileLock(done.checkpoints / ".lock"), pytest.raises(DataError, match="another training"):
        slim_runs(workspace, [])
    assert run.checkpoint.is_file()
    assert done.checkpoint.is_file()


def test_a_link_goes_and_what_it_leads_to_stays(workspace, tmp_path):
    elsewhere = finish(Workspace(tmp_path / "other"), "a")
    workspace.runs.mkdir(parents=True)
    (workspace.runs / "a").symlink_to(elsewhere.path)
    remove_runs(workspace, ["a"])
    assert list(workspace.runs.iterdir()) == []
    assert elsewhere.finished


def test_what_a_kill_left_of_a_removal_goes_with_the_next(workspace):
    finish(workspace, "a")
    (workspace.runs / ".z-removed-1").mkdir()
    remove_runs(workspace, ["a"])
    assert list(workspace.runs.iterdir()) == []


def test_slim_keeps_all_that_scoring_reads(trained):
    runs = trained.workspace.runs
    run = RunFolder(runs / trained.run)
    run.checkpoints.mkdir(exist_ok=True)
    run.checkpoint.unlink(missing_ok=True)  # other workspaces have it, too
    run.checkpoint.write_bytes(bytes(MB))
    before = {path for path in run.path.rglob("*") if path.is_file()}
    done = slim_runs(trained.workspace, [])
    gone = {path for path in before if not path.exists()}
    assert done.freed[run.name] >= MB
    assert {path.parent.name for path in gone} <= {"checkpoint", "graphs"}
    assert not run.checkpoints.exists()
    assert read_card(run).labels
    with pytest.raises(RunError, match="no checkpoint"):
        find_resumable(runs, run.name)
    assert slim_runs(trained.workspace, []).freed == {}


def test_slim_frees_what_runs_says_and_leaves_unfinished_ones(workspace):
    finish(workspace, "a")
    finish(workspace, "b")
    half = begin(workspace, "half")
    listed = {run.run: run for run in list_runs(workspace)}
    assert listed["half"].spare_bytes == 0
    assert listed["half"].bytes == size_of(half.path) == 2 * MB
    write_json(RunFolder(workspace.runs / "a").labels, {})
    done = slim_runs(workspace, ["a"])
    assert done.freed == {"a": 4 * MB}
    assert (done.left, half.checkpoint.is_file()) == ((), True)
    done = slim_runs(workspace, [])
    assert (done.freed, done.left) == ({"b": 4 * MB}, ("half",))
    assert half.checkpoint.is_file()


def test_the_commands_say_how_much_is_free_again(workspace):
    finish(workspace, "a")

    def call(*arguments):
        done = CliRunner().invoke(app, ["runs", *arguments, "-w", str(workspace.folder)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "5.0 MB" in call()
    [run] = json.loads(call("--json"))["runs"]
    assert 5 * MB < run["bytes"] < 5 * MB + 1000
    assert "slimmed: a, 4.0 MB\n4.0 MB freed" in call("slim")
    assert json.loads(call("rm", "a", "--json"))["action"] == "rm"
    assert (
        "there is none"
        in CliRunner().invoke(app, ["runs", "rm", "a", "-w", str(workspace.folder)]).stderr
    )
    assert CliRunner().invoke(app, ["runs", "remove", "a"]).exit_code == 2


def test_a_hidden_file_of_the_users_is_nobodys_leftover(workspace):
    run = finish(workspace, "a")
    mine = [run.path / ".notes-of-mine", run.path / ".keep-thisfile", run.path / ".a-b.txt"]
    for path in mine:
        path.write_text("mine")
    slim_runs(workspace, [])
    assert not (run.path / ".model-abcdefgh.safetensors").exists()
    assert all(path.read_text() == "mine" for path in mine)
