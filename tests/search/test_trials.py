"""What a study keeps of its trials, and of the best."""

import json

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from cxrtool.cli.app import app
from cxrtool.core.config import TrainConfig
from tests.conftest import TINY
from tests.support.searching import score, search


def trials(workspace, name):
    return pd.read_csv(workspace.studies / name / "trials.csv", keep_default_na=False)


def test_the_first_trial_has_the_settings_held_and_the_best_is_kept(pretended):
    found = search(pretended, name="a", lr=2e-3)
    assert [row["state"] for row in found.trials] == ["finished"] * 4
    assert found.trials[0]["values"] == {
        "lr": 2e-3,
        "weight_decay": TINY.weight_decay,
        "plateau_patience": TINY.plateau_patience,
    }
    best = max(found.trials, key=lambda row: row["valid_mean_auroc"])
    assert found.best == best
    assert "valid (" in found.selected_on
    assert "of 11 patients" in found.selected_on
    json.dumps(found.as_json(), allow_nan=False)
    table = trials(pretended, "a")
    assert table["valid_mean_auroc"].tolist() == [row["valid_mean_auroc"] for row in found.trials]
    assert {path.name for path in found.written} == {
        *("best.yaml", "trials.csv", "history.png", "slices.png", "importances.png")
    }
    assert all(path.stat().st_size > 100 for path in found.written)


def test_the_best_options_are_a_file_for_train(undrawn):
    found = search(undrawn, name="a")
    settings = yaml.safe_load((found.folder / "best.yaml").read_text())
    assert settings.pop("seed") == 1
    best = TrainConfig(**settings)
    assert score(best) == pytest.approx(found.best["valid_mean_auroc"])
    assert (best.arch, best.epochs, best.batch_size) == (TINY.arch, TINY.epochs, TINY.batch_size)
    planned = CliRunner().invoke(
        app,
        [
            *("train", "--config", str(found.folder / "best.yaml"), "-w", str(undrawn.folder)),
            *("--dry-run", "--json", "--workers", "0", "--device", "cpu"),
        ],
    )
    assert planned.exit_code == 0, planned.stderr
