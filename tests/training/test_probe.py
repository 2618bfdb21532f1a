"""The last layer fitted to features: as scikit-learn does it, over the cells that count."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cxrtool.training import probe as module
from cxrtool.training.losses import MaskedCrossEntropy
from cxrtool.training.probe import ProbeData, cell_weights, fit_probe, weighed_targets

ROWS, WIDTH, LABELS = 400, 12, 3


@pytest.fixture(scope="module")
def drawn():
    """Features of unlike scales, and targets that some of them tell, a fifth of them masked."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(WIDTH, WIDTH)) * np.logspace(0, -1.5, WIDTH)
    features = (rng.normal(size=(ROWS, WIDTH)) @ mixed + 3).astype(np.float32)
    logits = (features - 3) @ rng.normal(size=(WIDTH, LABELS)) - np.array([0, 1, 2])
    targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    return features, targets


def data_of(features, targets, rows=None, positives=None, batch=150):
    known = torch.from_numpy(features)

    def batches():
        for start in range(0, len(known), batch):
            yield known[start : start + batch], slice(start, min(start + batch, len(known)))

    return ProbeData(
        batches=batches,
        width=features.shape[1],
        targets=torch.from_numpy(targets),
        weights=cell_weights(targets, rows, positives),
        valid=known[:100],
        valid_targets=targets[:100],
    )


@pytest.fixture(autouse=True)
def to_the_end(monkeypatch):
    """Nothing is gained by it in practice."""
    monkeypatch.setattr(module, "TOLERANCE", 1e-8)


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_each_label_is_scikit_learns_regression_over_its_own_cells(drawn, l2):
    features, targets = drawn
    found = fit_probe(data_of(features, targets), strengths=(l2,))
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    for label, column in enumerate(targets.T):
        known = ~np.isnan(column)
        theirs = LogisticRegression(C=1 / (l2 * known.sum()), tol=1e-8, max_iter=1000)
        theirs.fit(scaled[known], column[known])
        expected = theirs.decision_function(scaled)
        ours = features @ found.weight[label] + found.bias[label]
        assert np.abs(ours - expected).max() < 0.02 * max(1, np.abs(expected).max())


def test_a_row_that_is_drawn_twice_counts_twice(drawn):
    features, targets = drawn
    times = np.random.default_rng(1).integers(1, 4, ROWS)
    weighted = fit_probe(data_of(features, targets, rows=times.astype(float)), strengths=(0.1,))
    repeated = data_of(np.repeat(features, times, 0), np.repeat(targets, times, 0))
    mean = features.mean(0)
    one = weighted.weight @ mean + weighted.bias
    other = fit_probe(repeated, strengths=(0.1,))
    # Only the deviations that the penalty goes by differ a little.
    assert np.abs(one - (other.weight @ mean + other.bias)).max() < 0.1


def test_positives_may_count_more(drawn):
    features, targets = drawn
    plain = fit_probe(data_of(features, targets), strengths=(0.1,))
    twice = fit_probe(
        data_of(features, targets, positives=np.full(LABELS, 9, np.float32)), strengths=(0.1,)
    )
    assert (twice.valid_logits.mean(0) > plain.valid_logits.mean(0) + 1).all()


def test_cell_weights_add_up_to_one_over_each_label(drawn):
    _, targets = drawn
    weights = cell_weights(targets, np.linspace(1, 2, ROWS)).numpy()
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-5)
    assert (weights[np.isnan(targets)] == 0).all()


def test_weighed_cells_of_any_target_have_the_loss_of_a_training():
    rng = np.random.default_rng(2)
    logits, targets = rng.normal(size=(2, 50, LABELS)).astype(np.float32)
    targets = np.clip(targets, 0, 1)
    targets[::7] = np.nan
    positives = np.array([3, 0.5, 1], np.float32)
    weights = cell_weights(targets, None, positives).numpy()
    weighed = np.nan_to_num(weighed_targets(targets, positives))
    ours = ((np.logaddexp(0, logits) - weighed * logits) * weights).sum(0)
    known = ~np.isnan(targets)
    loss = MaskedCrossEntropy(torch.from_numpy(positives)).cells(
        torch.from_numpy(logits), torch.from_numpy(np.nan_to_num(targets))
    )
    total = (1 + np.nan_to_num(targets) * (positives - 1)) * known
    theirs = (loss.numpy() * known).sum(0) / total.sum(0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert ((targets > 0) & (targets < 1)).sum() > 20
    np.testing.assert_array_equal(weighed_targets(np.round(targets), positives), np.round(targets))


def test_neither_the_place_nor_the_scale_of_a_feature_matters(drawn):
    features, targets = drawn
    plain = fit_probe(data_of(features, targets), strengths=(0.01,))
    moved = features * np.logspace(-2, 2, WIDTH).astype(np.float32) + 5
    other = fit_probe(data_of(moved, targets), strengths=(0.01,))
    assert np.abs(plain.valid_logits - other.valid_logits).max() < 0.02


def test_a_feature_that_never_changes_gets_no_weight(drawn):
    features, targets = drawn
    constant = np.hstack([features, np.full((ROWS, 1), 7, np.float32)])
    found = fit_probe(data_of(constant, targets), strengths=(0.01,))
    assert (found.weight[:, -1] == 0).all()
    assert np.isfinite(found.weight).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_label_of_one_class_gets_its_rate_and_no_weights(drawn, value):
    features, targets = drawn
    single = targets.copy()
    single[:, 1] = value
    found = fit_probe(data_of(features, single), strengths=(0.1,))
    assert np.abs(found.weight[1]).max() < 1e-6
    assert np.sign(found.bias[1]) == (1 if value else -1)
    assert abs(found.bias[1]) > 5
    # The others are as if it were not there.
    others = fit_probe(data_of(features, targets), strengths=(0.1,))
    assert np.abs(found.valid_logits[:, [0, 2]] - others.valid_logits[:, [0, 2]]).max() < 0.01


def test_the_strength_is_the_best_on_valid_and_weaker_ones_are_given_up(drawn):
    features, targets = drawn
    rng = np.random.default_rng(2)
    noisy = np.hstack([features, rng.normal(size=(ROWS, 300)).astype(np.float32)])
    learned = slice(100, ROWS)
    data = data_of(noisy[learned], targets[learned])
    data = replace(data, valid=torch.from_numpy(noisy[:100]), valid_targets=targets[:100])
    heard = []
    found = fit_probe(data, said=heard.append)
    scores = [step.valid_mean_auroc for step in found.steps]
    assert heard == list(found.steps)
    assert found.best == int(np.argmax(scores))
    assert found.l2 == module.STRENGTHS[found.best]
    assert len(scores) < len(module.STRENGTHS)  # 300 features of noise: a weak one is no good
    assert len(scores) - 1 - found.best == module.PATIENCE


def test_a_few_rows_find_where_all_rows_end(drawn, monkeypatch):
    features, targets = drawn
    whole = fit_probe(data_of(features, targets), strengths=(0.01,))
    monkeypatch.setattr(module, "FEW", 80)
    found = fit_probe(data_of(features, targets), strengths=(0.01,))
    assert np.abs(found.valid_logits - whole.valid_logits).max() < 0.02


def test_from_a_few_rows_on_no_stronger_penalty_is_tried(drawn, monkeypatch):
    features, targets = drawn
    monkeypatch.setattr(module, "FEW", 100)
    found = fit_probe(data_of(features, targets))
    tried = [step.l2 for step in found.steps]
    first = module.STRENGTHS.index(tried[0])
    assert tuple(tried) == module.STRENGTHS[first : first + len(tried)]
    assert first > 0


def test_halves_will_do(drawn):
    features, targets = drawn
    whole = fit_probe(data_of(features, targets), strengths=(0.1,))
    half = fit_probe(data_of(features.astype(np.float16), targets), strengths=(0.1,))
    assert np.abs(half.valid_logits - whole.valid_logits).max() < 0.05
