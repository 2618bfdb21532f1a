import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cxrtool.cli.show.results import rates_tried
from cxrtool.core.config import CommonConfig
from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.processes import Processes
from cxrtool.training import setup as train_setup
from cxrtool.training.learner import CXRLearner
from cxrtool.training.losses import MaskedCrossEntropy
from cxrtool.workflows import train_lr_find as train_rates
from cxrtool.workflows.train_lr_find import HIGHEST, LOWEST, STEPS, find_rate
from tests.conftest import TINY
from tests.support.smaller import get_smaller

QUICK = replace(TINY, freeze_epochs=5, epochs=5, batch_size=4, limit=20)
"""The head alone: no backward pass through the body."""


@pytest.fixture
def steps(monkeypatch):
    """The groups' rates in each step, and how many weights it moved."""
    taken = []
    original = CXRLearner._step

    def step(self):
        rates = [group["lr"] for group in self.opt.opt.param_groups]
        before = self.network.conv1.weight.detach().clone()
        original(self)
        taken.append((rates, not torch.equal(before, self.network.conv1.weight)))

    monkeypatch.setattr(CXRLearner, "_step", step)
    return taken


@pytest.fixture
def losses(monkeypatch):
    """Losses of a test, told instead of computed, as a function of the step's number."""

    def say(what):
        calls = iter(range(10**6))
        monkeypatch.setattr(
            MaskedCrossEntropy,
            "forward",
            lambda _, logits, targets: 0 * logits.float().mean() + float(what(next(calls))),
        )

    return say


def files_in(folder):
    return {path: sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_the_rates_rise_evenly_and_body_and_head_keep_their_ratio(prepared, steps, monkeypatch):
    monkeypatch.setattr("torchvision.models.get_model", get_smaller)
    config = replace(TINY, arch="resnet34", batch_size=4, limit=20, lr=1e-3, body_lr=1e-4)
    config = replace(config, sampling="uniform")
    before = files_in(prepared.folder)
    result = find_rate(config, prepared, seed=1)
    rates = np.array([rates for rates, _ in steps])
    assert len(rates) <= STEPS
    head = rates[:, 2]
    assert head[0] == pytest.approx(LOWEST)
    np.testing.assert_allclose(head[1:] / head[:-1], (HIGHEST / LOWEST) ** (1 / 99))
    np.testing.assert_allclose(rates[:, :2] / head[:, None], 0.1)
    assert steps[-1][1], "the body was not trained"
    assert LOWEST < result.suggestion < HIGHEST
    assert result.body_lr == pytest.approx(0.1 * result.suggestion)
    after = files_in(prepared.folder)
    assert set(after) - set(before) == {result.figure, result.table}
    assert {path: after[path] for path in before} == before
    assert result.figure.read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(result.table)
    assert table.columns.tolist() == ["lr", "loss", "smoothed"]
    np.testing.assert_allclose(table["lr"], head[: result.steps], rtol=1e-5)
    assert not prepared.runs.exists()


def test_the_phase_is_the_one_that_training_begins_with(prepared, steps):
    result = find_rate(QUICK, prepared, seed=1)
    assert len(steps) == result.steps == STEPS
    assert steps[-1][0] == [pytest.approx(HIGHEST)] * 3
    assert not any(moved for _, moved in steps)
    assert result.body_lr is None


def test_the_suggestion_lies_where_the_loss_falls(prepared, losses):
    losses(lambda step: 1.0 if step < 30 else max(0.2, 1 - (step - 30) / 40))
    result = find_rate(QUICK, prepared, seed=1)
    rates = LOWEST * (HIGHEST / LOWEST) ** (np.arange(STEPS) / (STEPS - 1))
    assert rates[30] < result.suggestion < rates[75]


def test_it_ends_when_the_loss_has_risen_for_good(prepared, losses, steps):
    losses(lambda step: 1 - step / 100 if step < 40 else 1e4)
    result = find_rate(QUICK, prepared, seed=1)
    assert result.steps == 41
    assert len(steps) <= 41
    assert result.suggestion < steps[39][0][2]


def test_a_loss_that_is_no_number_ends_it_and_is_left_out(prepared, losses):
    losses(lambda step: 1 - step / 100 if step < 40 else float("nan"))
    result = find_rate(QUICK, prepared, seed=1)
    assert result.steps == 40
    assert pd.read_csv(result.table).notna().all().all()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (lambda step: 1.0 if step < 10 else float("inf"), r"not finite after 10 steps.*fp32"),
        (lambda _: float("nan"), "not finite after 0 steps"),
        (lambda step: 1 + step / 100, "the loss did not fall at any of 100 rates"),
    ],
)
def test_where_no_rate_can_be_told_none_is(prepared, losses, what, told):
    losses(what)
    before = files_in(prepared.folder)
    with pytest.raises(RunError, match=told):
        find_rate(QUICK, prepared, seed=1)
    assert files_in(prepared.folder) == before


def test_what_is_refused(prepared, monkeypatch):
    with pytest.raises(UsageError, match="more than the"):
        find_rate(replace(TINY, batch_size=5000), prepared, seed=1)

    monkeypatch.setattr(train_setup, "launched", lambda: Processes(world=2))
    with pytest.raises(UsageError, match="one process"):
        find_rate(TINY, prepared, seed=1)


def test_too_little_memory_is_told(prepared, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CXRLearner, "_backward", full)
    with pytest.raises(RunError, match=r"out of memory .*: try --batch-size 8$"):
        find_rate(TINY, prepared, seed=1)


@pytest.mark.parametrize(("body", "flags"), [(None, ""), (2e-5, " --body-lr 2.0e-05")])
def test_what_is_shown_can_be_typed(tmp_path, capsys, body, flags):
    result = train_rates.RatesResult(2e-4, body, 100, tmp_path / "f.png", tmp_path / "f.csv")
    rates_tried(result, CommonConfig())
    text = capsys.readouterr().out
    assert f"with --lr 2.0e-04{flags} in place of --lr-find" in text
    rates_tried(result, CommonConfig(json=True))
    told = json.loads(capsys.readouterr().out)
    assert (told["suggestion"], told["body_lr"], told["steps"]) == (2e-4, body, 100)
