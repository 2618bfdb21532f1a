"""Runs and a study that version 0.1 wrote are read, resumed and scored as it did itself.

What lies in tests/fixtures/version_0_1 is described in its README.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.data.phantoms import draw_dataset
from tests.support.smaller import get_smaller

OLD = Path(__file__).parents[1] / "fixtures" / "version_0_1"
EXPECTED = OLD / "expected"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Another processor or another torch rounds otherwise."""
PLAIN = ("--precision", "fp32", "--device", "cpu")
"""Not every processor has bf16 of its own, which is chosen where it has."""
TRAINED = {"rtol": 2e-3, "atol": 1e-3}
"""The same of what six epochs of such rounding come to."""
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that 0.1 was given: a seed always draws the same ones."""
    folder = tmp_path_factory.mktemp("data")
    draw_dataset(folder, patients=30, seed=5, valid_patients=6)
    return folder


@pytest.fixture
def workspace(data: Path, tmp_path: Path) -> Iterator[Path]:
    """0.1's workspace, with the images where they are here, and its networks."""
    folder = shutil.copytree(OLD / "workspace", tmp_path / "cxr")
    for file in (folder / "data.json", folder / "cache" / "cache.json"):
        file.write_text(file.read_text().replace("DATA", str(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.get_model", get_smaller)
        yield folder


@pytest.fixture
def run(workspace: Path) -> Run:
    """A command in that workspace; what it says as JSON."""

    def run(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*words, "--json", "-q", "-w", str(workspace)])
        assert done.exit_code == 0, done.output
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    return run


def test_runs_are_listed(run):
    states = {one["run"]: (one["state"], one["study"]) for one in run("runs")["runs"]}
    assert states == {
        "report": ("finished", None),
        "strong": ("finished", None),
        "stopped": ("unfinished", None),
        "search-01": ("finished", "search"),
        "search-02": ("finished", "search"),
    }


@pytest.mark.parametrize("name", ["report", "strong"])
def test_a_run_is_scored_as_it_was(name, run):
    now = run("evaluate", name, "--bootstrap", "100", *PLAIN)
    then = json.loads((EXPECTED / f"{name}.json").read_text())
    assert now["n"] == then["n"]
    assert now["labels"].keys() == then["labels"].keys()
    for label, scores in then["labels"].items():
        for key in ("auroc", "auprc", "threshold", "sensitivity", "specificity", "positives"):
            expected = scores[key] if scores[key] is None else pytest.approx(scores[key], rel=1e-4)
            assert now["labels"][label][key] == expected, (label, key)


def test_a_training_that_was_stopped_ends_as_it_would_have(run, workspace):
    result = run("train", "--resume", "stopped", "--workers", "0", "--threads", "1")
    expected = pd.read_csv(EXPECTED / "history.csv")
    assert result["epochs"] == len(expected)
    history = pd.read_csv(workspace / "runs" / "stopped" / "history.csv")
    same = ["epoch", "train_loss", "valid_loss", "lr"]
    pd.testing.assert_frame_equal(history[same], expected[same], rtol=TRAINED["rtol"])
    # Two images may change places where their scores are nearly equal.
    close = pytest.approx(expected["valid_mean_auroc"].tolist(), abs=0.02)
    assert history["valid_mean_auroc"].tolist() == close
    weights = load_file(workspace / "runs" / "stopped" / "model.safetensors")
    then = load_file(EXPECTED / "model.safetensors")
    assert weights.keys() == then.keys()
    for name, values in then.items():
        np.testing.assert_allclose(weights[name], values, **TRAINED, err_msg=name)


def test_a_run_predicts_as_it_did(run, data, tmp_path):
    output = tmp_path / "now.csv"
    images = data / "CheXpert-v1.0-small" / "valid"
    run(
        "predict",
        str(images),
        "--run",
        "report",
        *PLAIN,
        "--engine",
        "torch",
        "--output",
        str(output),
    )
    then, now = pd.read_csv(EXPECTED / "report.csv"), pd.read_csv(output)
    labels = list(then.columns[1 : then.columns.get_loc("positive")])
    assert now["path"].tolist() == [str(data / path) for path in then["path"]]
    np.testing.assert_allclose(now[labels], then[labels], **CLOSE)


def test_a_study_is_resumed(run, workspace):
    trials = pd.read_csv(workspace / "studies" / "search" / "trials.csv")
    again = run("tune", "--resume", "search", "--trials", "2")
    found = [one["valid_mean_auroc"] for one in again["trials"]]
    assert found == pytest.approx(trials["valid_mean_auroc"].tolist())
