"""What weighted sampling draws is what it says, is bounded by its cap, and is told."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.training.choices import resolve
from cxrtool.training.dataloaders import SampledLoader
from cxrtool.training.sampling import capped, plan_sampling, sample_weights
from cxrtool.workflows.train_dry_run import plan_training
from tests.conftest import TINY, Listening

LABELS = ("Common", "Rare", "Single")


def rare_targets(n=400, seed=0):
    """One label in a third of the images, one in 8 of them, and one in the first alone."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n, 3), np.float32)
    targets[:, 0] = rng.random(n) < 1 / 3
    targets[rng.choice(n, 8, replace=False), 1] = 1
    targets[0] = (0, 0, 1)
    targets[targets[:, 1] == 1, 0] = np.nan  # what is drawn often does not count there
    return targets


@pytest.mark.parametrize("cap", [None, 5.0, 1.5])
def test_what_is_drawn_is_what_was_said(cap):
    targets = rare_targets()
    plan = plan_sampling(targets, LABELS, weighted=True, cap=cap)
    loader = SampledLoader(list(range(400)), bs=32, weights=plan.weights, seed=1, shuffle=True)
    loader.begin_epoch()
    probabilities = loader.weights
    drawn = np.random.default_rng(2).choice(400, 400_000, p=probabilities)
    times = np.bincount(drawn, minlength=400) / 1000
    assert times[plan.most] == pytest.approx(plan.times, rel=0.05)
    assert times.max() == pytest.approx(plan.times, rel=0.1)
    for column in range(3):
        counted = drawn[~np.isnan(targets[drawn, column])]
        found = (targets[counted, column] > 0.5).mean()
        assert plan.drawn[column] == pytest.approx(found, rel=0.03)
        own = targets[~np.isnan(targets[:, column]), column]
        assert plan.shares[column] == pytest.approx((own > 0.5).mean())


def test_uniform_sampling_draws_each_label_as_it_is():
    plan = plan_sampling(rare_targets(), LABELS, weighted=False)
    assert plan.weights is None
    assert not plan.changes
    np.testing.assert_allclose(plan.drawn, plan.shares)


def test_without_a_cap_the_weights_are_the_reports():
    targets = rare_targets()
    plan = plan_sampling(targets, LABELS, weighted=True)
    np.testing.assert_array_equal(plan.weights, sample_weights(targets, ~np.isnan(targets)))
    assert plan.dominant
    assert plan.most == 0
    assert plan.times / 400 == pytest.approx(plan.drawn[2])


@pytest.mark.parametrize("seed", range(20))
def test_a_cap_holds_and_leaves_the_others_as_they_were_to_each_other(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    weights = rng.random(n) ** 4 + 1e-4
    cap = 1 + rng.random() * 5
    times = n * weights / weights.sum()
    held = capped(weights, cap)
    after = n * held / held.sum()
    assert after.max() <= cap * (1 + 1e-9)
    if times.max() <= cap:
        np.testing.assert_array_equal(held, weights)
        return
    assert after.max() == pytest.approx(cap)
    free = after < cap * (1 - 1e-9)
    ratios = (after / times)[free]
    assert ratios.size == 0 or ratios == pytest.approx(np.full(ratios.size, ratios[0]))
    assert (ratios >= 1).all()  # what is held back goes to the others


def test_at_a_cap_of_one_all_images_are_drawn_alike():
    plan = plan_sampling(rare_targets(), LABELS, weighted=True, cap=1.0)
    assert not plan.changes
    np.testing.assert_allclose(plan.drawn, plan.shares)


@pytest.mark.parametrize(
    "targets",
    [
        np.array([[1], [0], [0], [0]], np.float32),
        np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32),
        np.zeros((4, 2), np.float32),
    ],
    ids=["one label", "each image one of two equally common", "no positive"],
)
def test_weights_that_are_all_equal_are_known_to_change_nothing(targets):
    assert not plan_sampling(targets, "AB"[: targets.shape[1]], weighted=True).changes


def test_a_cap_without_weighted_sampling_is_refused():
    with pytest.raises(UsageError, match=r"--sampling-cap 5 .*--sampling uniform"):
        resolve(replace(TINY, sampling="uniform", sampling_cap=5.0))


def test_a_dry_run_says_each_labels_share_and_the_image_drawn_most(prepared_once):
    plan = plan_training(TINY, prepared_once, seed=1).as_json()
    result = plan["sampling"]
    assert result["changes"]
    assert list(result["labels"]) == plan["labels"]
    assert any(of["drawn"] > 1.5 * of["share"] > 0 for of in result["labels"].values())
    assert result["most_drawn"]["times_an_epoch"] > 1
    assert result["most_drawn"]["path"].endswith(".jpg")


def test_one_label_is_told_to_be_drawn_as_it_is(prepared_once):
    listening = Listening()
    config = replace(TINY, labels="Edema")
    plan = plan_training(config, prepared_once, seed=1, reporter=listening)
    assert not plan.sampling["changes"]
    assert any("changes nothing: --pos-weight balanced" in text for text in listening.warnings)


def test_before_training_a_table_says_what_is_drawn_in_80_columns(prepared, monkeypatch):
    from cxrtool.workflows.train import train_model

    notes = []
    reporter = Reporter(progress=False)
    monkeypatch.setattr(reporter, "note", notes.append)
    config = replace(TINY, epochs=1, sampling_cap=2.0)
    train_model(config, prepared, seed=1, reporter=reporter)
    first = next(place for place, note in enumerate(notes) if "images   drawn" in note)
    last = next(place for place, note in enumerate(notes) if "drawn most often" in note)
    assert last - first == 15  # 14 labels between them
    assert max(len(note) for note in notes[first:last]) <= 80
    assert "2.0 times an epoch" in notes[last]
    assert "at the cap" in notes[last]
    epoch = next(place for place, note in enumerate(notes) if note.startswith("epoch 1"))
    assert last < epoch


def everything(n, labels=2):
    return np.ones((n, labels), bool)


def test_a_class_weighs_one_over_its_positives_and_a_sample_the_sum():
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]], np.float32)
    weights = sample_weights(targets, everything(5))
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3 + 1 / 2, 1 / 2, 1 / 3])


def test_a_class_without_positives_changes_nothing():
    targets = np.array([[1, 0], [0, 0]], np.float32)
    assert sample_weights(targets, everything(2)) == pytest.approx([1, 1])


def test_without_any_positive_all_weigh_the_same():
    assert sample_weights(np.zeros((3, 2), np.float32), everything(3)).tolist() == [1, 1, 1]


def test_what_most_readers_say_is_drawn_by_and_evenly_divided_ones_say_nothing():
    targets = np.array([[0.667], [0.333], [0.5], [0.5], [np.nan]], np.float32)
    hard = np.array([[1], [0], [np.nan], [np.nan], [np.nan]], np.float32)
    for weighted in (True, False):
        soft, sure = (plan_sampling(y, ["A"], weighted=weighted) for y in (targets, hard))
        assert soft.shares.tolist() == sure.shares.tolist() == [0.5]
        assert soft.drawn.tolist() == sure.drawn.tolist()
    np.testing.assert_array_equal(
        sample_weights(targets, ~np.isnan(targets)), sample_weights(hard, ~np.isnan(hard))
    )


def test_a_masked_positive_does_not_count():
    targets = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    mask = everything(3)
    mask[1, 0] = False
    assert sample_weights(targets, mask) == pytest.approx([1, 1, 1])
