"""A run whose last layer was fitted to features: alone, or before the network is trained."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cxrtool.core.config import TrainConfig
from cxrtool.core.console import SILENT
from cxrtool.core.errors import StoppedError, UsageError
from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.graphs import load_scoring, torch_probabilities
from cxrtool.training import probing
from cxrtool.training import recorder as recorder_module
from cxrtool.training.choices import resolve
from cxrtool.training.probe import STRENGTHS
from cxrtool.training.setup import set_up
from cxrtool.workflows.runs import list_runs
from cxrtool.workflows.train import train_model
from tests.conftest import TINY
from tests.support.blank_curves import draw_blank
from tests.support.calling import call

PROBE = replace(TINY, arch="timm/test_resnet", probe="only", sampling="uniform", name="probe")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(recorder_module, "draw_curves", draw_blank)


def test_a_probes_run_scores_as_its_features_did(prepared):
    result = train_model(PROBE, prepared, seed=5)
    run, card = result.run, read_card(result.run)
    setup = set_up(PROBE.resolved(), torch.device("cpu"), prepared, seed=5, reporter=SILENT)
    weights, start = load_file(run.weights), setup.network.state_dict()
    assert all(torch.equal(weights[name], start[name]) for name in start if "fc" not in name)
    assert not torch.equal(weights["fc.weight"], start["fc.weight"])
    kept = pd.read_csv(run.predictions("valid")).set_index("path")[list(card.labels)]
    valid = setup.data.part(valid=True)["path"]
    pixels = setup.data.cache.read(setup.data.cache.rows_of(valid.tolist()))
    expected = torch_probabilities(load_scoring(run, card), pixels)
    np.testing.assert_allclose(kept.loc[valid], expected, atol=1e-5)
    history = pd.read_csv(run.history)
    assert set(history["phase"]) == {"probe"}
    assert history["weight_decay"].tolist() == list(STRENGTHS[: len(history)])
    best = history.loc[history["valid_mean_auroc"].idxmax()]
    assert result.valid_mean_auroc == pytest.approx(best["valid_mean_auroc"])
    assert (result.best_epoch, result.epochs) == (best["epoch"], len(history))
    (listed,) = list_runs(prepared)
    assert (listed.fitted, listed.epochs, listed.state) == (True, len(history), "finished")
    shown = call("runs", "-w", prepared.folder).stdout
    assert re.search(rf"^probe +{len(history)} fits +{best['epoch']:.0f} ", shown, re.MULTILINE)


def test_features_are_computed_once_for_all_that_is_fitted_to_them(prepared, monkeypatch):
    computed = []
    original = probing.compute_features
    monkeypatch.setattr(
        probing,
        "compute_features",
        lambda *given, **options: computed.append(1) or original(*given, **options),
    )
    first = train_model(PROBE, prepared, seed=5).run
    again = train_model(replace(PROBE, name="again"), prepared, seed=5).run
    assert first.weights.read_bytes() == again.weights.read_bytes()
    changed = {"uncertainty": "mixed", "pos_weight": "balanced", "l2": 0.5}
    others = {
        name: train_model(replace(PROBE, name=name, **{name: value}), prepared, seed=5).run
        for name, value in changed.items()
    }
    heads = {name: load_file(run.weights)["fc.weight"] for name, run in others.items()}
    heads["first"] = load_file(first.weights)["fc.weight"]
    assert len({head.numpy().tobytes() for head in heads.values()}) == 4
    assert len(pd.read_csv(others["l2"].history)) == 1
    assert computed == [1]
    train_model(replace(PROBE, name="half", half_features=True), prepared, seed=5)
    assert computed == [1, 1]


def test_weighted_sampling_counts_rare_findings_more(prepared):
    plain = train_model(PROBE, prepared, seed=5).run
    weighted = train_model(replace(PROBE, name="w", sampling="weighted"), prepared, seed=5).run
    rare = json.loads(plain.labels.read_text())["train"]
    label = min(rare, key=lambda one: rare[one]["positives"])
    means = [pd.read_csv(run.predictions("valid"))[label].mean() for run in (plain, weighted)]
    assert means[1] > means[0]


def test_fine_tuning_starts_from_the_fitted_layer(prepared):
    probe = train_model(PROBE, prepared, seed=5)
    config = replace(TINY, arch="timm/test_resnet", probe="first", sampling="uniform", epochs=1)
    # At a rate of nothing the network stays what it was when it was fitted, but for its norms.
    config = replace(config, lr=0.0, weight_decay=0.0, ema=0.9999, unfreeze="top", freeze_epochs=1)
    tuned = train_model(replace(config, name="tuned"), prepared, seed=5)
    one, other = (load_file(result.run.weights) for result in (probe, tuned))
    assert (one["fc.weight"] - other["fc.weight"]).abs().max() < 1e-6
    assert tuned.valid_mean_auroc == pytest.approx(probe.valid_mean_auroc, abs=1e-6)
    moved = train_model(replace(config, name="moved", lr=1e-2, ema=0.0), prepared, seed=5)
    assert not torch.equal(load_file(moved.run.weights)["fc.weight"], other["fc.weight"])


def test_fine_tuning_from_a_fitted_layer_resumes_to_the_same_end(prepared, monkeypatch):
    config = replace(TINY, arch="timm/test_resnet", probe="first", name="a", checkpoint_every=0.0)
    alone = train_model(config, prepared, seed=5).run
    calls = []
    original = recorder_module.RunRecorder.keep

    def stopped(self, checkpoint, state):
        original(self, checkpoint, state)
        calls.append(state.step)
        if len(calls) == 3:
            raise StoppedError("stop")

    with monkeypatch.context() as patch:
        patch.setattr(recorder_module.RunRecorder, "keep", stopped)
        patch.setattr("cxrtool.core.new_runs.OpenRun.undo", lambda _: None)
        with pytest.raises(StoppedError):
            train_model(replace(config, name="b"), prepared, seed=5)
    assert calls[-1] > 0
    # Its features are not asked for again.
    monkeypatch.setattr("cxrtool.workflows.train.fit_head", None)
    going_on = TrainConfig(resume="b", device="cpu", workers=0)
    resumed = train_model(going_on, prepared, seed=5, given={"resume", "device", "workers"}).run
    assert alone.weights.read_bytes() == resumed.weights.read_bytes()


def test_a_fit_that_was_killed_starts_again_and_one_that_is_finished_stays(prepared, monkeypatch):
    config = replace(PROBE, keep_checkpoint=True)
    alone = train_model(replace(config, name="alone"), prepared, seed=5).run
    with monkeypatch.context() as patch:
        patch.setattr("cxrtool.core.new_runs.OpenRun.undo", lambda _: None)
        patch.setattr(recorder_module.RunRecorder, "finish", raising(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_model(config, prepared, seed=5)
    going_on = TrainConfig(resume="probe", device="cpu", workers=0)
    given = {"resume", "device", "workers"}
    run = train_model(going_on, prepared, seed=5, given=given).run
    assert run == RunFolder(prepared.runs / "probe")
    assert run.weights.read_bytes() == alone.weights.read_bytes()
    with pytest.raises(UsageError, match="is finished: a last layer that was fitted"):
        train_model(going_on, prepared, seed=5, given=given)


def raising(error):
    def call(*_, **__):
        raise error

    return call


def test_a_run_that_is_replaced_is_gone_at_the_end(prepared):
    train_model(PROBE, prepared, seed=5)
    train_model(replace(PROBE, force=True), prepared, seed=6)
    assert [path.name for path in prepared.runs.iterdir()] == ["probe"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": 2}, "--views belongs to --probe"),
        ({"l2": 1.0}, "--l2 belongs to --probe"),
        ({"probe": "only", "dry_run": True}, "--dry-run with --probe only"),
        ({"probe": "only", "lr_find": True}, "--lr-find with --probe only"),
        ({"probe": "only", "loss": "asymmetric"}, "leave --loss asymmetric out"),
    ],
)
def test_what_makes_no_sense_with_a_probe_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        resolve(replace(TINY, **options))
