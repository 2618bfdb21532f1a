from dataclasses import replace

import pytest
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.config import DemoConfig
from cxrtool.core.errors import DataError
from cxrtool.core.runs import RunFolder
from cxrtool.workflows import demo
from cxrtool.workflows.demo import draw_only, run_demo

SMALL = DemoConfig(patients=120)


@pytest.fixture
def small_network(monkeypatch):
    """The demo's own chain with a training of one epoch on small images."""
    network = replace(demo.NETWORK, image_size=32, epochs=1, workers=0, device="cpu")
    monkeypatch.setattr(demo, "NETWORK", network)


@pytest.mark.slow
def test_the_demo_runs_the_whole_chain_and_says_that_it_is_a_drawing(
    tmp_path, monkeypatch, small_network
):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo", "--patients", "60"])
    assert done.exit_code == 0, done.stderr
    for told in (
        "mean AUROC",
        "logistic regression on 16x16",
        "probability",
        "labelled there",
        "drawing",
        "cxr-demo/runs/demo/report.html",
    ):
        assert told in done.stdout
    workspace = tmp_path / "cxr-demo"
    assert (workspace / "runs" / "demo" / "report.html").is_file()
    assert RunFolder(workspace / "runs" / "demo").finished
    assert (workspace / "data" / "CheXpert-v1.0-small" / "boxes.csv").is_file()
    again = CliRunner().invoke(app, ["demo", "--patients", "60"])
    assert again.exit_code == 1
    assert "--force" in again.stderr


def test_force_removes_an_earlier_demo_and_nothing_else(tmp_path):
    precious = tmp_path / "cxr-demo"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not an earlier demo"):
        run_demo(replace(SMALL, workspace=precious, force=True), seed=1)
    assert (precious / "thesis.txt").read_text() == "mine"


def test_only_data_draws_and_is_not_drawn_over(tmp_path):
    config = replace(SMALL, patients=3, only_data=tmp_path / "d")
    drawn = draw_only(config, seed=1)
    assert drawn.folder == tmp_path / "d" / "CheXpert-v1.0-small"
    assert drawn.images == len(list(drawn.folder.rglob("*.jpg")))
    before = (drawn.folder / "train.csv").read_bytes()
    with pytest.raises(DataError, match=r"CheXpert-v1\.0-small"):
        draw_only(config, seed=2)
    assert (drawn.folder / "train.csv").read_bytes() == before
    draw_only(replace(config, force=True), seed=2)
    assert (drawn.folder / "train.csv").read_bytes() != before
