"""A training as its options set it up."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cxrtool.core.runs import RunFolder
from cxrtool.workflows.train import train_model
from tests.support.smaller import get_smaller
from tests.support.training_options import LABELS, ONCE


def test_some_labels_are_a_smaller_network_in_the_manifests_order(trained):
    """At a learning rate of 0 the last layer keeps the rows that it took from the run."""
    config = replace(ONCE, labels="Fracture, Edema", weights="tiny", lr=0.0, weight_decay=0.0)
    run = train_model(replace(config, name="two"), trained.workspace, seed=1).run
    two = ["Edema", "Fracture"]
    assert json.loads(run.labels.read_text())["labels"] == two
    assert list(json.loads(run.thresholds.read_text())["thresholds"]) == two
    table = pd.read_csv(run.predictions("valid"))
    logits = [f"{label}:logit" for label in two]
    assert table.columns.tolist() == ["path", *two, "positive", "warning", "error", *logits]
    history = pd.read_csv(run.history)
    assert [name for name in history.columns if name in LABELS] == two
    head = load_file(run.weights)["fc.weight"]
    whole = load_file(RunFolder(trained.workspace.runs / "tiny").weights)["fc.weight"]
    assert torch.equal(head, whole[[LABELS.index(label) for label in two]])


@pytest.mark.slow
def test_compiled_is_trained_as_uncompiled_is(prepared, monkeypatch):
    """Through torch's tracing, both phases and a run that goes on; without the C++ compiler."""
    compiled, original = [], nn.Module.compile

    def compile_quickly(self):
        compiled.append(self)
        original(self, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_quickly)
    monkeypatch.setattr("torchvision.models.get_model", get_smaller)
    config = replace(ONCE, arch="resnet34", sampling="uniform", limit=16, epochs=2)
    config = replace(config, freeze_epochs=1, keep_checkpoint=True)
    plain = train_model(replace(config, epochs=3, name="plain"), prepared, seed=1).run
    assert not compiled
    traced = train_model(replace(config, compile=True, name="traced"), prepared, seed=1).run
    assert len(compiled) == 2
    going_on = replace(config, resume="traced", epochs=3)
    train_model(going_on, prepared, seed=1, given={"epochs", "resume"})
    assert len(compiled) == 3
    histories = [pd.read_csv(run.history)["train_loss"] for run in (plain, traced)]
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-3)
    states = [load_file(run.weights) for run in (plain, traced)]
    assert set(states[0]) == set(states[1])
    assert not any("_orig_mod" in key for key in states[1])
