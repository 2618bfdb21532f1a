"""The head alone, then the top block too, with the rates of the report."""

import re

import pytest
import torch
from torchvision.models import ResNet

from cxrtool.networks import architectures as networks
from cxrtool.networks.architectures import build_network
from cxrtool.training.control import Control, TrainingPlan
from cxrtool.training.learner import make_learner
from cxrtool.training.losses import AUCMarginLoss, MaskedCrossEntropy, make_loss
from cxrtool.training.phases import run_phases
from tests.support.phases import LABELS, Tiny, scripted, train


@pytest.fixture(autouse=True)
def plan_of_tiny(monkeypatch):
    """Its blocks have a ResNet's names."""
    monkeypatch.setitem(networks.PLANS, Tiny, networks.PLANS[ResNet])


def changed(before, after):
    return {key for key in before if not torch.equal(before[key], after[key])}


@pytest.mark.parametrize(
    ("arch", "top", "head"),
    [
        ("resnet101", r"layer4\.", r"fc\."),
        ("densenet121", r"features\.(denseblock4|norm5)\.", r"classifier\."),
    ],
)
def test_head_alone_for_three_epochs_then_the_top_block_too(loaders, arch, top, head):
    torch.manual_seed(0)
    network = build_network(arch, 2)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    everything = {name for name, _ in network.named_parameters()}
    heads = {name for name in everything if re.match(head, name)}
    tops = {name for name in everything if re.match(top, name)}
    seen, _, _ = train(loaders, network)
    assert [moving for *_, moving in seen] == [heads] * 3 + [heads | tops] * 2
    # Not one bit of the frozen blocks moves, batch statistics included.
    assert changed(start, seen[2][2]) == heads
    moved = changed(start, seen[4][2])
    assert all(re.match(f"{top}|{head}", name) for name in moved)
    assert tops | heads <= moved
    assert any(name.endswith("running_mean") for name in moved)
    assert [row["phase"] for row, *_ in seen] == ["head"] * 3 + ["top"] * 2


def rates(seen):
    return [(row["lr"], row["weight_decay"]) for row, *_ in seen]


def test_both_rates_fall_to_a_tenth_when_the_top_block_joins(loaders):
    seen, _, _ = train(loaders, Tiny())
    assert rates(seen) == [(1e-3, 1e-2)] * 3 + [(pytest.approx(1e-4), pytest.approx(1e-3))] * 2


def test_neither_rate_falls_below_1e_minus_6(loaders):
    seen, _, _ = train(loaders, Tiny(), lr=5e-6, weight_decay=3e-6, plateau_patience=99)
    assert rates(seen)[3:] == [(1e-6, 1e-6)] * 2


def test_a_rate_that_is_lower_already_never_rises(loaders):
    seen, _, _ = train(loaders, Tiny(), lr=1e-7, weight_decay=0.0, plateau_patience=99)
    assert rates(seen) == [(1e-7, 0.0)] * 5


def test_without_frozen_epochs_the_rates_stay(loaders):
    seen, _, _ = train(loaders, Tiny(), freeze_epochs=0, unfreeze="all", epochs=2)
    assert rates(seen) == [(1e-3, 1e-2)] * 2
    assert [row["phase"] for row, *_ in seen] == ["all"] * 2


def test_the_heads_moments_survive_the_unfreezing(loaders):
    network = Tiny()
    _, _, learner = train(loaders, network, epochs=5)
    steps = learner.opt.opt.state[network.fc.weight]["step"]
    assert int(steps) == 5 * 2  # two batches an epoch
    assert int(learner.opt.opt.state[network.layer4[0].weight]["step"]) == 2 * 2


def test_stopping_in_the_frozen_phase_ends_training(loaders, monkeypatch):
    scripted(monkeypatch, [0.6, 0.5, 0.9, 0.9])
    seen, _, _ = train(loaders, Tiny(), epochs=4, patience=1)
    assert len(seen) == 2


def test_the_auc_loss_takes_over_after_its_epochs(loaders, monkeypatch):
    kinds = []

    def kind(loss):
        def call(self, logits, targets, original=loss.forward):
            if torch.is_grad_enabled():
                kinds.append(loss.__name__)
            return original(self, logits, targets)

        return call

    for loss in (MaskedCrossEntropy, AUCMarginLoss):
        monkeypatch.setattr(loss, "forward", kind(loss))
    torch.manual_seed(0)
    learner = make_learner(loaders, Tiny(), lr=1e-3, weight_decay=0.0, precision="fp32")
    plan = TrainingPlan(epochs=3, auc_after=1)
    control = Control(
        LABELS, plan, on_validated=lambda *_: None, later_loss=make_loss("auc", pos_weight=None)
    )
    run_phases(learner, control)
    assert kinds.count("AUCMarginLoss") == 4
    assert kinds[:2] == ["MaskedCrossEntropy"] * 2
