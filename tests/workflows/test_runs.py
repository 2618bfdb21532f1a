import json
import os
import shutil
from datetime import datetime

import pytest
import yaml
from filelock import FileLock
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.cli.show import results as show
from cxrtool.core.config import CommonConfig
from cxrtool.core.json_files import write_json
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.runs import list_runs

NOON = datetime(2026, 3, 1, 12, 0).astimezone()
SETTINGS = {
    "recipe": "report",
    "arch": "densenet121",
    "uncertainty": "ones",
    "blank": "zeros",
    "epochs": 10,
    "fold": None,
    "validations": 1,
}
MODEL = {"epochs": 7, "best_epoch": 5, "valid_mean_auroc": 0.8761}
JSONS = ("environment.json", "labels.json", "thresholds.json", "model.json", "metrics/test.json")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "cxr")


def begin(workspace, name, scores=(), minutes=0, **settings):
    """A run that was stopped; `scores` holds an epoch and a mean AUROC a validation."""
    run = RunFolder(workspace.runs / name)
    run.checkpoints.mkdir(parents=True)
    run.config.write_text(yaml.safe_dump({**SETTINGS, **settings}))
    write_json(run.environment, {})
    if scores:
        rows = [f"{epoch},all,{score}" for epoch, score in scores]
        run.history.write_text("\n".join(["epoch,phase,valid_mean_auroc", *rows, ""]))
    date(run.checkpoint, minutes)
    return run


def finish(workspace, name, test=None, minutes=0, model=None, **settings):
    """A finished run, scored on test if `test` is given."""
    run = begin(workspace, name, [(1, 0.5)], **settings)
    shutil.rmtree(run.checkpoints)
    for path in (run.labels, run.thresholds, run.patients):
        write_json(path, {})
    run.weights.touch()
    write_json(run.model, {**MODEL, **(model or {})})
    if test is not None:
        write_json(run.metrics("test"), {"mean_auroc": test})
    date(run.model, minutes)
    return run


def date(path, minutes):
    path.touch()
    seconds = NOON.timestamp() + 60 * minutes
    os.utime(path, (seconds, seconds))


def only(workspace):
    [run] = list_runs(workspace)
    return run


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None, done.output
    return done.stdout


def printed(workspace, capsys):
    show.listed(list_runs(workspace), workspace, CommonConfig(workspace=workspace.folder))
    return capsys.readouterr().out


def test_a_finished_run_tells_its_settings_and_scores(workspace):
    finish(workspace, "one", test=0.8641, uncertainty="mixed", blank="ignore", fold=3)
    run = only(workspace)
    assert (run.run, run.state, run.problems) == ("one", "finished", ())
    assert (run.recipe, run.arch, run.policy, run.fold) == (
        "report",
        "densenet121",
        "mixed, blank ignore",
        3,
    )
    assert (run.epochs, run.epochs_asked, run.best_epoch) == (7, 10, 5)
    assert (run.valid_mean_auroc, run.test_mean_auroc) == (0.8761, 0.8641)
    assert run.written == NOON


def test_a_run_that_training_left_is_finished(trained):
    run = only(trained.workspace)
    model = json.loads((trained.workspace.runs / "tiny" / "model.json").read_text())
    assert (run.run, run.state, run.problems) == ("tiny", "finished", ())
    assert (run.recipe, run.arch, run.policy) == ("report", "resnet18", "ones")
    assert (run.epochs, run.epochs_asked) == (2, 2)
    assert (run.best_epoch, run.valid_mean_auroc) == (
        model["best_epoch"],
        model["valid_mean_auroc"],
    )


def test_blank_zeros_go_without_saying(workspace):
    finish(workspace, "one", uncertainty="ignore")
    assert only(workspace).policy == "ignore"


def test_the_model_knows_its_recipe_better_than_the_settings(workspace):
    finish(workspace, "one", model={"recipe": "ours"})
    assert only(workspace).recipe == "ours"


def test_settings_without_recipe_and_of_older_versions_are_read(workspace):
    run = begin(workspace, "one", [(1, 0.6)])
    old = ("arch", "uncertainty", "epochs")
    run.config.write_text(yaml.safe_dump({key: SETTINGS[key] for key in old}))
    found = only(workspace)
    assert (found.state, found.recipe, found.policy, found.epochs) == (
        "unfinished",
        None,
        "ones",
        1,
    )


def test_the_newest_run_is_the_last_and_the_last_finished_is_the_one_that_others_take(workspace):
    for name, minutes in (("c", 1), ("a", 3), ("b", 2)):
        finish(workspace, name, minutes=minutes)
    begin(workspace, "d", minutes=4)
    begin(workspace, "e", minutes=0)
    # Scores that come later do not make a training younger.
    write_json(RunFolder(workspace.runs / "c").metrics("test"), {"mean_auroc": 0.9})
    runs = list_runs(workspace)
    assert [run.run for run in runs] == ["e", "c", "b", "a", "d"]
    finished = [run.run for run in runs if run.state == "finished"]
    assert finished[-1] == find_run(workspace.runs, None).name


def test_of_several_validations_an_epoch_whole_epochs_count_and_the_first_best_one_is_best(
    workspace,
):
    scores = [(1, ""), (1, 0.7), (2, 0.9), (2, 0.8), (3, 0.9)]
    begin(workspace, "one", scores, validations=2)
    run = only(workspace)
    assert (run.state, run.epochs, run.epochs_asked) == ("unfinished", 2, 10)
    assert (run.best_epoch, run.valid_mean_auroc) == (2, 0.9)


def test_validations_without_any_score_have_no_best(workspace):
    begin(workspace, "one", [(1, ""), (2, "")])
    run = only(workspace)
    assert (run.state, run.epochs) == ("unfinished", 2)
    assert (run.best_epoch, run.valid_mean_auroc) == (None, None)


def test_a_run_killed_before_its_first_validation_has_done_no_epoch(workspace):
    begin(workspace, "one")
    run = only(workspace)
    assert (run.state, run.epochs) == ("unfinished", 0)
    assert (run.best_epoch, run.valid_mean_auroc) == (None, None)


def test_what_was_killed_before_its_first_checkpoint_can_be_resumed(workspace):
    run = begin(workspace, "one")
    run.checkpoint.unlink()
    run.environment.unlink()
    assert (only(workspace).state, only(workspace).epochs) == ("unfinished", 0)
    run.config.unlink()
    assert (only(workspace).state, only(workspace).problems) == (
        "broken",
        ("config.yaml is missing",),
    )


def test_without_model_and_checkpoint_a_run_is_broken(workspace):
    run = begin(workspace, "one")
    run.checkpoint.unlink()
    run.best(3).touch()
    run = only(workspace)
    assert run.state == "broken"
    assert run.problems == (
        "neither model.json nor checkpoint/last.safetensors is there: train again",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "environment.json", "labels.json", "thresholds.json"),
        *("patients.json", "model.safetensors"),
    ],
)
def test_a_finished_run_without_a_file_is_broken_and_says_which(workspace, name):
    run = finish(workspace, "one", test=0.9)
    (run.path / name).unlink()
    found = only(workspace)
    assert (found.state, found.problems) == ("broken", (f"{name} is missing",))
    assert (found.valid_mean_auroc, found.test_mean_auroc) == (0.8761, 0.9)


DAMAGES = {
    "nothing": b"",
    "half": b'{"format": 1, "epo',
    "a list": b"[1, 2]",
    "another format": b'{"format": 2}',
    "no UTF-8": b"\xff\xfe\x00ab",
    "control characters": b"\x00\x01\x02",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.yaml", *JSONS])
def test_a_file_that_cannot_be_read_is_named(workspace, name, damage):
    run = finish(workspace, "one", test=0.9)
    (run.path / name).write_bytes(DAMAGES[damage])
    found = only(workspace)
    assert found.state == "broken"
    [problem] = found.problems
    assert problem.startswith(name)
    assert "\n" not in problem
    assert str(run.path) not in problem


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", {**SETTINGS, "epochs": "ten"}),
        ("config.yaml", {**SETTINGS, "epochs": float("inf")}),
        ("config.yaml", {**SETTINGS, "arch": None, "epochs": None}),
        ("config.yaml", {"arch": "resnet18"}),
        ("model.json", {"format": 1, **MODEL, "best_epoch": None}),
        ("model.json", {"format": 1}),
        ("metrics/test.json", {"format": 1, "mean_auroc": "high"}),
    ],
)
def test_a_value_that_is_none_is_named(workspace, name, content):
    run = finish(workspace, "one", test=0.9)
    text = yaml.safe_dump(content) if name.endswith("yaml") else json.dumps(content)
    (run.path / name).write_text(text)
    found = only(workspace)
    assert found.state == "broken"
    assert found.problems[0].startswith(name)


@pytest.mark.parametrize(
    "content",
    [
        b"epoch\n1\n",
        b"epoch,valid_mean_auroc\n1\n\x00,2\n",
        b"epoch,valid_mean_auroc\n1," + b"7" * 200_000,
        b"\xff\xfe",
        b"a,b\n1,2\n",
    ],
)
def test_a_history_that_cannot_be_read_is_named(workspace, content):
    begin(workspace, "one").history.write_bytes(content)
    found = only(workspace)
    assert found.state == "broken"
    assert found.problems[0].startswith("history.csv ")


def test_validations_of_zero_are_no_crash(workspace):
    begin(workspace, "one", [(1, 0.5)], validations=0)
    assert only(workspace).state == "broken"


def test_a_broken_run_does_not_hide_the_others(workspace):
    finish(workspace, "good")
    (workspace.runs / "empty").mkdir()
    (workspace.runs / ".replaced").mkdir()
    (workspace.runs / "notes.txt").touch()
    assert {run.run: run.state for run in list_runs(workspace)} == {
        "good": "finished",
        "empty": "broken",
    }


def test_a_run_at_work_is_neither_broken_nor_to_be_resumed(workspace, capsys):
    run = begin(workspace, "one")
    run.checkpoint.unlink()
    with FileLock(run.checkpoints / ".lock"):
        assert (only(workspace).state, only(workspace).problems) == ("training", ())
        assert "--resume" not in printed(workspace, capsys)


def test_a_lock_that_a_killed_training_left_holds_nothing(workspace):
    run = begin(workspace, "one")
    (run.checkpoints / ".lock").touch()
    assert only(workspace).state == "unfinished"
    with FileLock(run.checkpoints / ".lock", timeout=0):
        pass


def test_listing_changes_no_file(workspace):
    finish(workspace, "one", test=0.9)
    begin(workspace, "two", [(1, 0.5)])

    def state():
        paths = sorted(workspace.folder.rglob("*"))
        return [(path, path.stat().st_mtime_ns) for path in paths]

    before = state()
    list_runs(workspace)
    assert state() == before


def test_scores_that_are_not_defined_are_null(workspace):
    finish(workspace, "one", model={"valid_mean_auroc": None})
    run = finish(workspace, "two")
    run.metrics("test").parent.mkdir()
    run.metrics("test").write_text('{"format": 1, "mean_auroc": NaN}')
    told = json.loads(call("runs", "-w", workspace.folder, "--json"), parse_constant=pytest.fail)
    assert told["runs"][0]["valid_mean_auroc"] is None
    assert told["runs"][1]["test_mean_auroc"] is None


def test_json_is_one_object_with_a_run_each(workspace):
    finish(workspace, "one", test=0.75)
    begin(workspace, "two", minutes=1)
    told = json.loads(call("runs", "-w", workspace.folder, "--json"))
    assert [run["run"] for run in told["runs"]] == ["one", "two"]
    one = told["runs"][0]
    assert datetime.fromisoformat(one.pop("written")) == NOON
    assert one == {
        "run": "one",
        "study": None,
        "state": "finished",
        "problems": [],
        "recipe": "report",
        "arch": "densenet121",
        "uncertainty": "ones",
        "blank": "zeros",
        "fold": None,
        "epochs": 7,
        "epochs_asked": 10,
        "fitted": False,
        "best_epoch": 5,
        "valid_mean_auroc": 0.8761,
        "test_mean_auroc": 0.75,
        "bytes": one["bytes"],
        "spare_bytes": 0,
    }


def test_no_runs_are_a_sentence_or_an_empty_list(workspace):
    text = call("runs", "-w", workspace.folder)
    assert text == (
        f"there is no workspace {workspace.folder}\nnext: cxrtool train -w {workspace.folder}\n"
    )
    assert json.loads(call("runs", "-w", workspace.folder, "--json")) == {"runs": []}
    assert not workspace.folder.exists()


def test_the_table_shows_a_run_in_two_lines(workspace, capsys):
    finish(workspace, "densenet121-mixed-fold0", test=0.8641, uncertainty="mixed", fold=0)
    lines = printed(workspace, capsys).splitlines()
    assert lines[0].split() == ["run", "epochs", "best", "valid", "test", "state"]
    assert lines[2].split() == [
        *("densenet121-mixed-fold0", "7/10", "5"),
        *("0.876", "0.864", "finished"),
    ]
    assert lines[3] == "  report, densenet121, mixed, fold 0, 2026-03-01 12:00, 0.0 MB"
    for heading, shown in (("epochs", "7/10"), ("valid", "0.876"), ("test", "0.864")):
        end = lines[0].index(heading) + len(heading)
        assert lines[2][:end].endswith(shown)


def test_the_table_fits_eighty_columns_and_cuts_nothing(workspace, capsys):
    policy = "ones,Consolidation=zeros,Pleural Effusion=smooth-zeros,Cardiomegaly=ignore"
    finish(
        workspace,
        "x" * 39,
        test=0.5,
        uncertainty=policy,
        blank="ignore",
        epochs=100,
        model={"epochs": 100, "best_epoch": 100},
        arch="efficientnet_v2_s",
    )
    begin(workspace, "y" * 39, epochs=100)
    long = finish(workspace, "a-long-name-" * 10)
    long.metrics("test").parent.mkdir()
    long.metrics("test").write_text("{")
    text = printed(workspace, capsys)
    *lines, following = text.splitlines()
    assert following.startswith("next: ")
    assert long.name in lines
    assert max(len(line) for line in lines if line != long.name) <= 80
    told = " ".join(text.split())
    assert f"report, efficientnet_v2_s, {policy}, blank ignore, 2026-03-01 12:00" in told
    assert "metrics/test.json cannot be read" in told
    assert "…" not in text
    assert all(line == line.rstrip() for line in lines)


def test_the_next_command_is_the_one_that_a_run_waits_for(workspace, capsys):
    def following():
        return printed(workspace, capsys).splitlines()[-1]

    there = f"-w {workspace.folder}"
    finish(workspace, "scored", test=0.9, minutes=1)
    assert following() == f"next: cxrtool predict IMAGE --run scored {there}"
    finish(workspace, "my run", minutes=0)
    assert following() == f"next: cxrtool evaluate 'my run' {there}"
    begin(workspace, "half", minutes=2)
    begin(workspace, "older half", minutes=0)
    assert following() == f"next: cxrtool train --resume half {there}"
