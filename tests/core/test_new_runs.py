import pytest
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.new_runs import check_new_name, new_run, put_back, resumed_run
from cxrtool.core.runs import RunFolder
from tests.core.test_runs import finished


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
    finished(tmp_path, "b", age=1)
    with (
        pytest.raises(DataError, match="run b exists"),
        new_run(tmp_path, "b", "x", force=False),
    ):
        pass
    with new_run(tmp_path, "a", "x", force=False):
        with (
            pytest.raises(DataError, match="another training"),
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


def killed_as_it_began(runs, name, **files):
    """What a kill leaves before the first checkpoint; the system lets go of the lock."""
    run = RunFolder(runs / name)
    run.checkpoints.mkdir(parents=True)
    for path in (run.checkpoints / ".lock", run.checkpoints / ".last-x1.safetensors"):
        path.touch()
    for file, text in files.items():
        (run.path / file.replace("_", ".")).write_text(text)
    return run


@pytest.mark.parametrize("name", ["a", None])
@pytest.mark.parametrize("force", [False, True])
def test_the_name_of_a_run_that_never_began_is_free(tmp_path, name, force):
    killed_as_it_began(tmp_path, "a", config_yaml="x")
    with new_run(tmp_path, name, "a", force=force) as opened:
        assert (opened.run.name, opened.again, opened.older) == ("a", True, None)
        opened.settle()
    with new_run(tmp_path, None, "b", force=False) as opened:
        assert not opened.again


def test_a_folder_with_anything_else_in_it_is_no_run_that_never_began(tmp_path):
    for file in ("history.csv", "notes.txt", "checkpoint/last.safetensors"):
        run = killed_as_it_began(tmp_path, "a")
        (run.path / file).touch()
        with (
            pytest.raises(DataError, match="run a exists"),
            new_run(tmp_path, "a", "x", force=False),
        ):
            pass
        (run.path / file).unlink()
        (run.checkpoints / ".lock").unlink()
        (run.checkpoints / ".last-x1.safetensors").unlink()
        run.checkpoints.rmdir()
        run.path.rmdir()


def test_a_run_that_was_to_be_replaced_is_there_again_unless_the_new_one_began(tmp_path):
    for name in ("absent", "never", "begun"):
        finished(tmp_path, f".{name}-replaced-5", age=1)
    killed_as_it_began(tmp_path, "never", config_yaml="x")
    new = killed_as_it_began(tmp_path, "begun")
    new.checkpoint.touch()
    found = put_back(tmp_path)
    assert found.back == ["absent", "never"]
    assert found.aside == [("begun", tmp_path / ".begun-replaced-5")]
    assert RunFolder(tmp_path / "absent").finished
    assert RunFolder(tmp_path / "never").finished
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".begun-replaced-5", "absent", "begun", "never"),
    ]


def test_a_run_that_is_being_replaced_stays_aside(tmp_path):
    finished(tmp_path, "a", age=1)
    with new_run(tmp_path, "a", "x", force=True):
        found = put_back(tmp_path)
        assert (found.back, found.aside) == ([], [])
        assert not RunFolder(tmp_path / "a").finished


def test_what_is_replaced_twice_before_a_step_is_the_first_run(tmp_path):
    """Killed with a checkpoint of step 0 and forced again: the run from before both is kept."""
    finished(tmp_path, ".a-replaced-5", age=1)
    killed_as_it_began(tmp_path, "a").checkpoint.touch()

    def fails():
        with new_run(tmp_path, "a", "x", force=True):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert RunFolder(tmp_path / "a").finished


def test_the_next_command_says_what_became_of_a_run_that_was_to_be_replaced(tmp_path):
    runs = tmp_path / "cxr" / "runs"
    for name in ("never", "begun"):
        finished(runs, f".{name}-replaced-5", age=1)
    killed_as_it_began(runs, "begun").checkpoint.touch()
    told = CliRunner().invoke(app, ["runs", "-w", str(tmp_path / "cxr")]).stderr
    told = " ".join(told.split())
    assert "run never is restored" in told
    assert f"{runs / '.begun-replaced-5'}" in told.replace(" ", "")
    assert f"`cxrtool train --resume begun -w {tmp_path / 'cxr'}`" in told
    assert (runs / "never" / "model.json").is_file()
