"""The search is steered by its scores, goes on as it would have, and repeats nothing."""

from math import log10

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from cxrtool.core.config import TrainConfig
from cxrtool.search.sampler import AGAIN, SteeredSampler
from cxrtool.search.space import default_space, values_of

SPACE = default_space(TrainConfig())
STATES = optuna.trial.TrialState


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def score(values):
    """Each decade of the learning rate off its best costs most; the best lies off the middle."""
    return (
        0.86
        - 0.03 * abs(log10(values["lr"]) + 4)
        - 0.003 * abs(log10(values["weight_decay"]) + 3)
        - 0.002 * abs(values["plateau_patience"] - 2)
        - 0.02 * abs(values["drop_rate"] - 0.1)
    )


def new(sampler):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(values_of(TrainConfig(), SPACE))
    return study


def run(study, trials):
    """The best score after each trial, and the values tried."""
    tried, scores = [], []
    for _ in range(trials):
        trial = study.ask(SPACE)
        tried.append(trial.params)
        scores.append(score(tried[-1]))
        study.tell(trial, scores[-1])
    return np.maximum.accumulate(scores), tried


@pytest.mark.slow
def test_it_beats_chance_after_five_and_after_twenty_five_trials():
    """Both begin from the settings held; medians of 20 seeds."""
    ours, chance = [], []
    for seed in range(20):
        ours.append(run(new(SteeredSampler(SPACE, seed)), 25)[0][[4, 24]])
        chance.append(run(new(optuna.samplers.RandomSampler(seed=seed)), 25)[0][[4, 24]])
    assert (np.median(ours, axis=0) > np.median(chance, axis=0)).all()


def test_it_is_reproducible_and_hangs_on_the_seed():
    one, same, other = (run(new(SteeredSampler(SPACE, seed)), 6)[1] for seed in (1, 1, 2))
    assert one == same
    assert one[0] == other[0] == values_of(TrainConfig(), SPACE)
    assert one[1:] != other[1:]


def test_a_search_that_died_goes_on_as_it_would_have():
    straight = run(new(SteeredSampler(SPACE, 3)), 7)[1]
    study = new(SteeredSampler(SPACE, 3))
    tried = run(study, 3)[1]
    dead = study.ask(SPACE)
    values = dead.params
    study.tell(dead, state=STATES.FAIL)
    study.enqueue_trial(values, user_attrs={AGAIN: dead.number})
    study.sampler = SteeredSampler(SPACE, 3)  # another process
    tried += run(study, 4)[1]
    assert tried == straight


def test_one_that_died_before_it_knew_its_values_gets_those_it_would_have_had():
    straight = run(new(SteeredSampler(SPACE, 3)), 5)[1]
    study = new(SteeredSampler(SPACE, 3))
    tried = run(study, 2)[1]
    dead = study.ask()
    study.tell(dead, state=STATES.FAIL)
    study.enqueue_trial({}, user_attrs={AGAIN: dead.number})
    assert tried + run(study, 3)[1] == straight


def test_no_combination_is_proposed_twice():
    space = {
        "batch_size": CategoricalDistribution((8, 16, 32)),
        "epochs": IntDistribution(1, 4),
    }
    study = optuna.create_study(direction="maximize", sampler=SteeredSampler(space, 1))
    tried = []
    for _ in range(12):
        trial = study.ask(space)
        tried.append(tuple(trial.params.values()))
        study.tell(trial, float(tried[-1][0] == 8))
    assert len(set(tried)) == 12


def test_two_at_once_never_draw_the_same():
    study = new(SteeredSampler(SPACE, 1))
    values = [tuple(study.ask(SPACE).params.values()) for _ in range(6)]
    assert len(set(values)) == 6


def test_the_score_steers():
    """Where small rates score, small rates are tried."""
    means = []
    for sign in (1, -1):
        study = optuna.create_study(direction="maximize", sampler=SteeredSampler(SPACE, 5))
        rates = []
        for _ in range(20):
            trial = study.ask(SPACE)
            rates.append(log10(trial.params["lr"]))
            study.tell(trial, sign * rates[-1])
        means.append(np.mean(rates[10:]))
    assert means[0] > means[1] + 1
