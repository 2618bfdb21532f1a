"""The walk-throughs run as they are, on drawn data."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cxrtool.core.config import TrainConfig
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.search.space import read_space
from tests.conftest import finished_run

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scripts(warm, tmp_path_factory):
    """A folder with the `python` of the tests, and a `cxrtool` whose networks are small ones."""
    folder = tmp_path_factory.mktemp("scripts")
    smaller = Path(__file__).parent / "support" / "smaller.py"
    for name, program in (("python", sys.executable), ("cxrtool", f"{warm} {smaller}")):
        (folder / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def shell(tmp_path, scripts):
    """Run a command in an empty folder."""

    def run(*arguments):
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_four_models_and_their_table(shell, drawn):
    small = "--weights none --epochs 1 --image-size 32 --batch-size 16 --limit 32 --workers 0"
    out = shell("bash", EXAMPLES / "four_models.sh", drawn.folder, *small.split())
    table = [line for line in out.splitlines() if line.startswith("| ")]
    assert (
        table[0]
        == "| label | resnet101-zeros | resnet101-ones | densenet121-zeros | densenet121-ones |"
    )
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2:16]] == list(
        CHEXPERT_LABELS
    )
    assert table[16].startswith(("| mean", "| **mean"))
    numbers = [cell for line in table[2:16] for cell in line.strip("| ").split(" | ")[1:]]
    assert len(numbers) == 4 * 14
    assert all(cell == "n/a" or 0 <= float(cell.strip("*")) <= 1 for cell in numbers)
    # Runs under two policies are held against two truths: two pairs can be compared, and the
    # published scores of CheXpert stand apart from those of so few images.
    assert "densenet121-zeros less resnet101-zeros" in out
    assert "resnet101-ones less resnet101-zeros" not in out
    assert "DenseNet-121, U-Ones (report)" in out


def test_a_table_and_a_folder_of_ones_own(shell, drawn, tmp_path):
    images = sorted((drawn.folder / "train").rglob("*frontal.jpg"))[:30]
    (tmp_path / "my-images").symlink_to(drawn.folder)
    with (tmp_path / "my.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "patient", "Edema", "fluid", "broken_rib", "Gender", "years"])
        for row, path in enumerate(images):
            name = path.relative_to(drawn.folder)
            writer.writerow([name, path.parts[-3], row % 2, 1, "" if row % 3 else -1, "M", 50])
    out = shell("cxrtool", "prepare", "my.csv", "--config", EXAMPLES / "own_table.yaml")
    for text in (out, shell("cxrtool", "prepare", "my.csv")):
        assert "30 images" in text
        lines = [line.split() for line in text.splitlines()]
        assert ["Edema", "15", "15", "0", "0"] in lines
        assert ["Pleural", "Effusion", "30", "0", "0", "0"] in lines
        assert ["Fracture", "0", "0", "10", "20"] in lines
    assert "patients in more than one part: 0" in shell("cxrtool", "split")


def test_cross_validation(shell, drawn):
    small = "--arch resnet18 --weights none --epochs 1 --image-size 32 --batch-size 16 --workers 0"
    out = shell("bash", EXAMPLES / "cross_validation.sh", drawn.folder, 2, *small.split())
    assert "| label | fold0 | fold1 |" in out.splitlines()


def test_a_recipe_of_ones_own(shell, drawn, tmp_path):
    shell("cxrtool", "prepare", drawn.folder, "--cache-size", "32")
    shell("cxrtool", "split")
    small = "--arch resnet18 --weights none --epochs 1 --image-size 32 --batch-size 16 --workers 0"
    recipe = EXAMPLES / "own_recipe.yaml"
    shell("cxrtool", "train", "--recipe", recipe, "--name", "own", *small.split())
    settings = yaml.safe_load((tmp_path / "cxr" / "runs" / "own" / "config.yaml").read_text())
    assert settings["uncertainty"] == "mixed,Pneumonia=ignore"  # the file's
    assert (settings["schedule"], settings["validations"]) == ("cosine", 4)  # of strong
    assert (settings["arch"], settings["image_size"]) == ("resnet18", 32)  # the flags'
    assert "own_recipe" in shell("cxrtool", "runs")


@pytest.mark.usefixtures("quick_training")
def test_the_notebook(shell, prepared_once, drawn, tmp_path):
    with finished_run(prepared_once, drawn, tmp_path / "cxr"):
        out = shell("env", "MPLBACKEND=agg", "cxrtool", EXAMPLES / "notebook.py")
    lines = out.splitlines()
    assert any(line.startswith("suggested rate: ") for line in lines)
    assert [label for label in CHEXPERT_LABELS if f"\n{label}: 0." in out] == list(CHEXPERT_LABELS)
    assert "torch.Size([16, 3, 64, 64])" in lines
    assert [line.split()[0] for line in (lines[-17], lines[-1])] == ["path", "error"]
    for name in ("batch", "results", "top_losses"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 20


def test_the_sheet_of_drawings(shell, drawn, tmp_path):
    out = shell("python", EXAMPLES / "drawings.py", drawn.folder, "sheet.jpg")
    findings = int(out.split()[0])
    assert findings >= 10
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width == 5 * 240
        assert sheet.height == -(-findings // 5) * 258


def test_an_exported_model_alone(shell, trained_once, tmp_path):
    """With no package of this project in reach, it finds what `predict` finds."""
    pytest.importorskip("onnxruntime")
    images = sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:4]
    folder = ("-w", trained_once.workspace.folder)
    shell("cxrtool", "export", "tiny", *folder, "--output", "model.onnx")
    script = EXAMPLES / "onnx_alone.py"
    barred = tmp_path / "barred"
    barred.mkdir()
    for name in ("cxrtool", "torch", "torchvision", "fastai", "onnx", "openvino", "pandas"):
        (barred / f"{name}.py").write_text("raise ImportError('not needed')")
    out = shell("env", f"PYTHONPATH={barred}", "python", script, "model.onnx", *images)
    told = shell("cxrtool", "predict", *images, *folder, "--json", "--engine", "torch")
    expected = {
        (row["path"], label)
        for row in json.loads(told)["predictions"]
        for label in row["positive"].split(";")
    }
    assert {tuple(line.split("\t")[:2]) for line in out.splitlines()} == expected
    assert expected


def test_a_space_of_ones_own():
    space = read_space(EXAMPLES / "own_space.yaml", TrainConfig())
    assert space["lr"].log
    assert space["batch_size"].choices == (16, 32, 64)


def test_every_example_is_listed_and_run():
    listed = (EXAMPLES / "README.md").read_text()
    tests = [*Path(__file__).parent.rglob("test_*.py"), EXAMPLES / "cross_validation.sh"]
    tested = "".join(path.read_text() for path in tests)
    for path in EXAMPLES.iterdir():
        if path.suffix in (".sh", ".py", ".yaml"):
            assert f"`{path.name}`" in listed
            assert path.name in tested
