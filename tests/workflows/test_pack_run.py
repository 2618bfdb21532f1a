"""`runs pack`, and what takes a pack in place of a run."""

import json
import shutil

import pandas as pd
import pytest

from cxrtool import load_run
from cxrtool.core.config import EvaluateConfig, RunsConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.packs import is_pack, unpack
from cxrtool.core.run_cards import read_card
from cxrtool.core.workspace import Workspace
from cxrtool.data.ancestry import find_ancestry
from cxrtool.data.seen import began_from_packs
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.pack_run import pack_run
from cxrtool.workflows.runs import list_runs
from tests.conftest import Listening
from tests.support.calling import call
from tests.support.copies import copy_folder
from tests.support.packing import pack, score


@pytest.fixture(scope="module")
def made(trained_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs")
    pack(trained_once, folder / "tiny.zip")
    pack(trained_once, folder / "tiny")
    return folder


@pytest.mark.parametrize("name", ["tiny.zip", "tiny"])
def test_a_pack_scores_as_its_run_where_nothing_else_is(trained_once, made, tmp_path, name):
    images = sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]
    options = {"engine": "torch", "device": "cpu", "precision": "fp32"}
    own = load_run("tiny", trained_once.workspace.folder, **options)
    packed = load_run(
        shutil.move(shutil.copytree(made, tmp_path / "there") / name, tmp_path),
        **{**options, "workspace": tmp_path / "cxr"},
    )
    pd.testing.assert_frame_equal(own.predict(images), packed.predict(images))
    assert own.thresholds == packed.thresholds


def test_the_command_makes_it_and_predict_takes_it(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("runs", "pack", "tiny", "-w", str(trained.workspace.folder), "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["output"] == "tiny.zip"
    assert "model.safetensors" in found["files"]
    again = call("runs", "pack", "tiny", "-w", str(trained.workspace.folder))
    assert again.exit_code == 1
    assert "--force" in again.stderr
    before = (tmp_path / "tiny.zip").read_bytes()
    again = call("runs", "pack", "tiny", "-w", str(trained.workspace.folder), "--force")
    assert "no patients, no paths" in again.stdout
    assert (tmp_path / "tiny.zip").read_bytes() == before
    image = str(next((trained.data / "train").rglob("*frontal.jpg")))
    words = ["predict", image, "--run", "tiny.zip", "-w", "new", "--engine", "torch"]
    done = call(*words, "--output", "out.csv")
    assert done.exit_code == 0, done.stderr
    assert "is kept as run pack-tiny-" in done.stderr
    assert len(pd.read_csv("out.csv")) == 1
    (run,) = list_runs(Workspace(tmp_path / "new"))
    assert (run.state, run.arch) == ("finished", "resnet18")


def test_wrong_words_are_one_message(trained, tmp_path):
    with pytest.raises(UsageError, match="name one run"):
        pack_run(RunsConfig(names=["a", "b"]), trained.workspace)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(DataError, match="is no pack, and is not replaced"):
        pack(trained, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    done = call("runs", "slim", "--output", "x.zip", "-w", str(trained.workspace.folder))
    assert (done.exit_code, "belong to `runs pack`" in done.stderr) == (2, True)


def test_what_cannot_be_packed_leaves_nothing(trained, tmp_path):
    weights = trained.workspace.runs / "tiny" / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + b"x")
    for name in ("tiny.zip", "tiny"):
        with pytest.raises(RunError, match="not the file that training wrote"):
            pack(trained, tmp_path / "out" / name)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_is_replaced_whole_with_force(trained, made, tmp_path):
    place = copy_folder(made / "tiny", tmp_path / "tiny")
    (place / "stale.txt").write_text("text")
    pack(trained, place, force=True)
    assert not (place / "stale.txt").exists()
    assert [path.name for path in place.parent.iterdir() if path.name.startswith(".")] == []


def test_nobody_is_tested_on_the_patients_of_a_pack_unawares(trained, made):
    """At home its split explains it; on other data nobody knows whom it has seen."""
    name = str(made / "tiny.zip")
    workspace = trained.workspace
    result = evaluate_run(
        EvaluateConfig(run=name, bootstrap=0, report=False, workers=0), workspace, seed=1
    )
    assert result.mean_auroc.value == score(trained).mean_auroc.value
    assert not any("does not say whom" in text for text in result.warnings)
    manifest = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    manifest.iloc[::-1].to_csv(workspace.manifest, index=False)
    listening = Listening()
    config = EvaluateConfig(run=name, bootstrap=0, report=False, workers=0)
    evaluate_run(config, workspace, seed=1, reporter=listening)
    assert any("was a pack, which does not say whom" in text for text in listening.warnings)
    (ancestor,) = find_ancestry(result.run, workspace.runs).ancestors
    assert ancestor.packed
    assert "began from" in began_from_packs("heir", [ancestor])[0]


def test_mlflow_keeps_a_pack_whole(made, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (113 MB)")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.create_experiment("packs", artifact_location=(tmp_path / "kept").as_uri())
    mlflow.set_experiment("packs")
    with mlflow.start_run():
        mlflow.log_artifacts(str(made / "tiny"))
    (manifest,) = (tmp_path / "kept").rglob("pack.json")
    assert is_pack(str(manifest.parent))
    run = unpack(tmp_path / "runs", str(manifest.parent), Listening())
    assert read_card(run).packed
