"""The losses, against formulas written out in numpy."""

from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cxrtool.core.config import LOSSES
from cxrtool.core.errors import UsageError
from cxrtool.training.losses import (
    AsymmetricLoss,
    AUCMarginLoss,
    MaskedCrossEntropy,
    make_loss,
    positive_weights,
)

NAN = float("nan")
ALL = [
    MaskedCrossEntropy(),
    MaskedCrossEntropy(torch.tensor([3.0, 0.5, 1.0])),
    AsymmetricLoss(),
    AUCMarginLoss(),
]
CELL_MEANS = ALL[:3]


def name_of(loss):
    return type(loss).__name__


def batch(n=12, labels=3, *, masked=0.2, seed=0):
    """Logits (n, labels) and soft targets, some masked, both classes in each label."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, labels))
    soft, hard = rng.random((n, labels)), rng.random((n, labels)) > 0.5
    targets = np.where(rng.random((n, labels)) < 0.5, soft, hard)
    targets[rng.random((n, labels)) < masked] = np.nan
    targets[0], targets[1] = 1, 0
    return logits.astype(np.float32), targets.astype(np.float32)


def loss_and_gradient(loss, logits, targets):
    logits = torch.as_tensor(logits).clone().requires_grad_()
    value = loss(logits, torch.as_tensor(targets))
    value.backward()
    return value.detach(), logits.grad


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numeric_gradient(function, logits, step=1e-5):
    """Central differences of a function of logits, in float64."""
    logits = logits.astype(np.float64)
    gradient = np.zeros_like(logits)
    for cell in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[cell] += step
        down[cell] -= step
        gradient[cell] = (function(up) - function(down)) / (2 * step)
    return gradient


def asymmetric(logits, targets, gamma_negative, gamma_positive, margin):
    """The paper's formula, cell by cell."""
    losses = []
    for x, y in zip(np.float64(logits).ravel(), np.float64(targets).ravel(), strict=True):
        if np.isnan(y):
            continue
        p = sigmoid(x)
        shifted = max(p - margin, 0)
        positive = (1 - p) ** gamma_positive * np.log(p)
        negative = shifted**gamma_negative * np.log(1 - shifted)
        losses.append(-(y * positive + (1 - y) * negative))
    return np.mean(losses)


def pair_loss(logits, targets):
    """Mean over labels of the mean over pairs of (1 - h+ + h-)^2."""
    scores, losses = sigmoid(np.float64(logits)), []
    for label in range(scores.shape[1]):
        positive = scores[targets[:, label] > 0.5, label]
        negative = scores[targets[:, label] <= 0.5, label]
        if len(positive) and len(negative):
            losses.append(np.mean((1 - positive[:, None] + negative[None]) ** 2))
    return np.mean(losses)


# What all of them promise


@pytest.mark.parametrize("loss", ALL, ids=name_of)
@pytest.mark.parametrize("masked_logit", [0.0, -90.0, 1e30, float("inf"), NAN])
def test_a_masked_cell_changes_neither_loss_nor_gradient(loss, masked_logit):
    logits, targets = batch()
    value, gradient = loss_and_gradient(loss, logits, targets)
    masked = np.isnan(targets)
    assert masked.any()
    other, other_gradient = loss_and_gradient(
        loss, np.where(masked, np.float32(masked_logit), logits), targets
    )
    assert torch.equal(value, other)
    assert torch.equal(gradient, other_gradient)
    assert not gradient[torch.from_numpy(masked)].any()
    assert gradient.any()


@pytest.mark.parametrize("loss", ALL, ids=name_of)
def test_where_nothing_counts_the_loss_and_its_gradient_are_zero(loss):
    logits, targets = batch()
    value, gradient = loss_and_gradient(loss, logits, np.full_like(targets, np.nan))
    assert value == 0
    assert torch.equal(gradient, torch.zeros(logits.shape))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("loss", ALL, ids=name_of)
def test_any_type_of_logits_is_computed_in_fp32(loss, dtype):
    logits, targets = batch()
    logits = torch.from_numpy(logits).to(dtype)
    value, gradient = loss_and_gradient(loss, logits, targets)
    expected, expected_gradient = loss_and_gradient(loss, logits.float(), targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss_and_gradient(loss, logits, targets)[0], expected)


@pytest.mark.parametrize("loss", ALL, ids=name_of)
def test_subclasses_of_tensor_mix(loss):
    class Logits(Tensor):
        pass

    class Targets(Tensor):
        pass

    logits, targets = map(torch.from_numpy, batch())
    value = loss(logits.as_subclass(Logits), targets.as_subclass(Targets))
    assert type(value) is Tensor
    assert torch.equal(value, loss(logits, targets))


@pytest.mark.parametrize("loss", ALL, ids=name_of)
@pytest.mark.parametrize("logit", [-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4])
def test_extreme_logits_have_finite_losses_and_gradients(loss, logit):
    _, targets = batch()
    value, gradient = loss_and_gradient(loss, np.full(targets.shape, np.float32(logit)), targets)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


# The mean over processes


@pytest.mark.parametrize("loss", CELL_MEANS, ids=name_of)
@pytest.mark.parametrize("rows", [(10, 2), (11, 1)])
def test_with_share_two_processes_together_have_the_gradient_of_the_whole(loss, rows):
    logits, targets = batch()
    targets[-rows[1] :, 1:] = np.nan
    _, whole = loss_and_gradient(loss, logits, targets)
    parts = list(zip(np.split(logits, rows[:1]), np.split(targets, rows[:1]), strict=True))
    assert_shares(loss, parts, whole)


@pytest.mark.parametrize("loss", CELL_MEANS, ids=name_of)
def test_with_share_a_process_may_have_nothing_and_the_mean_count_be_below_one(loss):
    logits, targets = batch(4)
    targets[:] = np.nan
    targets[0, 0] = 1
    _, whole = loss_and_gradient(loss, logits, targets)
    assert whole.any()
    parts = [(logits[:1], targets[:1]), (logits[1:2], targets[1:2]), (logits[2:], targets[2:])]
    assert_shares(loss, parts, whole)


def assert_shares(loss, parts, whole):
    """The mean over processes of their gradients (that of an absent sample is 0) is the whole's,
    and the mean of their losses over what each counted is the whole's loss."""
    mean = np.mean([np.count_nonzero(~np.isnan(targets)) for _, targets in parts])
    asked = []

    def share(count):
        asked.append(float(count))
        return torch.tensor(mean, dtype=count.dtype)

    loss.share = share
    try:
        found = [(*loss_and_gradient(loss, *part), float(loss.counted)) for part in parts]
    finally:
        loss.share = None
    gradients = [gradient for _, gradient, _ in found]
    together = [torch.from_numpy(np.concatenate(cells)) for cells in zip(*parts, strict=True)]
    mean_loss = sum(float(value) * counted for value, _, counted in found) / sum(
        counted for *_, counted in found
    )
    assert mean_loss == pytest.approx(float(loss(*together)), rel=1e-6)
    assert asked == [np.count_nonzero(~np.isnan(targets)) for _, targets in parts]
    torch.testing.assert_close(torch.cat(gradients) / len(parts), whole)


def test_without_share_nothing_is_asked():
    assert all(loss.share is None for loss in CELL_MEANS)


# Cross-entropy


def test_cross_entropy_is_torchs_without_a_mask():
    logits, targets = map(torch.from_numpy, batch(masked=0))
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    assert torch.equal(MaskedCrossEntropy()(logits, targets), expected)


def test_weights_of_positives_multiply_their_part_alone():
    logits, targets = batch()
    weights = np.array([3.0, 0.5, 1.0])
    p, y = sigmoid(np.float64(logits)), np.float64(targets)
    expected = np.nanmean(-(weights * y * np.log(p) + (1 - y) * np.log(1 - p)))
    found = MaskedCrossEntropy(torch.tensor(weights, dtype=torch.float32))(
        torch.from_numpy(logits), torch.from_numpy(targets)
    )
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_weights_of_positives_move_with_the_module_but_are_no_state():
    loss = MaskedCrossEntropy(torch.ones(3))
    assert loss.to("meta").pos_weight.device.type == "meta"
    assert not loss.state_dict()


# The asymmetric loss


@pytest.mark.parametrize("settings", [(4, 1, 0.05), (2, 0, 0.2), (1.5, 3, 0), (0, 0, 0.1)])
def test_the_asymmetric_loss_and_its_gradient_are_those_of_the_formula(settings):
    logits, targets = batch()
    value, gradient = loss_and_gradient(AsymmetricLoss(*settings), logits, targets)
    assert float(value) == pytest.approx(asymmetric(logits, targets, *settings), rel=1e-5)
    expected = numeric_gradient(lambda x: asymmetric(x, targets, *settings), logits)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_without_focus_and_margin_the_asymmetric_loss_is_cross_entropy():
    logits, targets = batch()
    for scale in (1, 50):  # where 1 - p is 0 in fp32, too
        value, gradient = loss_and_gradient(AsymmetricLoss(0, 0, 0), scale * logits, targets)
        expected, expected_gradient = loss_and_gradient(
            MaskedCrossEntropy(), scale * logits, targets
        )
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, expected_gradient)


def test_easy_negatives_are_left_alone():
    logits = np.array([[-3.0, -2.9]], np.float32)  # scores 0.047 and 0.052
    for gamma in (0, 0.5, 4):
        _, gradient = loss_and_gradient(AsymmetricLoss(gamma), logits, np.zeros((1, 2), np.float32))
        assert gradient[0, 0] == 0
        assert gradient[0, 1] > 0


def test_soft_targets_mix_the_two_parts_linearly():
    logits = torch.randn(5, 2)
    loss, whole = AsymmetricLoss(), torch.ones(5, 2)
    expected = 0.3 * loss(logits, whole) + 0.7 * loss(logits, 0 * whole)
    torch.testing.assert_close(loss(logits, 0.3 * whole), expected)


@pytest.mark.parametrize("logit", [-300.0, -4.0, 300.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_powers_below_one_have_finite_gradients(logit, target, margin):
    cell = np.full((1, 1), logit, np.float32)
    _, gradient = loss_and_gradient(
        AsymmetricLoss(0.5, 0.5, margin), cell, np.full_like(cell, target)
    )
    assert torch.isfinite(gradient).all()


# The AUC margin loss


@pytest.mark.parametrize("margin", [0.1, 0.4, 1.0])
def test_the_auc_loss_is_the_papers_minimum_and_maximum(margin):
    logits, targets = batch(seed=3)
    scores, grid = sigmoid(np.float64(logits)), np.linspace(0, 2, 4001)
    expected = []
    for h, y in zip(scores.T, targets.T, strict=True):
        counts = ~np.isnan(y)
        h, positive = h[counts], y[counts] > 0.5
        p = positive.mean()
        # The paper's objective as an expectation over all samples, class priors and all.
        square_a = (1 - p) * np.mean((h[:, None] - grid) ** 2 * positive[:, None], axis=0)
        square_b = p * np.mean((h[:, None] - grid) ** 2 * ~positive[:, None], axis=0)
        apart = np.mean(p * h * ~positive - (1 - p) * h * positive)
        parabola = 2 * grid * (p * (1 - p) * margin + apart) - p * (1 - p) * grid**2
        expected.append((square_a.min() + square_b.min() + parabola.max()) / (p * (1 - p)))
    found = AUCMarginLoss(margin)(torch.from_numpy(logits), torch.from_numpy(targets))
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-6)


def test_at_a_margin_of_one_it_is_the_mean_over_pairs():
    logits, targets = batch(masked=0)
    value, gradient = loss_and_gradient(AUCMarginLoss(), logits, targets)
    assert float(value) == pytest.approx(pair_loss(logits, targets), rel=1e-6)
    expected = numeric_gradient(lambda x: pair_loss(x, targets), logits)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_scores_further_apart_than_the_margin_are_not_pushed_further():
    logits = np.array([[2.0], [2.0], [-2.0], [-2.0]], np.float32)
    targets = np.array([[1], [1], [0], [0]], np.float32)
    value, gradient = loss_and_gradient(AUCMarginLoss(0.5), logits, targets)
    assert value == 0
    assert not gradient.any()
    _, pushed = loss_and_gradient(AUCMarginLoss(1.0), logits, targets)
    assert (pushed[:2] < 0).all()
    assert (pushed[2:] > 0).all()


def test_batches_are_right_on_average():
    rng = np.random.default_rng(1)
    logits = torch.tensor(rng.normal(size=(8, 1)), dtype=torch.float32)
    targets = torch.tensor([[1.0]] * 3 + [[0.0]] * 5)
    loss = AUCMarginLoss()
    batches = [
        torch.tensor(positives + negatives)
        for positives in combinations(range(3), 1)
        for negatives in combinations(range(3, 8), 2)
    ]
    found = torch.stack([loss(logits[rows], targets[rows]) for rows in batches]).mean()
    torch.testing.assert_close(found, loss(logits, targets))


def test_a_label_without_both_classes_contributes_nothing():
    logits, targets = batch(masked=0)
    targets[:, 0], targets[:, 2] = 1, 0
    value, gradient = loss_and_gradient(AUCMarginLoss(), logits, targets)
    alone, alone_gradient = loss_and_gradient(AUCMarginLoss(), logits[:, 1:2], targets[:, 1:2])
    torch.testing.assert_close(value, alone)
    torch.testing.assert_close(gradient[:, 1:2], alone_gradient)
    assert not gradient[:, [0, 2]].any()


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_where_no_label_has_both_classes_the_auc_loss_is_zero(target):
    logits, targets = batch()
    value, gradient = loss_and_gradient(AUCMarginLoss(), logits, np.full_like(targets, target))
    assert value == 0
    assert torch.equal(gradient, torch.zeros(logits.shape))


def test_targets_above_a_half_are_positive_and_a_half_makes_no_pair():
    logits, targets = batch(masked=0)
    targets[2:, 0], targets[2:, 1] = 0.5, 0.51
    hard = (targets > 0.5).astype(np.float32)
    hard[targets == 0.5] = NAN
    assert np.isnan(hard[2:, 0]).all()
    assert hard[2:, 1].min() == 1
    found, expected = (
        AUCMarginLoss()(*map(torch.from_numpy, (logits, y))) for y in (targets, hard)
    )
    assert torch.equal(found, expected)


# Weights and names


def test_positive_weights_are_negatives_over_positives_among_what_counts():
    targets = np.array(
        [[1, 0.6, 1, 0], [0, 0.4, 1, 0], [0, 0.2, NAN, 0], [0.9, NAN, 0, 0], [0, 1, 1, NAN]],
        np.float32,
    )
    mask = ~np.isnan(targets)
    mask[3, 2] = mask[4, 1] = False
    found = positive_weights(targets, mask)
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, 2.0, 1.0, 1.0]
    targets[1] = 0.5  # evenly divided readers are neither
    assert positive_weights(targets, mask).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_positive_weights_balance_the_pull_of_both_classes():
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 3)) < (0.05, 0.3, 0.8)).astype(np.float32)
    weights = torch.from_numpy(positive_weights(targets, np.ones(targets.shape, bool)))
    _, gradient = loss_and_gradient(MaskedCrossEntropy(weights), np.zeros_like(targets), targets)
    torch.testing.assert_close(gradient.sum(dim=0), torch.zeros(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_each_name_has_its_loss(name):
    kinds = {"bce": MaskedCrossEntropy, "asymmetric": AsymmetricLoss, "auc": AUCMarginLoss}
    assert type(make_loss(name, pos_weight=None)) is kinds[name]


def test_weights_of_positives_are_for_cross_entropy_alone():
    weights = torch.tensor([2.0, 3.0])
    assert torch.equal(make_loss("bce", pos_weight=weights).pos_weight, weights)
    for name in ("asymmetric", "auc"):
        with pytest.raises(UsageError, match=f"--pos-weight with --loss {name}"):
            make_loss(name, pos_weight=weights)


def test_an_unknown_loss_is_refused():
    with pytest.raises(UsageError, match="'asymetric' is not known: did you mean asymmetric"):
        make_loss("asymetric", pos_weight=None)
