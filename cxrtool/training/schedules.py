"""A training's phases, and how its learning rates go, as a function of how far it has come.

fastai's `combine_scheds` computes in float32 tensors and its cosine rounds to 0 near its end:
rates, and with them weights, would differ from those of runs that were begun before.
"""

import math

from cxrtool.core.config import SCHEDULES
from cxrtool.core.errors import UsageError, unknown_name

HEAD, TOP, ALL, PROBE = "head", "top", "all", "probe"
PHASES = {PROBE: "head fitted", HEAD: "head alone", TOP: "head and top", ALL: "all blocks"}
FROZEN_GROUPS = {HEAD: 2, TOP: 1, ALL: 0}
"""How many of the groups body, top and head do not move in a phase."""
WARMUP_START = 0.01
ONE_CYCLE_RISE = 0.25
"""The share of a training in which the one cycle rises."""
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-5


def rate_factor(schedule: str, *, done: float, total: float, warmup: float) -> float:
    """What the base rates are multiplied by in the step that starts at `done`; in 0..1.

    `plateau` and `constant` stay at 1 (what a plateau lowers, it lowers elsewhere). `cosine` falls
    to 0 at `total` as half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without its
    restarts). All three rise linearly from 1/100 in the `warmup` epochs before; a training no
    longer than its warm-up ends on that rise. `one-cycle` rises from 1/25 to 1 in the first
    quarter and falls to 1/100000, both as half cosines, the form that fastai gave to the policy of
    Smith & Topin (2017, arXiv 1708.07120); it has a rise of its own and ignores `warmup`.

    Args:
        schedule: one of `config.SCHEDULES`.
        done: epochs done, with the fraction of the present one, in [0, total].
        total: epochs of the whole training, above 0.
        warmup: epochs.

    Raises:
        UsageError: there is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise UsageError(unknown_name("schedule", schedule, SCHEDULES))
    if schedule == "one-cycle":
        return _one_cycle(done / total)
    if done < warmup:
        return WARMUP_START + (1 - WARMUP_START) * done / warmup
    if schedule == "cosine" and total > warmup:
        return _falling((done - warmup) / (total - warmup))
    return 1.0


def _one_cycle(share: float) -> float:
    if share < ONE_CYCLE_RISE:
        return 1 - (1 - ONE_CYCLE_START) * _falling(share / ONE_CYCLE_RISE)
    fallen = (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE)
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * _falling(fallen)


def _falling(share: float) -> float:
    """Half a cosine from 1 at share 0 to 0 at 1."""
    # The square of a sine is (1 + cos(pi share)) / 2, without that sum's rounding to 0 near 1.
    return math.sin(math.pi / 2 * max(1 - share, 0.0)) ** 2
