"""The share of each verdict on a sample."""

import numpy as np
import pytest

from cxrtool.data.prediction_rows import READ_FIRST, RULE_IN, RULE_OUT, judge
from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.choices import Wanted
from cxrtool.evaluation.verdicts import VERDICTS, score_triage
from tests.evaluation.test_triage import drawn

RULES = "certified-npv=0.95,certified-ppv=0.7"


def test_shares_are_those_of_the_rows_verdicts_and_their_intervals_are_over_patients():
    valid, test = drawn(500, [0.3], [2]), drawn(400, [0.3], [2], seed=1)
    triage = Wanted.of(None, RULES, None).choose(valid, "valid")[1]
    found = score_triage(triage, test, draw_patients(test.patients, replicates=200))
    one = found.labels["label 0"]
    limits = {"label 0": (triage.limits["label 0"].rule_out, triage.limits["label 0"].rule_in)}
    verdicts = [judge(row, test.labels, limits)["label 0"] for row in test.scores]
    for name, verdict in zip(VERDICTS, (RULE_OUT, READ_FIRST, RULE_IN), strict=True):
        these = np.array([each == verdict for each in verdicts])
        share = getattr(one, name)
        assert share.value == pytest.approx(these.mean())
        low, high = share.interval
        assert low < share.value < high
        # Of 400 independent patients about two standard errors to either side.
        error = np.sqrt(these.mean() * (1 - these.mean()) / 400)
        assert high - low == pytest.approx(4 * error, rel=0.2)
        assert one.positives[name] == int((these & test.targets[:, 0]).sum())
    assert sum(getattr(one, name).value for name in VERDICTS) == pytest.approx(1)
    told = found.as_json()
    assert told["labels"]["label 0"]["rule_out_ci"] == list(one.rule_out.interval)
    assert told["conditions"][0].startswith("NPV of at least 0.95 at 95 % confidence")


def test_without_draws_there_are_no_intervals_and_without_rows_no_shares():
    sample = drawn(500, [0.3], [2])
    triage = Wanted.of(None, RULES, None).choose(sample, "valid")[1]
    found = score_triage(triage, sample, None).labels["label 0"]
    assert found.rule_out.interval is None
    nobody = sample.mask & False
    object.__setattr__(sample, "mask", nobody)
    empty = score_triage(triage, sample, None).labels["label 0"]
    assert (empty.n, empty.rule_out.value) == (0, None)
