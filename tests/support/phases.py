"""The least network with a body, and its training."""

import numpy as np
import torch
from torch import nn

from cxrtool.training import control as control_module
from cxrtool.training.control import Control, TrainingPlan
from cxrtool.training.learner import make_learner
from cxrtool.training.phases import run_phases

LABELS = ("A", "B")


class Tiny(nn.Module):
    """The least network with a body, a top block and a head."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Conv2d(3, 4, 3, 2)
        self.layer4 = nn.Sequential(nn.Conv2d(4, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 2)

    def forward(self, images):
        return self.fc(self.layer4(self.layer1(images)).mean((2, 3)))


def train(loaders, network, *, lr=1e-3, weight_decay=1e-2, epochs=5, freeze_epochs=3, **given):
    """Train, and keep what each epoch showed: its row, whether better, the state, what moves."""
    torch.manual_seed(0)
    seen = []

    def end_epoch(row, better, _):
        state = {key: value.clone() for key, value in network.state_dict().items()}
        moving = {name for name, p in network.named_parameters() if p.requires_grad}
        seen.append((row, better, state, moving))

    learner = make_learner(
        loaders,
        network,
        lr=lr,
        body_lr=given.get("body_lr"),
        weight_decay=weight_decay,
        precision=given.get("precision", "fp32"),
    )
    if "loss" in given:
        learner.loss_func = given["loss"](learner)
    plan = TrainingPlan(
        epochs=epochs,
        freeze_epochs=freeze_epochs,
        unfreeze=given.get("unfreeze", "top"),
        plateau_patience=given.get("plateau_patience", 2),
        patience=given.get("patience", 99),
        **{name: given[name] for name in ("validations", "schedule", "warmup") if name in given},
    )
    control = Control(LABELS, plan, on_validated=end_epoch, average=given.get("average"))
    run_phases(learner, control)
    return seen, control, learner


def scripted(monkeypatch, means):
    """Make the epochs' valid AUROCs what the test says."""
    values = iter(means)
    monkeypatch.setattr(
        control_module, "auroc_per_label", lambda *_: np.full(len(LABELS), next(values))
    )
