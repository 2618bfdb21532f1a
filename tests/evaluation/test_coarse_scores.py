"""AUROCs of scores with few levels: two more patients in each class, next to those seen."""

import doctest

import numpy as np
import pytest

from cxrtool.evaluation import coarse_scores
from cxrtool.evaluation.coarse_scores import smoothed_area
from cxrtool.evaluation.metrics import auroc


def test_two_levels_are_agresti_and_caffos():
    """One hit and one miss more in each class; the area is the mean of the two shares."""
    hits, positives, false, negatives = 18, 20, 4, 200
    truth = np.arange(positives + negatives) < positives
    score = np.concatenate([np.arange(positives) < hits, np.arange(negatives) < false]).astype(
        float
    )
    found = smoothed_area(truth, score, (positives, negatives))
    shares = np.array([(hits + 1) / (positives + 2), (negatives - false + 1) / (negatives + 2)])
    assert found.area == pytest.approx(shares.mean())
    wide = shares * (1 - shares) / [positives + 2, negatives + 2] / 4
    seen = np.array([hits / positives, 1 - false / negatives])
    plain = seen * (1 - seen) / [positives, negatives] / 4
    assert found.lacking == pytest.approx(np.maximum(wide - plain, 0).sum())


def test_a_class_that_never_varies_is_no_certainty():
    truth = np.arange(220) < 20
    score = np.where(truth, 1.0, np.arange(220) % 4 == 0)
    found = smoothed_area(truth, score, (20, 200))
    assert found.area < auroc(truth, score)
    assert found.lacking > 0.25 * (1 / 22) * (21 / 22) / 22 * 0.99
    fewer = smoothed_area(truth, score, (5, 50))
    assert fewer.lacking > 3 * found.lacking
    assert fewer.area < found.area


def test_finely_graded_scores_stay_as_they_are():
    rng = np.random.default_rng(2)
    truth = rng.random(400) < 0.2
    score = rng.normal(truth * 1.5)
    found = smoothed_area(truth, score, (truth.sum(), (~truth).sum()))
    assert found.area == pytest.approx(auroc(truth, score), abs=1e-3)
    assert found.lacking < 1e-5


def test_without_a_class_there_is_none():
    found = smoothed_area(np.ones(3, bool), np.arange(3.0), (3, 0))
    assert np.isnan(found.area)
    assert found.lacking == 0


def test_docstrings_say_what_happens():
    assert doctest.testmod(coarse_scores).failed == 0
