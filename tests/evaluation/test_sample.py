"""A study is made of its images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrtool.core.errors import DataError
from cxrtool.evaluation.sample import by_study
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
