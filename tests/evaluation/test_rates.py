"""Rates at a threshold are those counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.rates import Outcomes
from tests.support.samples import draw_sample


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_the_rows_that_count(seed):
    sample = draw_sample(seed)
    thresholds = np.full(len(sample.labels), 0.5)
    outcomes = Outcomes(sample, thresholds, sample.mask, None)
    called = sample.scores >= 0.5
    for at in range(len(sample.labels)):
        kept = sample.mask[:, at]
        truth, found = sample.targets[kept, at], called[kept, at]
        if not truth.any():
            assert np.isnan(outcomes.share("tp", "fn").values[at])
            continue
        assert outcomes.share("tp", "fn").values[at] == found[truth].mean()
        assert outcomes.share("tn", "fp").values[at] == (~found[~truth]).mean()
        assert outcomes.share("tp", "fp").values[at] == truth[found].mean()
        assert outcomes.f1()[at].value == pytest.approx(f1_score(truth, found))


def test_a_label_without_a_threshold_has_no_rate_and_draws_make_intervals():
    sample = draw_sample(0)
    thresholds = np.full(len(sample.labels), 0.5)
    thresholds[0] = np.nan
    draws = draw_patients(sample.patients, replicates=100, seed=1)
    rate = Outcomes(sample, thresholds, sample.mask, draws).share("tp", "fn")
    assert rate.estimates[0].value is None
    assert rate.drawn.shape == (100, len(sample.labels))
    for value, one in zip(rate.values, rate.estimates, strict=True):
        if np.isnan(value):  # no threshold, or no positive
            assert one.interval is None
        else:
            low, high = one.interval
            assert low <= value <= high
