"""Differences of two models on the same draws of patients."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.comparison import paired_differences
from cxrtool.evaluation.scoring import assess
from tests.support.samples import LABELS, THRESHOLDS, draw_sample

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ("one", "other")


def test_a_paired_difference_is_that_of_the_two_on_the_same_draws():
    one = draw_sample(6)
    noise = np.random.default_rng(9).normal(0, 0.05, one.scores.shape)
    other = replace(one, scores=np.clip(one.scores + noise, 0, 1))
    draws = draw_patients(one.patients, replicates=300)
    found = paired_differences(one, other, draws, NAMES).as_json()
    figures = [assess(sample, THRESHOLDS, draws).as_json() for sample in (one, other)]
    for label in LABELS:
        values = [of["labels"][label]["auroc"] for of in figures]
        if None not in values:
            assert found["labels"][label]["auroc"] == pytest.approx(values[0] - values[1])
    turned = paired_differences(one, other.choose(LABELS[::-1]), draws, NAMES).as_json()
    assert turned["labels"] == found["labels"]
    # What both have in common is gone: the pair is told apart far better than each alone.
    width = np.diff(found["labels"]["Edema"]["auroc_ci"])[0]
    assert width < np.diff(figures[0]["labels"]["Edema"]["auroc_ci"])[0] / 2
    with pytest.raises(DataError, match="rows are not the same"):
        paired_differences(one, replace(other, keys=other.keys[::-1]), draws, NAMES)
    with pytest.raises(DataError, match="truth is not the same"):
        paired_differences(one, replace(other, targets=~other.targets), draws, NAMES)
