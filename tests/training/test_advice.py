"""What is unusual about a training is told before it."""

from dataclasses import replace

import pytest

from cxrtool.core.errors import RunError
from cxrtool.core.workspace import Workspace
from cxrtool.workflows.train import train_model
from tests.conftest import TINY, Hearing
from tests.support.copies import copy_folder
from tests.support.training_options import ONCE, rows_of, write_cells


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pos_weight": "balanced"}, "counts rare findings twice"),
        ({"pos_weight": "2"}, "counts rare findings twice"),
        ({"pos_weight": "balanced", "sampling": "uniform"}, None),
        ({"schedule": "cosine", "warmup": 1.0}, "never reach --lr"),
        ({"schedule": "cosine", "warmup": 0.5}, None),
        ({"loss": "auc"}, "--loss auc never takes over"),
        ({"loss": "auc", "auc_after": 0}, None),
        ({"unfreeze": "top"}, "the body keeps its random weights"),
        ({"blank": "ignore"}, r"no negative training image and cannot be learned: No Finding"),
    ],
)
def test_what_is_unusual_is_warned_of(prepared_once, monkeypatch, tmp_path, changes, told):
    workspace = Workspace(tmp_path / "cxr")
    copy_folder(prepared_once.folder, workspace.folder)
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(replace(TINY, epochs=1, **changes), workspace, seed=1, reporter=hearing)
    assert [text for text in hearing.warnings if told and told in text] or not told
    assert told or not hearing.warnings, hearing.warnings


def stop(*_, **__):
    raise RunError("enough")


def test_a_label_without_positives_is_warned_of(prepared, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    paths = rows_of(prepared, "train")["path"]
    write_cells(prepared, {(path, "Fracture"): "" for path in paths})
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(ONCE, prepared, seed=1, reporter=hearing)
    told = [text for text in hearing.warnings if "no positive training image" in text]
    assert len(told) == 1
    assert "Fracture" in told[0]


def test_a_frozen_training_is_told(prepared, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.train.run_phases", stop)
    hearing = Hearing()
    with pytest.raises(RunError, match="enough"):
        train_model(replace(ONCE, freeze_epochs=1), prepared, seed=1, reporter=hearing)
    assert any("the last layer alone is trained" in text for text in hearing.notes)
