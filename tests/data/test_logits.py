"""Probabilities and their logits."""

import numpy as np
import pytest
from scipy.special import expit, logit

from cxrtool.data.logits import logits_of, mean_logits, probabilities_of, rows_apart

LOGITS = np.random.default_rng(0).normal(0, 8, (40, 3))


def test_both_ways_are_scipys():
    assert probabilities_of(LOGITS) == pytest.approx(expit(LOGITS), rel=1e-15)
    probabilities = expit(LOGITS / 8)
    assert logits_of(probabilities) == pytest.approx(logit(probabilities), rel=1e-12)


def test_what_is_certain_has_a_finite_logit_that_gives_it_back():
    for certain in (0.0, 1.0):
        found = logits_of([certain])
        assert np.isfinite(found).all()
        assert probabilities_of(found) == pytest.approx([certain], abs=1e-15)
    assert np.isnan(logits_of([np.nan])).all()


def test_the_logits_of_groups_are_those_of_their_mean_probabilities():
    groups = np.arange(40) % 7
    means = [probabilities_of(LOGITS[groups == one]).mean(axis=0) for one in range(7)]
    found = mean_logits(LOGITS, groups, 7)
    assert probabilities_of(found) == pytest.approx(np.array(means), rel=1e-12)


def test_a_row_with_another_probability_than_its_logits_is_noticed():
    probabilities = probabilities_of(LOGITS)
    assert not rows_apart(LOGITS, probabilities).any()
    probabilities[7, 1] += 1e-5
    assert np.flatnonzero(rows_apart(LOGITS, probabilities)).tolist() == [7]
