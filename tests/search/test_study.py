"""Values of a trial that died are tried again."""

import optuna
import pytest

from cxrtool.search.study import enqueue_again


@pytest.mark.parametrize("told", [0, 1, 2])
def test_values_that_were_settled_are_tried_again_if_a_trial_died_before_it_was_told_all(told):
    settled = {"lr": 0.01, "weight_decay": 0.1}
    study = optuna.create_study()
    study.enqueue_trial(settled)
    trial = study.ask()
    for name in list(settled)[:told]:
        trial.suggest_float(name, 0.0, 1.0)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    enqueue_again(study, study.trials[0])
    again = study.ask()
    assert {name: again.suggest_float(name, 0.0, 1.0) for name in settled} == settled
