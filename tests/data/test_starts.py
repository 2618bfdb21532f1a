"""What a training began from, as a run keeps it."""

import pytest
import yaml

from cxrtool.core.config import TrainConfig
from cxrtool.core.errors import RunError, UsageError, WeightsError
from cxrtool.core.files import sha256
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.starts import (
    file_of,
    is_recorded,
    located_start,
    recorded_start,
    told_start,
    without_folders,
)
from cxrtool.training.recorder import settings_of
from cxrtool.training.resume import read_resumed


def run_in(folder, content):
    folder.mkdir(parents=True)
    for name in ("model.json", "history.csv", "environment.json", "config.yaml"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    return folder


def test_a_start_is_kept_without_its_folders_and_found_again(tmp_path, monkeypatch):
    runs = tmp_path / "cxr" / "runs"
    run_in(runs / "own", b"own")
    other = run_in(tmp_path / "of a person" / "runs" / "theirs", b"theirs")
    file = tmp_path / "of a person" / "w.pth"
    file.write_bytes(b"weights")
    kept = {
        "imagenet": "imagenet",
        "none": "none",
        "own": "own",
        str(runs / "own"): "own",
        str(file): f"w.pth@sha256:{sha256(file)}",
        str(other): f"theirs@sha256:{sha256(other / 'model.safetensors')}",
    }
    for given, expected in kept.items():
        assert recorded_start(given, runs) == expected
        assert recorded_start(expected, runs) == expected
        assert is_recorded(expected, given, runs)
        assert "of a person" not in told_start(expected)
        if "@" not in expected:
            assert located_start(expected, runs) == expected
    monkeypatch.chdir(file.parent)
    assert located_start(kept[str(file)], runs) == str(file)
    assert located_start(kept[str(other)], other.parent) == "theirs"


def test_another_file_of_the_name_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"weights")
    kept = recorded_start("w.pth", tmp_path)
    (tmp_path / "w.pth").write_bytes(b"others")
    assert not is_recorded(kept, "w.pth", tmp_path)
    with pytest.raises(WeightsError, match=r"--weights PATH/TO/w\.pth"):
        located_start(kept, tmp_path)
    with pytest.raises(RunError):
        recorded_start("gone", tmp_path)
    assert not is_recorded(kept, "gone", tmp_path)


def test_a_run_killed_at_once_is_resumed_with_the_place_of_its_weights(tmp_path):
    """It has settings and no checkpoint: the weights are needed, and their folder was not kept."""
    workspace = Workspace(tmp_path / "cxr")
    file = tmp_path / "of a person" / "w.pth"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    run = RunFolder(workspace.runs / "killed")
    run.path.mkdir(parents=True)
    kept = recorded_start(str(file), workspace.runs)
    settings = settings_of(TrainConfig(weights=kept), 42)
    run.config.write_text(yaml.safe_dump(settings))
    for given in ({"weights"}, set()):  # a search gives none by name, and knows the place
        config = TrainConfig(resume="killed", weights=str(file))
        found = read_resumed(config, workspace, 42, given)
        assert found.environment is None
        assert found.config.weights == str(file)
    assert read_resumed(TrainConfig(resume="killed"), workspace, 42, set()).config.weights == kept
    (tmp_path / "other.pth").write_bytes(b"others")
    config = TrainConfig(resume="killed", weights=str(tmp_path / "other.pth"))
    with pytest.raises(UsageError, match="contradicts run killed"):
        read_resumed(config, workspace, 42, {"weights"})


def test_a_run_comes_before_a_file_of_its_name(tmp_path, monkeypatch):
    """As it does where a model is named to score with."""
    runs = tmp_path / "cxr" / "runs"
    run_in(runs / "base", b"the run's")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").write_bytes(b"the file's")
    file = str(tmp_path / "base")
    assert file_of("base", runs) is None
    assert file_of("./base", runs).absolute() == file_of(file, runs) == tmp_path / "base"
    assert recorded_start("base", runs) == "base"
    kept = recorded_start("./base", runs)
    assert kept == f"base@sha256:{sha256(tmp_path / 'base')}"
    assert located_start(kept, runs) == file
    of_the_run = f"base@sha256:{sha256(runs / 'base' / 'model.safetensors')}"
    assert located_start(of_the_run, runs) == "base"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("/home/person/w.pth", "w.pth"),
        ("../w.pth", "w.pth"),
        (r"C:\Users\person\w.pth", "w.pth"),
        ("run /home/person/cxr/runs/a", "run a"),
        ("run a", "run a"),
        ("ImageNet weights of resnet18 (IMAGENET1K_V1)", None),
        ("ImageNet weights of timm/convnext_tiny (timm's)", None),
        ("hf:me/nets: model.safetensors (SHA-256 " + "0" * 64 + ")", None),
        ("random weights", None),
        ("", None),
    ],
)
def test_what_version_0_1_kept_is_told_without_folders(start, expected):
    assert without_folders(start) == (start if expected is None else expected)
