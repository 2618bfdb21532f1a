"""Files of a workspace and of a run, replaced by what is none: each command ends with a message."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.config import TrainConfig, options_of
from cxrtool.core.errors import CxrToolError, DataError, RunError
from cxrtool.core.runs import RunFolder
from cxrtool.images.cache import ImageCache
from cxrtool.search.setup import _of_study, plan_search
from cxrtool.training.recorder import settings_of
from cxrtool.training.resume import _own_settings
from tests.support.searching import SEARCH

DEEP = b'{"format": 1, "a": ' + b"[" * 5000 + b"]" * 5000 + b"}"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{before}, *{before}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(autouse=True)
def _ends_at_some_time():
    """A command that waits for a pipe would wait for ever."""

    def give_up(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replaced(path, content):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == "pipe":
        os.mkfifo(path)
    elif content == "zero":
        path.symlink_to("/dev/zero")
    elif content == "folder":
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def fails(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert len(done.stderr) < 3000
    return " ".join(done.stderr.split())


EVALUATE = ("evaluate", "tiny", "--bootstrap", "0", "--no-report", "--workers", "0")
COMMANDS = {
    "manifest.csv": ("split", "--force"),
    "split.csv": EVALUATE,
    "data.json": EVALUATE,
    "runs/tiny/model.json": ("predict", "IMAGE", "--run", "tiny"),
    "runs/tiny/labels.json": ("predict", "IMAGE", "--run", "tiny"),
    "runs/tiny/thresholds.json": ("export", "tiny", "--output", "OUT/t.onnx"),
    "runs/tiny/patients.json": EVALUATE,
    "runs/tiny/model.safetensors": ("predict", "IMAGE", "--run", "tiny"),
    "runs/tiny/config.yaml": ("train", "--resume", "tiny", "--epochs", "3"),
    "runs/tiny/environment.json": ("train", "--resume", "tiny", "--epochs", "3"),
    "runs/tiny/checkpoint/last.safetensors": ("train", "--resume", "tiny", "--epochs", "3"),
    "runs/tiny/predictions/valid.json": (*EVALUATE, "--operating-point", "f1"),
    "runs/tiny/predictions/valid.csv": (*EVALUATE, "--operating-point", "f1"),
}


@pytest.mark.parametrize("file", COMMANDS)
def test_what_is_no_file_or_no_such_file_ends_with_a_message_that_names_it(trained, file):
    folder = trained.workspace.folder
    image = next(Path(trained.data).rglob("*frontal.jpg"))
    words = [{"IMAGE": str(image)}.get(word, word) for word in COMMANDS[file]]
    words = [word.replace("OUT", str(folder)) for word in words]
    if words[0] in ("predict", "train", "evaluate"):
        words += ["--device", "cpu"]
    for content in ("pipe", "zero", "folder", b"", b"\xff\xfe\x00", DEEP, "[" * 50_000, BOMB):
        replaced(folder / file, content)
        said = fails(*words, "-w", folder)
        assert Path(file).name in said, (content[:20], said)


@pytest.mark.parametrize("file", ["cache.json", "index.csv", "images.npy"])
def test_a_cache_of_which_a_file_is_none_is_no_cache(prepared, file):
    for content in ("pipe", "zero", "folder", b"", b"\xff\xfe\x00", DEEP, "[" * 50_000):
        replaced(prepared.cache / file, content)
        with pytest.raises(DataError, match=rf"not a complete cache.*{file}.*cxrtool prepare"):
            ImageCache(prepared.cache)


@pytest.mark.parametrize("content", ["pipe", "zero", "folder", b"\xff", DEEP, BOMB])
def test_runs_lists_a_run_whose_files_are_none(trained, content):
    run = RunFolder(trained.workspace.runs / trained.run)
    for path in (run.config, run.model, run.environment, run.labels, run.thresholds):
        replaced(path, content)
    replaced(run.metrics("test"), content)
    run.history.unlink()
    replaced(run.history, content)
    done = CliRunner().invoke(app, ["runs", "-w", str(trained.workspace.folder)])
    assert done.exit_code == 0, done.output
    assert "broken" in done.output


def test_a_fold_of_five_thousand_digits_is_refused(prepared):
    header, *rows = prepared.split.read_text().splitlines()
    rows = [f"{row},{'9' * 5000 if ',train' in row else ''}" for row in rows]
    prepared.split.write_text("\n".join([f"{header},fold", *rows, ""]))
    training = ("train", "--fold", "1", "--weights", "none", "--device", "cpu")
    said = fails(*training, "-w", prepared.folder)
    assert "split.csv" in said
    assert "wrong fold" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backend": 5}, "backend is 5"),
        ({"space": []}, "space is a list of 0"),
        ({"space": {"lr": {"low": "x", "high": 1}}}, "low and high are numbers"),
        ({"settings": None}, "settings is null"),
        ({"seed": "one"}, 'seed is "one"'),
        ({"manifest_sha256": "0"}, 'manifest_sha256 is "0"'),
        ({"trials": -1}, "trials is -1"),
        ({"besides": 1}, "besides is not a key of this version"),
        ({"format": 7}, "was not begun by cxrtool"),
    ],
)
def test_what_a_search_keeps_of_itself_is_checked_where_it_is_read(prepared_once, change, said):
    config = replace(SEARCH, name="s", resume=None)
    search = plan_search(config, prepared_once, seed=1)
    resumes = replace(config, resume="s")
    assert _of_study(search.facts, search, resumes, ()).training == search.training
    with pytest.raises(CxrToolError, match=said):
        _of_study({**search.facts, **change}, search, resumes, ())


def test_what_train_takes_of_any_option_is_what_a_run_and_a_search_may_hold(tmp_path):
    """Else a training could begin that can never be resumed."""
    ends = {}
    for name, option in options_of(TrainConfig).items():
        if option.within:
            ends[name] = [option.kind(end) for end in option.within]
    assert {"epochs", "limit", "lr", "fold", "sampling_cap"} <= set(ends)
    run = RunFolder(tmp_path)
    for at, seed in ((0, 0), (-1, 2**32 - 1)):
        config = replace(TrainConfig(), **{name: found[at] for name, found in ends.items()})
        run.config.write_text(yaml.safe_dump(settings_of(config, seed)))
        _, read, read_seed = _own_settings(run)
        assert settings_of(read, read_seed) == settings_of(config, seed)


def test_a_search_with_any_seed_can_be_resumed(prepared_once):
    config = replace(SEARCH, name="s")
    search = plan_search(config, prepared_once, seed=2**32 - 1)
    found = _of_study(search.facts, search, replace(config, resume="s"), ())
    assert found.seed == 2**32 - 1


@pytest.mark.parametrize(
    ("change", "said"), [({"epochs": "ten"}, 'epochs is "ten"'), ({"lr": None}, "lr is null")]
)
def test_the_settings_of_a_search_are_those_of_a_training(prepared_once, change, said):
    search = plan_search(replace(SEARCH, name="s"), prepared_once, seed=1)
    facts = {**search.facts, "settings": {**search.facts["settings"], **change}}
    with pytest.raises(RunError, match=f"study s: settings: {said}"):
        _of_study(facts, search, replace(SEARCH, resume="s"), ())
