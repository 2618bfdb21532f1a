import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cxrtool.cli import app as cli
from cxrtool.cli.app import app
from cxrtool.core import config as config
from tests.conftest import TINY
from tests.support.copies import copy_folder

COMMANDS = {
    "prepare": config.PrepareConfig,
    "split": config.SplitConfig,
    "train": config.TrainConfig,
    "tune": config.TuneConfig,
    "evaluate": config.EvaluateConfig,
    "compare": config.CompareConfig,
    "predict": config.PredictConfig,
    "gui": config.GuiConfig,
    "export": config.ExportConfig,
    "runs": config.RunsConfig,
    "demo": config.DemoConfig,
}
TINY_FLAGS = [
    *("--arch", "resnet18", "--weights", "none", "--image-size", "32", "--batch-size", "16"),
    *("--workers", "0", "--precision", "fp32", "--device", "cpu"),
]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def shell(warm, tmp_path):
    """A command as a user calls it in a folder: its own process, with pipes for both streams."""

    def run(*arguments):
        command = [warm, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_the_commands_are_those_of_the_help():
    assert {command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)


def test_version():
    assert call("--version").output.strip() == f"cxrtool {cli.__version__}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["split"], "cxrtool prepare"),
        (["train"], "cxrtool prepare"),
        (["evaluate"], "cxrtool train"),
        (["predict", "x.jpg"], "cxrtool train"),
        (["prepare"], "no CheXpert data found"),
    ],
)
def test_in_an_empty_folder_each_command_says_what_comes_first(
    tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--arch", "densenet12"], "did you mean densenet121"),
        (["train", "--epochs", "0"], "greater than or equal to 1"),
        (["train", "--epochs", "many"], "valid integer"),
        (["train", "--uncertainty", "maybe"], "maybe"),
        (["split", "--sizes", "90,10"], "three positive numbers"),
        (["train", "--nonsense"], "No such option"),
        (["trian"], "train"),
        (["predict"], "Missing argument"),
    ],
)
def test_wrong_use_is_exit_2_with_a_hint(prepared, arguments, told):
    options = ["-w", prepared.folder] if len(arguments) > 1 and arguments[0] == "split" else []
    done = call(*arguments, *options)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_workspace_comes_from_the_environment(prepared, monkeypatch):
    monkeypatch.setenv("CXRTOOL_WORKSPACE", str(prepared.folder))
    assert "--force" in call("split").stderr


@pytest.fixture
def settings(tmp_path):
    def write(**values):
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_a_files_values_are_defaults_and_flags_win(prepared, settings):
    file = settings(sizes="40,30,30", force=True, seed=5)
    done = call("split", "-w", prepared.folder, "--json", "--config", file)
    assert json.loads(done.stdout)["fractions"]["train"] == pytest.approx(0.4, abs=0.05)
    flags = ["--sizes", "70,15,15"]
    done = call("split", "-w", prepared.folder, "--json", "--config", file, *flags)
    assert json.loads(done.stdout)["fractions"]["train"] == pytest.approx(0.7, abs=0.05)


def test_yamls_off_and_lists_are_taken_as_written(prepared, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("sizes: [40, 30, 30]\nforce: on\n")
    done = call("split", "-w", prepared.folder, "--json", "--config", path)
    assert json.loads(done.stdout)["fractions"]["train"] == pytest.approx(0.4, abs=0.05)
    path.write_text("wandb: off\nlimit: 2\nbatch_size: 5\nweights: none\n")
    done = call("train", "-w", prepared.folder, "--config", path)
    assert "more than the 2 training images" in done.stderr


@pytest.mark.parametrize("runs", ["run: tiny", "run: [tiny]", "run:\n- tiny\n- copy"])
def test_an_option_that_is_given_several_times_is_a_list_in_a_config(trained, runs, tmp_path):
    copy_folder(trained.workspace.runs / "tiny", trained.workspace.runs / "copy")
    image = next(trained.data.rglob("*frontal.jpg"))
    (tmp_path / "c.yaml").write_text(f"{runs}\nengine: torch\ndevice: cpu\n")
    done = call(
        *("predict", image, "-w", trained.workspace.folder, "--json"),
        *("--config", tmp_path / "c.yaml"),
    )
    assert done.exit_code == 0, done.stderr
    names = "tiny + copy" if "copy" in runs else "tiny"
    assert json.loads(done.stdout)["run"] == names


def test_a_runs_config_is_a_file_for_train(trained):
    config = trained.workspace.runs / "tiny" / "config.yaml"
    flags = ["--epochs", "1", "--name", "again", "--device", "cpu", "--workers", "0", "--json"]
    done = call("train", "-w", trained.workspace.folder, "--config", config, *flags)
    assert done.exit_code == 0, done.stderr
    first, again = (
        yaml.safe_load((trained.workspace.runs / name / "config.yaml").read_text())
        for name in ("tiny", "again")
    )
    assert {**first, "epochs": 1} == again


def test_an_unknown_key_is_an_error_with_a_near_name(prepared, settings):
    done = call("split", "-w", prepared.folder, "--config", settings(siezs="40,30,30"))
    assert done.exit_code == 2
    assert "'siezs'" in done.stderr
    assert "did you mean sizes" in done.stderr


@pytest.mark.parametrize("text", ["- a list", "a: [", "just words"])
def test_a_file_that_is_no_settings_is_an_error(prepared, tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = call("split", "-w", prepared.folder, "--config", path)
    assert done.exit_code == 2
    assert "bad.yaml" in done.stderr


def test_a_value_of_the_wrong_kind_in_a_file_is_an_error(prepared, settings):
    done = call("train", "-w", prepared.folder, "--config", settings(epochs="many"))
    assert done.exit_code == 2
    assert "epochs" in done.stderr


def test_debug_shows_the_traceback(shell, tmp_path):
    done = shell("split", "-w", tmp_path, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "DataError" in done.stderr


def test_names_with_markup_are_told_as_they_are(tmp_path):
    done = call("split", "-w", tmp_path / "[bold]x[PA]")
    assert "[bold]x[PA]" in done.stderr


def test_a_full_disk_is_one_message(prepared, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "split.csv")

    monkeypatch.setattr("cxrtool.workflows.split.write_table", full)
    done = call("split", "-w", prepared.folder, "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "split.csv: No space left on device" in done.stderr


def test_no_room_for_temporary_files_is_told_with_the_way_on(prepared, tmp_path, monkeypatch):
    def all_full(*_, **__):
        monkeypatch.setattr(tempfile, "tempdir", None)
        tempfile.mkdtemp()

    gone = str(tmp_path / "gone")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [gone])
    monkeypatch.setattr("cxrtool.workflows.split.write_table", all_full)
    done = call("split", "-w", prepared.folder, "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the system" not in done.stderr
    assert "gone" in done.stderr
    assert "TMPDIR" in done.stderr


def test_ctrl_c_is_exit_130(prepared, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrtool.workflows.split.write_table", interrupted)
    done = call("split", "-w", prepared.folder, "--force")
    assert done.exit_code == 130


def test_a_bug_keeps_its_traceback(prepared, monkeypatch):
    def bug(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("cxrtool.workflows.split.write_table", bug)
    assert isinstance(call("split", "-w", prepared.folder, "--force").exception, ZeroDivisionError)


JSON_KEYS = {
    "prepare": {
        *("rows", "images", "patients", "sex", "view", "orientation", "labels", "problems"),
        *("mean", "std", "seconds"),
    },
    "split": {"sizes", "fractions", "patients_in_two_splits", "ld", "lpd", "seconds"},
    "train": {"run", "epochs", "best_epoch", "valid_mean_auroc", "images_per_second", "seconds"},
    "evaluate": {"protocol", "unit", "n", "mean_auroc", "defined", "labels", "subgroups"},
    "predict": {"images", "failed", "seconds", "images_per_second", "output"},
}


@pytest.mark.slow
def test_the_chain_as_a_user_types_it(drawn, shell, tmp_path, monkeypatch):
    """In an empty folder, with pipes: each command names the next; JSON is alone on stdout."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "CheXpert-v1.0-small").symlink_to(drawn.folder)
    image = next((drawn.folder / "valid").rglob("*frontal.jpg"))
    train = ["train", *TINY_FLAGS, "--epochs", "1"]
    lines = [
        (["prepare"], "cxrtool split"),
        (["split", "--sizes", "60,20,20"], "cxrtool train"),
        (train, "cxrtool evaluate"),
        (["evaluate", "--workers", "0", "--device", "cpu"], "cxrtool predict"),
        (["predict", image], "Research software"),
    ]
    for arguments, told in lines:
        done = shell(*arguments)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
        assert "\x1b" not in done.stdout + done.stderr
        tables = [line for line in done.stdout.splitlines() if "  " in line.strip()]
        assert all(len(line) <= 80 for line in tables), done.stdout
    for arguments, _ in lines:
        again = [*arguments, "--json"] + (["--force"] if arguments[0] == "split" else [])
        if arguments[0] == "train":  # which has the most to say that is no JSON
            done = shell(*again)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(tmp_path)
            done = call(*again)
            assert done.exit_code == 0, done.stderr
        assert JSON_KEYS[arguments[0]] <= set(json.loads(done.stdout))


def test_verbose_says_more_in_every_command(trained, tmp_path):
    image = next((trained.data / "valid").rglob("*frontal.jpg"))
    data = shutil.copytree(trained.data, tmp_path / "data")
    broken = next((data / "valid").rglob("*frontal.jpg"))
    broken.write_bytes(b"x")
    once = [*TINY_FLAGS, "--epochs", "1", "--limit", "40", "--name", "v"]
    told = {
        "prepare": ([data, "--workers", "0"], str(broken.relative_to(data))),
        "split": (["--force"], "seed 42, by patient"),
        "train": (once, "Edema: valid AUROC"),
        "evaluate": (["v", "--device", "cpu", "--workers", "0"], "trained on"),
        "predict": ([image, "--run", "v", "--device", "cpu"], "1 image in batches of"),
    }
    for name, (arguments, words) in told.items():
        done = call(name, *arguments, "-w", trained.workspace.folder, "-v")
        assert done.exit_code == 0, done.stderr
        assert words in done.stderr, name


def test_predict_exits_1_when_an_image_failed(trained_once, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"x")
    good = next((trained_once.data / "valid").rglob("*frontal.jpg"))
    done = call("predict", good, tmp_path / "bad.jpg", "-w", trained_once.workspace.folder)
    assert done.exit_code == 1
    assert "not a JPEG" in done.stdout
    assert "1 of 2 images" in done.stderr
    assert "probability" in done.stdout


def test_many_images_are_csv_on_stdout(trained_once):
    folder = Path(trained_once.data / "valid")
    done = call("predict", folder, "-w", trained_once.workspace.folder)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("path,No Finding,")
    assert len(lines) == 1 + len(list(folder.rglob("*.jpg")))


def test_many_images_on_a_terminal_are_a_list(trained_once, monkeypatch):
    monkeypatch.setattr("cxrtool.cli.show.predictions.on_terminal", lambda: True)
    folder = Path(trained_once.data / "valid")
    done = call("predict", folder, "-w", trained_once.workspace.folder)
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        str(p) for p in sorted(folder.rglob("*.jpg"))
    ]
    assert "--output CSV" in lines[-1]


def test_tiny_flags_are_the_tiny_config():
    pairs = dict(zip(TINY_FLAGS[::2], TINY_FLAGS[1::2], strict=True))
    for flag, value in pairs.items():
        assert str(getattr(TINY, flag[2:].replace("-", "_"))) == value
