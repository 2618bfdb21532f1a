"""What scores are worth as probabilities, over all labels of a sample."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.calibration_measures import measure_calibration
from cxrtool.evaluation.net_benefit import decision_curve
from cxrtool.evaluation.probabilities import NOTHING, assess_probabilities
from cxrtool.evaluation.scoring import assess
from tests.support.samples import LABELS, THRESHOLDS, draw_sample

pytestmark = pytest.mark.filterwarnings("error")


def test_each_label_has_its_own_figures_over_its_own_patients():
    sample = draw_sample(3)
    draws = draw_patients(sample.patients, replicates=50)
    found = assess_probabilities(sample, draws)
    for at, one in enumerate(found):
        measures = measure_calibration(*sample.column(at), sample.patients)
        assert (one.intercept, one.slope) == (measures.intercept, measures.slope)
        assert one.curve == measures.curve
        assert one.decision == decision_curve(*sample.column(at), sample.patients)
    assert found[0].slope.interval is not None
    assert found[LABELS.index("Nothing")].decision is None
    alone = assess_probabilities(sample, None)
    assert alone[0].slope.interval is None
    assert alone[0].slope.value == found[0].slope.value


def test_they_stand_in_the_assessment_and_in_its_json():
    sample = draw_sample(4)
    found = assess(sample, THRESHOLDS, draw_patients(sample.patients, replicates=50))
    told = found.as_json()
    for at, label in enumerate(LABELS):
        one = assess_probabilities(sample, draw_patients(sample.patients, replicates=50))[at]
        figures = told["labels"][label]
        assert figures["calibration_intercept"] == one.intercept.value
        ends = one.slope.interval
        assert figures["calibration_slope_ci"] == (list(ends) if ends else None)
    assert told["calibration_curves"]["Edema"]["predicted"][0] > 0
    assert set(told["decision_curves"]) == set(LABELS) - {"Nothing"}
    assert len(told["decision_curves"]["Edema"]["low"]) == len(
        told["decision_curves"]["Edema"]["threshold"]
    )


def test_scores_that_are_no_probabilities_have_none():
    sample = draw_sample(5)
    wild = replace(sample, scores=sample.scores * 7 - 2)
    assert assess_probabilities(wild, None) == [NOTHING] * len(LABELS)
    masked = replace(sample, mask=sample.mask & (np.arange(len(LABELS)) > 0))
    assert assess_probabilities(masked, None)[0] == NOTHING
