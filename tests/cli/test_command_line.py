"""How commands are asked for: what was meant is offered, and nonsense is refused."""

import shutil
import unicodedata

import pytest
import typer
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.cli.suggestions import COMMAND_WORDS, OPTION_WORDS
from cxrtool.core.config import CommonConfig, options_of
from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.new_runs import check_new_name
from cxrtool.core.runs import RunFolder, find_run
from cxrtool.core.unicode_forms import normal, on_disk
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import named_ones, parse_policy
from cxrtool.search.space import read_space
from tests.cli.test_app import COMMANDS as CONFIGS
from tests.conftest import TINY

COMMANDS = typer.main.get_command(app).commands
NFC, NFD = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))


def call(*arguments, **environment):
    return CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])


NUMBERS = {
    (command, name)
    for command, config in CONFIGS.items()
    for name, option in {**options_of(CommonConfig), **options_of(config)}.items()
    if option.within and name in {one.name for one in COMMANDS[command].params}
}


@pytest.mark.parametrize("name", sorted({name for _, name in NUMBERS}))
def test_a_number_beyond_its_ends_is_refused(name):
    command = next(command for command, one in NUMBERS if one == name)
    inputs = {"predict": ["x"], "compare": ["x"]}.get(command, [])
    flag = f"--{name.replace('_', '-')}"
    for value in ("inf", "nan", "-1", "1e30", str(10**20)):
        done = call(command, *inputs, flag, value)
        assert done.exit_code == 2, (value, done.output)
        assert flag in done.stderr
        assert "Traceback" not in done.stderr


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


def test_numbers_within_a_text_have_ends_too():
    from dataclasses import replace

    from cxrtool.core.config import EvaluateConfig
    from cxrtool.evaluation.truth import wanted_columns
    from cxrtool.training.choices import resolve
    from cxrtool.workflows.split import parse_sizes

    for sizes in ("1e308,1e308,1e308", "nan,1,1", "inf,1,1", "-1,2,3"):
        with pytest.raises(UsageError, match="three positive numbers"):
            parse_sizes(sizes)
    for weight in ("1e30", "inf", "nan", "0", "-1"):
        with pytest.raises(UsageError, match="--pos-weight"):
            resolve(replace(TINY, pos_weight=weight))
    with pytest.raises(UsageError, match="--by names sex twice"):
        wanted_columns(EvaluateConfig(by="sex,age,sex"))


def test_a_spaces_numbers_have_the_same_ends(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("lr: {low: 1e-5, high: 1e9, log: yes}\nimage_size: [64, 100000]\n")
    with pytest.raises(UsageError, match=r"lr: 1e\+09 is above 100") as refused:
        read_space(file, TINY)
    assert "image_size: 100000 is above" in str(refused.value)


MEANT = [
    ("train", "--learning-rate", "--lr"),
    ("train", "-lr", "--lr"),
    ("train", "--batch_size", "--batch-size"),
    ("train", "-bs", "--batch-size"),
    ("train", "--model", "--arch"),
    ("train", "--wd", "--weight-decay"),
    ("train", "--img-size", "--image-size"),
    ("train", "--gpu", "--device"),
    ("predict", "--model", "--run"),
    ("tune", "--n-trials", "--trials"),
    ("evaluate", "--threshold=0.3", "--operating-point"),
    ("split", "--szies", "--sizes"),
]


@pytest.mark.parametrize(("command", "wrote", "meant"), MEANT)
def test_the_option_that_was_meant_is_offered(command, wrote, meant):
    done = call(command, wrote, "1")
    assert done.exit_code == 2
    assert f"(did you mean {meant}?)" in done.stderr


@pytest.mark.parametrize(
    ("wrote", "meant"), [("list", "runs"), ("ls", "runs"), ("trian", "train"), ("test", "evaluate")]
)
def test_the_command_that_was_meant_is_offered(wrote, meant):
    done = call(wrote)
    assert done.exit_code == 2
    assert f"No such command '{wrote}' (did you mean {meant}?)" in done.stderr


def test_every_synonym_is_of_an_option_or_command_and_none_is_one_itself():
    options = {p.name for made in COMMANDS.values() for p in made.params}
    assert set(OPTION_WORDS) <= options
    assert set(COMMAND_WORDS) == set(COMMANDS)
    words = [word for text in COMMAND_WORDS.values() for word in text.split()]
    assert len(set(words)) == len(words)
    assert not set(words) & set(COMMANDS)


def test_all_keys_that_are_none_are_told_at_once_each_with_what_was_meant(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("learning_rate: 1\nepcohs: 3\nzzz: 1\nimage-size: 3\nepochs: 3\n")
    told = " ".join(call("train", "--config", file).stderr.split())
    assert (
        "4 keys are not known: 'learning_rate' (did you mean lr?), 'epcohs' (did you mean "
        "epochs?), 'zzz', 'image-size' (did you mean image_size?)"
    ) in told


def test_a_near_name_of_a_run_is_offered(tmp_path):
    for name in ("baseline", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(RunError, match=r"\(did you mean baseline\?\); there are: baseline, other"):
        find_run(tmp_path / "runs", "baselin")


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


def test_names_are_found_under_either_unicode_form(tmp_path):
    assert NFC != NFD
    for there, wanted in ((NFC, NFD), (NFD, NFC)):
        folder = tmp_path / there.encode().hex()
        file = folder / there / "runs" / there / "a.txt"
        file.parent.mkdir(parents=True)
        file.touch()
        assert on_disk(folder / wanted / "runs" / wanted / "a.txt") == file
        assert on_disk(folder / wanted / "new") == folder / there / "new"
        assert find_run(folder / there / "runs", wanted) == RunFolder(file.parent)
        with pytest.raises(Exception, match="exists in"):
            check_new_name(folder / there / "runs", wanted, force=False)
        assert "is missing" in call("split", "-w", folder / wanted).stderr
        assert named_ones("--labels", f"{wanted}, Edema", ["Edema", there]) == [there, "Edema"]
        assert parse_policy(f"ones,{wanted}=zeros", [there]) == {there: "zeros"}
    assert normal(NFD) == NFC


def test_a_label_twice_is_refused_and_all_that_are_unknown_are_told():
    with pytest.raises(UsageError, match="--labels names Edema twice"):
        named_ones("--labels", "Edema,Fracture,Edema", ["Edema", "Fracture"])
    with pytest.raises(UsageError, match=r"2 labels are not known: 'Edemma' \(did you mean Edema"):
        named_ones("--labels", "Edemma,x,Fracture", ["Edema", "Fracture"])


def test_more_frozen_epochs_than_epochs_are_refused(prepared_once, tmp_path):
    place = ["-w", prepared_once.folder, "--dry-run"]
    for epochs, frozen in ((2, 3), (1, 2)):
        done = call("train", *place, "--epochs", epochs, "--freeze-epochs", frozen)
        assert done.exit_code == 2
        assert f"--freeze-epochs {frozen}" in done.stderr
    file = tmp_path / "c.yaml"
    file.write_text("epochs: 2\nfreeze_epochs: 9\n")
    assert call("train", *place, "--config", file).exit_code == 2
    assert call("tune", "-w", prepared_once.folder, "--config", file).exit_code == 2


def test_from_another_folder_the_message_names_the_place_and_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["split"], ["train"], ["evaluate"], ["evaluate", "x"], ["predict", "x.jpg"]):
        told = call(*arguments).stderr
        assert f"there is no workspace cxr here: {tmp_path / 'cxr'} is missing" in told, arguments
        assert "-w PATH/TO/WORKSPACE" in told
    assert f"{tmp_path / 'cxr'} is missing" in call("runs").stdout


def test_quiet_is_quiet(prepared, capsys):
    done = call("split", "-w", prepared.folder, "--force", "-q")
    assert (done.exit_code, done.stdout) == (0, "")
    assert all(line.startswith("warning:") for line in done.stderr.splitlines())
    assert call("split", "-w", prepared.folder, "--force", "-q", "--json").stdout.startswith("{")
    assert "next:" not in call("runs", "-w", prepared.folder, "-q").stdout


def test_a_batch_larger_than_the_memory_is_refused_before_it_is_read():
    from dataclasses import replace

    from cxrtool.training.choices import refuse_huge

    settings = replace(TINY, batch_size=64, image_size=1024)
    refuse_huge(settings, 1, memory=2**30)  # 64 x 1024 x 1024 x 4 floats are 1 GiB
    with pytest.raises(UsageError, match="a batch alone need 1 GiB"):
        refuse_huge(settings, 1, memory=2**30 - 1)
    refuse_huge(settings, 2, memory=2**29)


def test_what_ran_out_of_memory_is_told_from_other_faults():
    import torch

    from cxrtool.networks.devices import memory_ran_out

    worker = "Caught MemoryError in DataLoader worker process 0.\nOriginal Traceback ..."
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError(worker),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
    ):
        assert memory_ran_out(error)
    assert not memory_ran_out(RuntimeError("shapes do not fit"))
    assert not memory_ran_out(ValueError("MemoryError"))
