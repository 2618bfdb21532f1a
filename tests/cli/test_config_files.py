"""Files of defaults, and recipes."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
import yaml

from cxrtool.core.config import RECIPES, TrainConfig
from cxrtool.core.errors import UsageError
from cxrtool.core.files import sha256
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.train import train_model
from tests.conftest import TINY
from tests.support.calling import call
from tests.support.copies import copy_folder


def test_a_files_numbers_have_the_same_ends(tmp_path):
    for number, (key, value) in enumerate(
        {"lr": ".inf", "epochs": "1e9", "warmup": "1e9", "image_size": "100000"}.items()
    ):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"{key}: {value}\n")
        for option in ("--config", "--recipe"):
            done = call("train", option, file)
            assert done.exit_code == 2
            assert f"--{key.replace('_', '-')}" in done.stderr
            assert f"(in {file})" in done.stderr.replace("\n", " ").replace("  ", " ")
        flag = f"--{key.replace('_', '-')}"
        assert f"{file}" not in call("train", "--config", file, flag, value).stderr


def test_all_keys_that_are_none_are_told_at_once_each_with_what_was_meant(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("learning_rate: 1\nepcohs: 3\nzzz: 1\nimage-size: 3\nepochs: 3\n")
    told = " ".join(call("train", "--config", file).stderr.split())
    assert (
        "4 keys are not known: 'learning_rate' (did you mean lr?), 'epcohs' (did you mean "
        "epochs?), 'zzz', 'image-size' (did you mean image_size?)"
    ) in told


@pytest.mark.parametrize("name", ["1.10", "2024_01", "yes", "off", "null_", "0x10", "1:30", "~x"])
def test_a_name_in_a_file_is_the_text_that_stands_there(tmp_path, name, monkeypatch):
    seen = []
    monkeypatch.setattr(Workspace, "need", lambda self, path, command: seen.append(self) or path)
    monkeypatch.setattr(
        "cxrtool.workflows.train_dry_run.plan_training",
        lambda settings, *_, **__: seen.append(settings) or (_ for _ in ()).throw(UsageError("x")),
    )
    file = tmp_path / "c.yaml"
    file.write_text(f"name: {name}\ndry_run: yes\nwandb: off\nlr: 1e-3\nfold:\nlabels: null\n")
    assert call("train", "--config", file).exit_code == 2
    given = seen[-1]
    assert (given.name, given.dry_run, given.wandb, given.lr) == (name, True, "off", 1e-3)
    assert (given.fold, given.labels) == (None, None)


def test_a_key_twice_is_an_error(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("lr: 1\nepochs: 3\nlr: 2\n")
    done = call("train", "--config", file)
    assert done.exit_code == 2
    assert "lr occurs twice" in done.stderr


def test_the_tilde_is_the_home_folder_in_files_variables_and_options(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "c.yaml"
    file.write_text("workspace: ~/x\n")
    here = str(tmp_path / "home" / "x")
    assert here in call("split", "--config", file).stderr
    assert here in call("split", CXRTOOL_WORKSPACE="~/x").stderr
    assert here in call("split", "--workspace=~/x").stderr
    assert here in call("prepare", CXRTOOL_DATA="~/x").stderr
    (tmp_path / "home").mkdir()
    shutil.copy(file, tmp_path / "home" / "c.yaml")
    assert here in call("split", "--config=~/c.yaml").stderr
    assert not (tmp_path / "~").exists()


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


@pytest.mark.usefixtures("quick_training")
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


@pytest.fixture
def asked(prepared_once, monkeypatch):
    """What `train` is asked for by flags; nothing is trained."""
    seen = {}

    def note(config, workspace, *, seed, given, reporter):
        seen.update(config=config, seed=seed, given=given)
        return SimpleNamespace(writes=False)

    monkeypatch.setattr("cxrtool.workflows.train.train_model", note)

    def train(*flags):
        done = call("train", "-w", prepared_once.folder, *flags)
        assert done.exit_code == 0, done.stderr
        return SimpleNamespace(**seen)

    return train


@pytest.fixture
def file(tmp_path):
    def write(name, **values):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_same_by_flag_and_in_python(asked, name):
    assert asked("--recipe", name).config == TrainConfig.of_recipe(name)


def test_without_a_recipe_it_is_the_reports(asked):
    assert asked().config == TrainConfig() == TrainConfig.of_recipe("report")


ORDERS = [("recipe", "config", "flag"), ("flag", "config", "recipe"), ("config", "flag", "recipe")]


@pytest.mark.parametrize("order", ORDERS)
def test_flag_beats_config_beats_recipe_beats_default(asked, file, order):
    """In whatever order they are typed."""
    config = file("settings.yaml", epochs=7, ema=0.5, lr=0.02, seed=9)
    typed = {
        "recipe": ["--recipe", "strong"],
        "config": ["--config", config],
        "flag": ["--lr", "0.3", "--ema", "0.25"],
    }
    told = asked(*[part for name in order for part in typed[name]])
    config = told.config
    assert (config.lr, config.ema) == (0.3, 0.25)
    assert (config.epochs, told.seed) == (7, 9)
    assert (config.schedule, config.body_lr) == ("cosine", 1e-4)
    assert config.batch_size == TrainConfig().batch_size
    others = set(RECIPES["strong"]) - {"epochs", "ema"}
    assert all(getattr(config, name) == RECIPES["strong"][name] for name in others)


def test_a_config_may_name_the_recipe_and_a_flag_another(asked, file):
    config = file("settings.yaml", recipe="strong", epochs=7)
    assert asked("--config", config).config == TrainConfig.of_recipe("strong", epochs=7)
    told = asked("--config", config, "--recipe", "report").config
    assert told == TrainConfig(epochs=7)


def test_a_recipe_of_ones_own_begins_from_the_report_or_from_the_one_it_names(asked, file):
    plain = file("plain.yaml", epochs=3)
    assert asked("--recipe", plain).config == TrainConfig(recipe=str(plain), epochs=3)
    strong = file("strong.yaml", recipe="strong", epochs=3)
    told = asked("--recipe", strong).config
    assert told == replace_recipe(TrainConfig.of_recipe("strong", epochs=3), strong)
    config = file("settings.yaml", epochs=4)
    assert asked("--recipe", strong, "--config", config).config.epochs == 4
    assert asked("--recipe", strong, "--epochs", 5).config.epochs == 5


def replace_recipe(config, path):
    return dataclasses.replace(config, recipe=str(path))


def test_what_was_asked_for_is_known_and_defaults_are_not_among_it(asked, file):
    assert asked().given <= {"workspace"}
    config = file("settings.yaml", patience=3)
    assert {"lr", "patience", "recipe", "ema"} <= asked(
        "--recipe", "strong", "--config", config, "--lr", 1
    ).given


def test_null_in_a_file_is_the_default(asked, file):
    told = asked("--config", file("settings.yaml", recipe="strong", body_lr=None, labels=None))
    assert (told.config.body_lr, told.config.labels) == (None, None)


def test_lists_and_pairs_of_yaml_are_as_written(asked, file):
    config = file("settings.yaml", labels=["Pleural Effusion", "Edema"], wandb="off", limit=4)
    told = asked("--config", config).config
    assert (told.labels, told.wandb, told.limit) == ("Pleural Effusion,Edema", "off", 4)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"lrr": 1}, ["mine.yaml", "'lrr'", "did you mean lr"]),
        ({"config": "x"}, ["mine.yaml", "'config'"]),
        ({"recipe": "strogn"}, ["mine.yaml", "did you mean strong"]),
        ({"epochs": 2.5}, ["epochs", "'2.5' is not a whole number"]),
        ({"uncertainty": "one"}, ["uncertainty", "did you mean ones"]),
    ],
)
@pytest.mark.parametrize("option", ["--recipe", "--config"])
def test_a_file_that_is_wrong_is_told(prepared_once, file, option, values, told):
    done = call("train", "-w", prepared_once.folder, option, file("mine.yaml", **values))
    assert done.exit_code == 2
    words = " ".join(done.stderr.split())
    assert all(part in words for part in told if option == "--recipe" or part != "mine.yaml"), words


@pytest.mark.parametrize(("name", "told"), [("strogn", "did you mean strong"), ("x.yaml", "file")])
def test_an_unknown_recipe_is_told(name, told):
    done = call("train", "--recipe", name)
    assert (done.exit_code, told in done.stderr) == (2, True)


def test_the_help_of_a_recipe_shows_its_values():
    def help_of(*flags):
        return " ".join(call("train", *flags, "--help").output.split())

    text = help_of("--recipe", "strong")
    for name, value in RECIPES["strong"].items():
        flag = f"--{name.replace('_', '-')} "
        about = text[text.index(flag) :]
        default = about[about.index("[default:") :].split("]")[0].split(";")[0]
        assert default == f"[default: {value}", name
    assert "(that of --lr)" in help_of()


@pytest.mark.usefixtures("quick_training")
def test_a_runs_config_gives_the_same_weights_whatever_it_says(prepared):
    """A recipe, some labels, policies of single labels with spaces in their names."""
    tiny = [
        *("--arch", "resnet18", "--weights", "none", "--image-size", 32, "--batch-size", 8),
        *("--precision", "fp32"),
    ]
    here = ["-w", prepared.folder, "--workers", 0, "--device", "cpu", "--json"]
    chosen = [
        *("--recipe", "strong", "--epochs", 1, "--validations", 2, "--limit", 24),
        *("--labels", "Pleural Effusion, Edema,Support Devices", "--seed", 5),
        *("--uncertainty", "smooth, Pleural Effusion=ignore,Edema=zeros"),
    ]
    done = call("train", *here, *tiny, *chosen, "--name", "first")
    assert done.exit_code == 0, done.stderr
    first = RunFolder(prepared.runs / "first")
    done = call("train", *here, "--config", first.config, "--name", "again")
    assert done.exit_code == 0, done.stderr
    again = RunFolder(prepared.runs / "again")
    assert sha256(again.weights) == sha256(first.weights)
    assert again.config.read_bytes() == first.config.read_bytes()


@pytest.mark.usefixtures("quick_training")
def test_a_run_by_a_recipe_file_can_be_repeated_without_the_file(prepared, file):
    path = file("patient_smith.yaml", recipe="strong", epochs=1, validations=1)
    config = TrainConfig.of_recipe("strong", epochs=1, validations=1)
    kept = ("arch", "weights", "image_size", "precision", "device", "workers")
    config = dataclasses.replace(
        config,
        **{name: getattr(TINY, name) for name in kept},
        batch_size=8,
        limit=24,
        recipe=str(path),
        name="first",
    )
    first = train_model(config, prepared, seed=1).run
    assert "smith" not in first.config.read_text()
    path.unlink()
    here = ["-w", prepared.folder, "--workers", 0, "--device", "cpu", "--json"]
    done = call("train", *here, "--config", first.config, "--name", "again")
    assert done.exit_code == 0, done.stderr
    assert sha256(RunFolder(prepared.runs / "again").weights) == sha256(first.weights)
