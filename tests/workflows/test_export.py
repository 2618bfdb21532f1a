"""Exported models: what is in the file, what it is held against, and which files are not opened."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec as find_spec_really

import numpy as np
import pytest
from PIL import Image

from cxrtool.core.config import ExportConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.evaluation.calibration import fit
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.engines.exported import read_exported
from cxrtool.workflows import export as workflow
from cxrtool.workflows.export import export_run
from tests.support.exporting import changed, scores
from tests.support.sealing import change_thresholds

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")


@pytest.fixture
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:5]


@pytest.fixture
def converted(exported, monkeypatch):
    """The tiny run's graph is there: what is tested is what comes before it and after it."""

    def copy(run, card, path):
        changed(exported, path, lambda model: model.ClearField("metadata_props"))

    monkeypatch.setattr("cxrtool.inference.engines.graphs.convert_onnx", copy)


def test_it_is_checked_on_real_images_of_the_valid_part(exported, trained_once):
    assert exported.images == 16
    assert 0 <= exported.difference < 1e-4
    assert exported.bytes == exported.output.stat().st_size
    json.dumps(exported.as_json(), allow_nan=False)


@pytest.mark.parametrize("batch", [1, 5])
def test_anybody_can_run_it_on_grey_bytes(exported, trained_once, images, batch):
    session = onnxruntime.InferenceSession(exported.output, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images"]
    pixels = np.stack([load_pixels(path, 32) for path in images])
    parts = [pixels[at : at + batch] for at in range(0, len(pixels), batch)]
    found = np.concatenate([session.run(["probabilities"], {"images": part})[0] for part in parts])
    expected = scores(trained_once, images, engine="torch").table[list(exported.labels)]
    assert np.abs(found - expected.to_numpy()).max() < 1e-4


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_predict_scores_with_it_as_with_the_run(exported, trained_once, images, engine):
    pytest.importorskip(engine)
    ours = scores(trained_once, images, engine="torch")
    theirs = scores(trained_once, images, engine=engine, run=[str(exported.output)])
    assert theirs.engine == {"name": engine, "device": "cpu", "precision": "fp32"}
    labels = list(ours.labels)
    assert np.abs(ours.table[labels] - theirs.table[labels]).to_numpy().max() < 1e-4
    assert theirs.thresholds == ours.thresholds
    assert theirs.table["positive"].tolist() == ours.table["positive"].tolist()


@pytest.mark.slow
def test_predict_with_it_needs_no_torch(exported, trained_once, images):
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'fastai', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from cxrtool.cli.app import app\n"
        f"app(['predict', {str(images[0])!r}, '--run', {str(exported.output)!r}],"
        " standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "probability" in done.stdout


@pytest.mark.usefixtures("converted")
def test_a_calibration_goes_with_it(trained, images, tmp_path):
    run = RunFolder(trained.workspace.runs / "tiny")
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.05, 0.95, 400)
    fitted = fit("temperature", rng.random(400) < probability**2, probability, np.ones(400, bool))
    curve = fitted.as_json()
    kept = {"method": "temperature", "labels": {"Edema": curve}, "left_out": {}}
    change_thresholds(run, calibration=kept)
    output = tmp_path / "t.onnx"
    export_run(ExportConfig(output=output), trained.workspace)
    ours = scores(trained, images, engine="torch")
    theirs = scores(trained, images, engine="onnxruntime", run=[str(output)])
    plain = read_exported(output).thresholds
    assert ours.thresholds["Edema"] != plain["Edema"]
    assert theirs.thresholds == ours.thresholds
    labels = list(ours.labels)
    assert np.abs(ours.table[labels] - theirs.table[labels]).to_numpy().max() < 1e-4


@pytest.mark.usefixtures("converted")
def test_a_graph_that_gives_other_probabilities_is_not_written(trained_once, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "_largest_difference", lambda *_: 2e-4)
    output = tmp_path / "t.onnx"
    with pytest.raises(RunError, match=r"2.0e-04 apart.*not written"):
        export_run(ExportConfig(output=output), trained_once.workspace)
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_one_and_no_number_is_none(exported, trained_once, images):
    run = RunFolder(trained_once.workspace.runs / "tiny")
    pixels = np.stack([load_pixels(path, 32) for path in images])
    card = read_card(run)
    same = workflow._largest_difference(exported.output, run, card, pixels)
    assert same < 1e-4
    other = replace(card, pixel_mean=card.pixel_mean + 0.05)
    assert workflow._largest_difference(exported.output, run, other, pixels) > 1e-4


@pytest.mark.usefixtures("converted")
def test_images_to_check_on_are_the_users_where_the_data_are_gone(trained, images, tmp_path):
    trained.workspace.manifest.unlink()
    output = tmp_path / "t.onnx"
    with pytest.raises(RunError, match="--check FILE or FOLDER"):
        export_run(ExportConfig(output=output), trained.workspace)
    done = export_run(ExportConfig(output=output, check=images[:2]), trained.workspace)
    assert done.images == 2
    with pytest.raises(DataError, match="--force"):
        export_run(ExportConfig(output=output, check=images[:2]), trained.workspace)
    config = ExportConfig(output=output, check=[tmp_path / "gone.jpg"], force=True)
    with pytest.raises(DataError, match=r"gone.jpg"):
        export_run(config, trained.workspace)
    assert read_exported(output).labels == done.labels  # the older one is still there


def test_what_it_needs_is_named(trained_once, tmp_path, monkeypatch):
    monkeypatch.setattr(
        workflow, "find_spec", lambda name: None if name == "onnxscript" else find_spec_really(name)
    )
    with pytest.raises(UsageError, match=r"needs onnxscript: .*cxrtool\[export\]"):
        export_run(ExportConfig(output=tmp_path / "t.onnx"), trained_once.workspace)
    with pytest.raises(UsageError, match=r"end it in \.onnx"):
        export_run(ExportConfig(output=tmp_path / "t.pt"), trained_once.workspace)


def test_a_run_comes_before_a_file_of_its_name_in_the_users_folder(
    exported, trained_once, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(exported.output.read_bytes())
    found = scores(trained_once, images[:1], run=["tiny"], engine="torch")
    assert (found.model, found.engine["name"]) == ("tiny", "torch")
    found = scores(trained_once, images[:1], run=["./tiny"], engine="onnxruntime")
    assert found.engine["name"] == "onnxruntime"


def test_a_run_and_an_exported_model_are_an_ensemble(exported, trained, images, tmp_path):
    shutil.copy(exported.output, tmp_path / "other.onnx")
    both = scores(trained, images, run=["tiny", str(tmp_path / "other.onnx")], engine="auto")
    alone = scores(trained, images, engine="torch")
    labels = list(alone.labels)
    assert both.model == "tiny + other.onnx"
    assert np.abs(both.table[labels] - alone.table[labels]).to_numpy().max() < 1e-4


def test_the_whole_chain_from_a_file_is_the_runs(exported, trained_once, tmp_path):
    deep = np.linspace(0, 4095, 90 * 70).reshape(90, 70).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = scores(trained_once, [tmp_path / "deep.png"], run=[str(exported.output)]).table
    expected = scores(trained_once, [tmp_path / "deep.png"], engine="torch").table
    labels = list(exported.labels)
    assert np.abs(found[labels] - expected[labels]).to_numpy().max() < 1e-4
