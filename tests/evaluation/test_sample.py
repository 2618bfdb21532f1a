"""A study is made of its images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.logits import probabilities_of
from cxrtool.evaluation.sample import AGGREGATES, by_study, combine_logits, combine_scores
from tests.support.samples import draw_sample

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_study_is_its_images(aggregate):
    sample = draw_sample(2)
    found = by_study(sample, aggregate)
    frame = pd.DataFrame({"patient": sample.patients, "study": sample.studies})
    for (patient, study), rows in frame.groupby(["patient", "study"]).groups.items():
        at = np.flatnonzero((found.patients == patient) & (found.keys == study))
        assert len(at) == 1
        scores = sample.scores[rows]
        expected = scores.max(axis=0) if aggregate == "max" else scores.mean(axis=0)
        np.testing.assert_allclose(found.scores[at[0]], expected)
        counts = sample.mask[rows]
        np.testing.assert_array_equal(found.mask[at[0]], counts.any(axis=0))
        positive = (sample.targets[rows] & counts).any(axis=0)
        np.testing.assert_array_equal(found.targets[at[0]], positive)
        sexes = set(sample.groups["sex"][rows])
        assert found.groups["sex"][at[0]] == (sexes.pop() if len(sexes) == 1 else "several")
    with pytest.raises(DataError, match="name no study"):
        by_study(replace(sample, studies=np.full(len(sample.keys), "")), aggregate)


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
