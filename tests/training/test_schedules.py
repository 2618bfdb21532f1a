"""The schedules: their bounds, their ends, and torch's own where it has the same."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR

from cxrtool.core.config import SCHEDULES
from cxrtool.core.errors import UsageError
from cxrtool.training.schedules import rate_factor

TOTAL = 5.0
FLAT = ("plateau", "constant")
WARMED = (*FLAT, "cosine")


def factors(schedule, warmup=1.0, total=TOTAL, points=2001):
    """Positions from 0 to the end, and the factor at each."""
    done = np.linspace(0, total, points)
    found = [rate_factor(schedule, done=x, total=total, warmup=warmup) for x in done]
    return done, np.array(found)


def torch_rates(make, steps):
    """The rates of a base of 1 in `steps` steps under one of torch's schedulers."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 4.999])
def test_factors_are_above_zero_and_at_most_one_before_the_end(schedule, warmup):
    _, found = factors(schedule, warmup)
    assert (found[:-1] > 0).all()
    assert found.max() <= 1
    last = rate_factor(schedule, done=np.nextafter(TOTAL, 0), total=TOTAL, warmup=warmup)
    assert 0 < last <= 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_factors_do_not_jump(schedule, warmup):
    done, found = factors(schedule, warmup)
    steepest = max(1 / (warmup or TOTAL), np.pi / 2 / (TOTAL / 4))
    assert np.abs(np.diff(found)).max() <= 1.01 * steepest * done[1]


@pytest.mark.parametrize("schedule", WARMED)
def test_the_warm_up_is_a_line_from_a_hundredth_to_one(schedule):
    done, found = factors(schedule, warmup=2.0)
    warming = done <= 2
    np.testing.assert_allclose(found[warming], np.linspace(0.01, 1, warming.sum()))


@pytest.mark.parametrize("schedule", FLAT)
def test_the_flat_ones_stay_at_one(schedule):
    done, found = factors(schedule, warmup=2.0)
    assert (found[done >= 2] == 1).all()
    assert (factors(schedule, warmup=0.0)[1] == 1).all()


def test_the_cosine_falls_from_one_to_zero():
    done, found = factors("cosine", warmup=1.0)
    falling = found[done >= 1]
    assert falling[0] == 1
    assert found[-1] == 0
    assert (np.diff(falling) < 0).all()
    assert rate_factor("cosine", done=3, total=TOTAL, warmup=1) == pytest.approx(0.5)


def test_the_one_cycle_rises_for_a_quarter_and_falls_for_the_rest():
    done, found = factors("one-cycle")
    assert found[0] == pytest.approx(1 / 25)
    assert found[-1] == pytest.approx(1e-5)
    assert done[found.argmax()] == TOTAL / 4
    assert found.max() == 1
    assert (np.diff(found[done <= TOTAL / 4]) > 0).all()
    assert (np.diff(found[done >= TOTAL / 4]) < 0).all()


def test_the_one_cycle_takes_no_notice_of_the_warm_up():
    np.testing.assert_array_equal(factors("one-cycle", 0.0)[1], factors("one-cycle", 3.0)[1])


def test_the_one_cycle_is_torchs():
    steps = 400
    # torch counts its first phase up to step pct_start * steps - 1, the last step being steps - 1.
    quarter = (0.25 * (steps - 1) + 1) / steps
    expected = torch_rates(
        lambda optimiser: OneCycleLR(
            optimiser,
            1.0,
            total_steps=steps,
            pct_start=quarter,
            div_factor=25,
            final_div_factor=4000,  # of the first rate: 1 / 25 / 4000 is 1 / 100000
            cycle_momentum=False,
        ),
        steps - 1,
    )
    found = [rate_factor("one-cycle", done=i, total=steps - 1, warmup=0) for i in range(steps - 1)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_cosine_is_torchs():
    steps, warming = 300, 60
    expected = torch_rates(
        lambda optimiser: SequentialLR(
            optimiser,
            [
                LinearLR(optimiser, 0.01, total_iters=warming),
                CosineAnnealingLR(optimiser, steps - warming),
            ],
            milestones=[warming],
        ),
        steps,
    )
    found = [rate_factor("cosine", done=i, total=steps, warmup=warming) for i in range(steps)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_only_the_shares_of_the_training_matter(schedule):
    _, epochs = factors(schedule, warmup=1.0, total=5.0)
    _, steps = factors(schedule, warmup=200.0, total=1000.0)
    np.testing.assert_allclose(epochs, steps, atol=1e-9)


@pytest.mark.parametrize("schedule", WARMED)
@pytest.mark.parametrize("total", [0.25, 1.0, 2.0])
def test_a_training_no_longer_than_its_warm_up_ends_on_the_rise(schedule, total):
    done, found = factors(schedule, warmup=2.0, total=total)
    np.testing.assert_allclose(found, 0.01 + 0.99 * done / 2)


def test_a_position_past_the_end_by_rounding_is_the_end():
    assert rate_factor("cosine", done=TOTAL + 1e-9, total=TOTAL, warmup=0) == 0
    assert rate_factor("one-cycle", done=TOTAL + 1e-9, total=TOTAL, warmup=0) == 1e-5


def test_an_unknown_schedule_is_refused():
    with pytest.raises(UsageError, match="'cosin' is not known: did you mean cosine"):
        rate_factor("cosin", done=0, total=1, warmup=0)
