import numpy as np
import pandas as pd
import pytest

from cxrtool.data.logits import probabilities_of
from cxrtool.evaluation.studies import AGGREGATES, combine_logits, combine_scores


@pytest.fixture
def images():
    """Logits (200, 3) of images, and the study of each: 60 in all."""
    rng = np.random.default_rng(2)
    studies = np.concatenate([np.arange(60), rng.integers(60, size=140)])
    return rng.normal(0, 4, (200, 3)), rng.permutation(studies)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_scores_are_those_of_pandas(images, aggregate):
    logits, studies = images
    scores = probabilities_of(logits)
    expected = pd.DataFrame(scores).groupby(studies).agg(aggregate)
    np.testing.assert_allclose(combine_scores(scores, studies, 60, aggregate), expected, rtol=1e-14)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_logits_are_those_of_the_scores(images, aggregate):
    logits, studies = images
    combined = combine_logits(logits, studies, 60, aggregate)
    expected = combine_scores(probabilities_of(logits), studies, 60, aggregate)
    np.testing.assert_allclose(probabilities_of(combined), expected, rtol=1e-12)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_logits_tell_studies_apart_whose_scores_are_all_1(aggregate):
    logits = np.array([[800.0], [810.0], [900.0], [910.0]])
    combined = combine_logits(logits, np.array([0, 0, 1, 1]), 2, aggregate)
    assert combined[0, 0] < combined[1, 0]
    assert np.isfinite(combined).all()
