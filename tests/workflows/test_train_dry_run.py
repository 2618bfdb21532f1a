import json
from dataclasses import replace

import pytest
import torch
from torchvision import models

from cxrtool.cli.show.results import planned
from cxrtool.core.config import CommonConfig
from cxrtool.core.errors import CxrToolError, RunError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.processes import Processes
from cxrtool.core.runs import RunFolder
from cxrtool.networks import architectures as networks
from cxrtool.training import setup as train_setup
from cxrtool.training.learner import CXRLearner
from cxrtool.training.schedules import PHASES
from cxrtool.workflows import train_dry_run as train_plan
from cxrtool.workflows.train import train_model
from cxrtool.workflows.train_dry_run import Stopwatch, plan_training
from tests.conftest import TINY, Listening


def files_in(folder):
    return {p: (p.stat().st_mtime_ns, sha256(p)) for p in folder.rglob("*") if p.is_file()}


def weights_in(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def timed(monkeypatch):
    """A step takes 2 seconds, a validation 3."""
    monkeypatch.setattr(train_plan, "_seconds_a_step", lambda *_: 2.0)
    monkeypatch.setattr(train_plan, "_seconds_to_validate", lambda *_: 3.0)


def test_it_writes_nothing_and_says_what_the_training_then_is(prepared):
    config = replace(TINY, batch_size=7, limit=30, validations=2, labels="Edema,Fracture")
    before = files_in(prepared.folder)
    plan = plan_training(config, prepared, seed=3)
    assert files_in(prepared.folder) == before
    assert not prepared.runs.exists() or not list(prepared.runs.iterdir())
    run = train_model(replace(config, name="real", keep_checkpoint=True), prepared, seed=3).run
    model = json.loads(run.model.read_text())
    rows = run.history.read_text().splitlines()
    assert plan.images == model["images"]
    assert plan.labels == json.loads(run.labels.read_text())["labels"] == ["Edema", "Fracture"]
    assert len(rows) - 1 == sum(phase.epochs for phase in plan.phases) * plan.validations
    steps = int(rows[-1].split(",")[rows[0].split(",").index("step")])
    assert steps == plan.batches * config.epochs
    assert abs(run.checkpoint.stat().st_size / plan.checkpoint_bytes - 1) < 0.03
    assert 0 < plan.seconds < 600
    assert plan.memory_bytes > 50 * 2**20


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_checkpoint_is_as_large_as_told(trained_once, prepared_once, ema):
    plan = plan_training(replace(TINY, ema=ema), prepared_once, seed=1)
    size = RunFolder(trained_once.workspace.runs / "tiny").checkpoint.stat().st_size
    more = 4 * weights_in(models.resnet18(num_classes=14)) if ema else 0
    assert plan.checkpoint_bytes == pytest.approx(size + more, rel=0.02)


@pytest.mark.parametrize(
    ("change", "phases"),
    [
        ({"epochs": 5}, [(PHASES["all"], 5, ("body", "top", "head"))]),
        (
            {"epochs": 5, "freeze_epochs": 2, "unfreeze": "top"},
            [(PHASES["head"], 2, ("head",)), (PHASES["top"], 3, ("top", "head"))],
        ),
        (
            {"epochs": 3, "freeze_epochs": 1},
            [(PHASES["head"], 1, ("head",)), (PHASES["all"], 2, ("body", "top", "head"))],
        ),
        ({"epochs": 2, "freeze_epochs": 4}, [(PHASES["head"], 2, ("head",))]),
    ],
)
def test_the_phases_are_those_of_the_options(prepared_once, timed, change, phases):
    plan = plan_training(replace(TINY, **change), prepared_once, seed=1)
    network = models.resnet18(num_classes=14)
    blocks = {"top": weights_in(network.layer4), "head": weights_in(network.fc)}
    blocks["body"] = weights_in(network) - sum(blocks.values())
    assert plan.blocks == blocks
    told = [(phase.phase, phase.epochs, phase.trained) for phase in plan.phases]
    assert told == [(name, n, sum(blocks[b] for b in which)) for name, n, which in phases]


def test_time_is_steps_and_validations(prepared_once, timed):
    config = replace(TINY, epochs=5, freeze_epochs=2, validations=3)
    plan = plan_training(config, prepared_once, seed=1)
    epoch = 2.0 * plan.batches + 3.0 * 3
    assert [phase.seconds_per_epoch for phase in plan.phases] == [epoch, epoch]
    assert plan.seconds == 5 * epoch


def test_the_phases_that_are_timed_train_what_they_say(prepared_once, monkeypatch):
    moved = []
    original = CXRLearner._step

    def step(self):
        before = [p.detach().clone() for p in self.network.parameters()]
        original(self)
        pairs = zip(before, self.network.parameters(), strict=True)
        moved.append(sum(b.numel() for b, p in pairs if not torch.equal(b, p)))

    monkeypatch.setattr(CXRLearner, "_step", step)
    config = replace(TINY, freeze_epochs=1, unfreeze="top")
    plan = plan_training(config, prepared_once, seed=1)
    assert len(moved) == 2 * (1 + train_plan.TIMED_STEPS)
    assert sorted(set(moved)) == [phase.trained for phase in plan.phases]


def test_a_single_batch_is_enough(prepared_once):
    plan = plan_training(replace(TINY, limit=20, batch_size=20), prepared_once, seed=1)
    assert plan.batches == 1
    assert plan.seconds > 0


def test_the_first_batch_does_not_count():
    watch = Stopwatch(4)
    watch.times = [0.0, 100.0, 101.0, 103.0, 113.0]
    assert watch.seconds_a_batch == 2.0
    watch.times = [0.0, 100.0]
    assert watch.seconds_a_batch == 100.0


@pytest.mark.parametrize(
    "change",
    [
        {"name": "tiny"},
        {"name": "../out"},
        {"batch_size": 5000},
        {"batch_size": 1},
        {"labels": "Edma"},
        {"uncertainty": "ones,Edma=zeros"},
        {"validations": 999},
        {"pos_weight": "2", "loss": "auc"},
        {"schedule": "one-cycle", "warmup": 1.0},
        {"weights": "gone.pth"},
        {"device": "cuda:9"},
    ],
)
def test_it_refuses_what_training_refuses_in_its_words(trained, change):
    config = replace(TINY, **change)
    before = files_in(trained.workspace.folder)
    with pytest.raises(CxrToolError) as trying:
        plan_training(config, trained.workspace, seed=1)
    with pytest.raises(CxrToolError) as training:
        train_model(config, trained.workspace, seed=1)
    assert type(trying.value) is type(training.value)
    assert str(trying.value) == str(training.value)
    assert files_in(trained.workspace.folder) == before


def test_what_is_unusual_is_told_as_in_training(prepared_once, timed):
    listening = Listening()
    plan_training(replace(TINY, pos_weight="balanced"), prepared_once, seed=1, reporter=listening)
    assert any("counts rare findings twice" in text for text in listening.warnings)


def test_too_little_memory_is_told(prepared_once, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(CXRLearner, "_backward", full)
    with pytest.raises(RunError, match=r"out of memory at --batch-size 16 .*: try --batch-size 8$"):
        plan_training(TINY, prepared_once, seed=1)


def test_two_trials_at_once_and_several_processes_are_refused(prepared_once, monkeypatch):
    with pytest.raises(UsageError, match="--lr-find"):
        plan_training(replace(TINY, lr_find=True), prepared_once, seed=1)
    monkeypatch.setattr(train_setup, "launched", lambda: Processes(world=2))
    with pytest.raises(UsageError, match="one process"):
        plan_training(TINY, prepared_once, seed=1)


def test_what_is_shown_fits_and_is_the_json(prepared_once, timed, capsys):
    plan = plan_training(replace(TINY, freeze_epochs=1), prepared_once, seed=1)
    planned(plan, CommonConfig(json=True))
    told = json.loads(capsys.readouterr().out)
    assert told["phases"][0] == vars(plan.phases[0])
    planned(plan, CommonConfig())
    text = capsys.readouterr().out
    assert f"{plan.batches} batches of 16 an epoch" in text
    assert PHASES["head"] in text
    assert "nothing was written" in text
    assert networks.block_sizes(models.resnet18(num_classes=14)) == plan.blocks
