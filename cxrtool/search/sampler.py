"""Where a search looks next: Optuna's TPE, which can be interrupted and shared.

A tree-structured Parzen estimator (Bergstra 2011, NeurIPS 24) draws where the ratio of two
densities is high, that of the better trials and that of the others, which is where the expected
improvement is. All dimensions are drawn together (Falkner 2018, ICML, section 3).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from cxrtool.search.space import Space

START_UP = 1
"""Trials before the scores steer, the first being the settings held: Optuna's ten would make a
search of five a random one."""
CANDIDATES = (4, 24)
"""Draws of which the one of the highest expected improvement is taken: fewest and most. While
little is known, the best of many lies in a corner of the space, far from all that was tried."""
ATTEMPTS, BLIND = 20, 1000
"""Draws until a combination is found that was not tried: steered ones, then random ones."""
AGAIN = "again"
"""A trial's attribute: the number of the trial that was the first to try its values, and died."""


class SteeredSampler(BaseSampler):
    """TPE whose draw for a trial hangs on the seed, the trial's place, and the scores before it.

    So a search that is stopped and resumed goes on as it would have, processes that share a study
    never draw the same, and no combination is proposed that was tried before.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space, from the first trial on."""
        return dict(self.space)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """A combination of values for a trial."""
        before = [one for one in study.get_trials(deepcopy=False) if one.number < trial.number]
        # What is done again has the place that it had, and shifts none of those after it.
        point = trial.user_attrs.get(AGAIN, trial.number)
        place = sum(AGAIN not in one.user_attrs for one in before if one.number < point)
        tried = {_key(one.params) for one in before if one.number != point}
        found: dict[str, Any] = {}
        for attempt in range(ATTEMPTS + BLIND):
            found = self._draw(study, trial, search_space, place, attempt)
            if _key(found) not in tried:
                break
        return found

    def _draw(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
        place: int,
        attempt: int,
    ) -> dict[str, Any]:
        state = np.random.SeedSequence([self.seed, place, attempt]).generate_state(1)
        sampler = TPESampler(
            n_startup_trials=START_UP if attempt < ATTEMPTS else 10**9,
            n_ei_candidates=min(max(place, CANDIDATES[0]), CANDIDATES[1]),
            multivariate=True,
            constant_liar=True,
            seed=int(state[0]),
        )
        found = sampler.sample_relative(study, trial, search_space)
        for name, one in search_space.items():
            if name not in found:
                found[name] = sampler.sample_independent(study, trial, name, one)
        return found

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never asked for: all dimensions are drawn together."""
        raise AssertionError(f"{param_name} is not in the space")


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))
