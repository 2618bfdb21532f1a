"""The report's training, held to its letter."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import ResNet

from cxrtool.core.errors import RunError
from cxrtool.networks import architectures as networks
from cxrtool.training import dataloaders as dataloaders
from cxrtool.training.averaging import WeightAverage
from cxrtool.training.block import xray_block
from cxrtool.training.control import ControlState
from cxrtool.training.losses import AUCMarginLoss, MaskedCrossEntropy
from cxrtool.training.schedules import rate_factor
from cxrtool.workflows.train import train_model
from tests.support.phases import LABELS, Tiny, scripted, train
from tests.support.training_options import ONCE


def test_a_loss_that_is_no_number_names_the_batch_and_its_images(prepared, monkeypatch):
    batches, original = [], dataloaders.SampledLoader.begin_epoch

    def begin(self, *arguments):
        original(self, *arguments)
        batches.append([[self.paths[row] for row in batch] for batch in self.batches])

    calls = iter(range(100))
    monkeypatch.setattr(dataloaders.SampledLoader, "begin_epoch", begin)
    monkeypatch.setattr(
        MaskedCrossEntropy,
        "forward",
        lambda _, logits, targets: logits.float().mean() * (np.nan if next(calls) == 2 else 1),
    )
    with pytest.raises(RunError, match="epoch 1, batch 3, whose images are") as told:
        train_model(ONCE, prepared, seed=1)
    assert all(path in str(told.value) for path in batches[0][2])
    others = {path for batch in batches[0] for path in batch} - set(batches[0][2])
    assert not any(path in str(told.value) for path in others)


@pytest.fixture(autouse=True)
def plan_of_tiny(monkeypatch):
    """Its blocks have a ResNet's names."""
    monkeypatch.setitem(networks.PLANS, Tiny, networks.PLANS[ResNet])


def test_the_optimiser_is_adamw_with_torchs_constants(loaders):
    _, _, learner = train(loaders, Tiny(), epochs=1, freeze_epochs=0, unfreeze="all")
    assert isinstance(learner.opt.opt, torch.optim.AdamW)
    for group in learner.opt.opt.param_groups:
        assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)
        assert (group["lr"], group["weight_decay"]) == (1e-3, 1e-2)


def falling(learner):
    """Training loss falls from batch to batch, validation loss rises."""
    calls = {"n": 0}

    def loss(logits, targets):
        calls["n"] += 1
        return 0 * logits.sum() + (1 / calls["n"] if learner.training else float(calls["n"]))

    return loss


def rising(learner):
    """Training loss rises from batch to batch, validation loss falls."""
    calls = {"n": 0}

    def loss(logits, targets):
        calls["n"] += 1
        return 0 * logits.sum() + (float(calls["n"]) if learner.training else 1 / calls["n"])

    return loss


def test_the_rate_falls_when_the_training_loss_does_not(loaders):
    options = {"freeze_epochs": 0, "unfreeze": "all", "epochs": 8, "plateau_patience": 2}
    seen, _, _ = train(loaders, Tiny(), loss=rising, **options)
    found = [row["lr"] for row, *_ in seen]
    # As torch counts: two epochs are borne, the third lowers the rate for those that follow.
    assert found == pytest.approx([1e-3] * 4 + [1e-4] * 3 + [1e-5])


def test_the_rate_stays_while_the_training_loss_falls(loaders):
    options = {"freeze_epochs": 0, "unfreeze": "all", "epochs": 6, "plateau_patience": 0}
    seen, _, _ = train(loaders, Tiny(), loss=falling, **options)
    assert {row["lr"] for row, *_ in seen} == {1e-3}


def test_the_plateau_is_counted_over_both_phases(loaders):
    seen, _, _ = train(loaders, Tiny(), loss=rising, epochs=6, plateau_patience=2)
    found = [row["lr"] for row, *_ in seen]
    assert found == pytest.approx([1e-3] * 3 + [1e-4] + [1e-5] * 2)


def test_training_stops_after_patience_epochs_without_a_better_auroc(loaders, monkeypatch):
    scripted(monkeypatch, [0.6, 0.7, 0.7, 0.65, 0.69, 0.9])
    seen, control, _ = train(loaders, Tiny(), epochs=6, patience=3)
    assert [better for _, better, *_ in seen] == [True, True, False, False, False]
    assert (control.state.best_epoch, control.state.best_auroc) == (2, 0.7)
    assert control.stopped


def test_an_undefined_auroc_is_never_better(loaders, monkeypatch):
    scripted(monkeypatch, [0.6, float("nan"), 0.7])
    seen, control, _ = train(loaders, Tiny(), epochs=3)
    assert [better for _, better, *_ in seen] == [True, False, True]
    assert control.state.best_epoch == 3


def test_the_state_is_plain_json(loaders):
    _, control, _ = train(loaders, Tiny(), epochs=4)
    control.state.history[0]["A"] = float("nan")
    state = json.loads(json.dumps(control.state.as_json(), allow_nan=False))
    again = ControlState.of_json(state)
    assert np.isnan(again.history[0].pop("A"))
    del control.state.history[0]["A"]
    assert again == control.state


def test_a_loss_that_is_no_number_ends_training_with_advice(loaders):
    def broken(learner):
        return lambda logits, targets: logits.sum() * float("nan")

    told = r"no longer finite in epoch 1, batch 1, whose images are .*png.*: try a lower --lr"
    with pytest.raises(RunError, match=told):
        train(loaders, Tiny(), loss=broken, epochs=2)


def test_the_epochs_loss_is_the_mean_over_its_samples(loaders):
    network = Tiny()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    seen, _, _ = train(loaders, network, lr=0.0, epochs=1, freeze_epochs=0, unfreeze="all")
    assert seen[0][0]["train_loss"] == pytest.approx(np.log(2), abs=1e-6)


def masked_loaders(folder, batch_size):
    """Eight training images, whose masked cells lie unevenly over any batches."""
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(12)]})
    frame["is_valid"] = [i >= 8 for i in range(12)]
    frame["A"] = np.array([1, 0, np.nan, np.nan, np.nan, 1, np.nan, np.nan] + [0, 1] * 2, "f4")
    frame["B"] = np.array([1, np.nan, np.nan, 0, np.nan, np.nan, 0, np.nan] + [1, 0] * 2, "f4")
    known = {"mean": 0.5, "std": 0.3, "seed": 3, "blank": "ignore"}
    block = xray_block(frame, LABELS, folder=folder, image_size=32, **known)
    return block.dataloaders(bs=batch_size, num_workers=0, device=torch.device("cpu"))


def constant_network():
    """Logits 2 and -1 for whatever image."""
    network = Tiny()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.fc.bias.copy_(torch.tensor([2.0, -1.0]))
    return network


@pytest.mark.parametrize("pos_weight", [None, torch.tensor([3.0, 0.5])], ids=["plain", "weighted"])
@pytest.mark.parametrize(("batch_size", "validations"), [(2, 1), (2, 3), (3, 1), (4, 2), (8, 1)])
def test_where_targets_are_masked_the_epochs_loss_is_the_mean_over_what_counts(
    folder, batch_size, validations, pos_weight
):
    loss = MaskedCrossEntropy(pos_weight)
    options = {"lr": 0.0, "epochs": 2, "freeze_epochs": 0, "unfreeze": "all"}
    seen, control, _ = train(
        masked_loaders(folder, batch_size),
        constant_network(),
        loss=lambda _: loss,
        validations=validations,
        **options,
    )
    targets = masked_loaders(folder, 8).train.targets
    whole = float(loss(torch.tensor([[2.0, -1.0]]).expand(8, 2), targets))
    ends = [row["train_loss"] for row, *_ in seen][validations - 1 :: validations]
    assert ends == pytest.approx([whole] * 2, rel=1e-6)
    assert control.state.plateau["best"] == pytest.approx(whole, rel=1e-6)


def test_without_masks_the_epochs_loss_is_bit_by_bit_the_mean_over_its_images(loaders):
    options = {"freeze_epochs": 0, "unfreeze": "all", "epochs": 1}
    seen, control, _ = train(loaders, Tiny(), **options)
    losses = torch.stack(control.losses).double()
    sizes = torch.tensor(control.sizes, dtype=torch.float64)
    assert seen[0][0]["train_loss"] == float((losses * sizes).sum() / sizes.sum())


def test_a_batch_in_which_no_label_has_both_classes_does_not_lower_the_auc_losss_mean(folder):
    loss = AUCMarginLoss()
    options = {"lr": 0.0, "epochs": 1, "freeze_epochs": 0, "unfreeze": "all"}
    seen, control, _ = train(
        masked_loaders(folder, 2), constant_network(), loss=lambda _: loss, **options
    )
    assert {float(cells) for cells in control.counted} == {0.0, 2.0}
    # Scores that are all equal lie a whole margin apart from where they should be.
    assert seen[0][0]["train_loss"] == pytest.approx(1.0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_runs_at_half_precision(loaders, precision):
    network = Tiny()
    before = network.layer1.weight.clone()
    seen, _, _ = train(
        loaders, network, epochs=2, freeze_epochs=0, unfreeze="all", precision=precision
    )
    assert np.isfinite(seen[-1][0]["train_loss"])
    assert network.layer1.weight.dtype == torch.float32
    assert not torch.equal(before, network.layer1.weight)


def test_several_validations_walk_through_one_draw_of_the_epoch(loaders):
    walked = []
    original = loaders.train.read

    def read(rows):
        walked.append(list(rows))
        return original(rows)

    loaders.train.read = read
    try:
        seen, control, _ = train(
            loaders, Tiny(), epochs=2, freeze_epochs=0, unfreeze="all", validations=2
        )
    finally:
        loaders.train.read = original
    assert [(row["epoch"], row["step"]) for row, *_ in seen] == [(1, 1), (1, 2), (2, 3), (2, 4)]
    assert [len(rows) for rows in walked] == [4] * 4
    assert walked[2:] == loaders.train.batches
    assert (control.state.epoch, control.state.batch, control.state.validations) == (2, 0, 0)


def test_patience_is_counted_in_epochs_however_often_is_validated(loaders, monkeypatch):
    scripted(monkeypatch, [0.9] + [0.5] * 7)
    seen, _, _ = train(
        loaders, Tiny(), epochs=4, freeze_epochs=0, unfreeze="all", validations=2, patience=2
    )
    assert len(seen) == 5  # the best one, and two epochs' four after it


def test_the_plateau_judges_whole_epochs(loaders):
    options = {"freeze_epochs": 0, "unfreeze": "all", "epochs": 4, "plateau_patience": 0}
    seen, _, _ = train(loaders, Tiny(), loss=rising, validations=2, **options)
    found = [row["lr"] for row, *_ in seen]
    assert found == pytest.approx([1e-3] * 4 + [1e-4] * 2 + [1e-5] * 2)


def test_body_and_head_have_rates_of_their_own(loaders):
    seen, _, learner = train(loaders, Tiny(), lr=1e-3, body_lr=1e-4, epochs=4, freeze_epochs=1)
    first, last = seen[0][0], seen[-1][0]
    assert (first["lr"], first["body_lr"]) == (1e-3, 1e-4)
    assert (last["lr"], last["body_lr"]) == pytest.approx((1e-4, 1e-5))
    assert [group["lr"] for group in learner.opt.opt.param_groups] == pytest.approx(
        [1e-5, 1e-5, 1e-4]
    )


@pytest.mark.parametrize(("schedule", "warmup"), [("cosine", 1.0), ("one-cycle", 0.0)])
def test_the_rates_follow_the_schedule_step_by_step(loaders, schedule, warmup):
    steps = []

    def watching(learner):
        def loss(logits, targets):
            steps.append([group["lr"] for group in learner.opt.opt.param_groups])
            return F.binary_cross_entropy_with_logits(logits, targets)

        return loss

    options = {"freeze_epochs": 0, "unfreeze": "all", "epochs": 4, "loss": watching}
    train(loaders, Tiny(), lr=1e-2, body_lr=1e-3, schedule=schedule, warmup=warmup, **options)
    expected = [rate_factor(schedule, done=step / 2, total=4, warmup=warmup) for step in range(8)]
    assert len(steps) == 8
    np.testing.assert_allclose([rates[2] for rates in steps], 1e-2 * np.array(expected))
    np.testing.assert_allclose([rates[0] for rates in steps], 1e-3 * np.array(expected))


def test_the_average_is_what_is_validated_and_training_goes_on_with_the_weights(loaders):
    network = Tiny()
    average = WeightAverage(network, 0.9)
    scored = []
    average.network.register_forward_hook(lambda *_: scored.append("average"))
    network.register_forward_hook(lambda module, *_: scored.append(module.training))
    train(loaders, network, epochs=1, freeze_epochs=0, unfreeze="all", average=average)
    assert scored == [True, True, "average"]  # two batches, and one of validation
    assert average.updates == 2
    assert not torch.equal(average.network.fc.weight, network.fc.weight)
    assert not average.network.training


def test_a_full_precision_step_is_torchs_own(loaders):
    """Against a loop written out by hand: same batches, same order, same optimiser."""
    torch.manual_seed(1)
    network = Tiny()
    twin = copy.deepcopy(network)
    batches = []
    network.register_forward_pre_hook(
        lambda module, inputs: batches.append(inputs[0].clone()) if module.training else None
    )
    targets = []

    def watching(learner):
        def loss(logits, wanted):
            targets.append(wanted.clone())
            return F.binary_cross_entropy_with_logits(logits, wanted)

        return loss

    train(loaders, network, epochs=2, freeze_epochs=0, unfreeze="all", loss=watching)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1e-2)
    twin.train()
    for images, wanted in zip(batches, targets, strict=True):
        F.binary_cross_entropy_with_logits(twin(images), wanted).backward()
        optimiser.step()
        optimiser.zero_grad()
    others = dict(twin.named_parameters())
    for name, one in network.named_parameters():
        # Biases before a normalisation have no gradient but rounding, which Adam makes steps of.
        if name not in ("layer1.bias", "layer4.0.bias"):
            torch.testing.assert_close(one, others[name], rtol=1e-4, atol=1e-5)
