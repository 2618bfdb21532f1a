"""What is chosen on one sample: thresholds, triage and calibration, as one family."""

import numpy as np
import pytest

from cxrtool.core.errors import UsageError
from cxrtool.evaluation.choices import Wanted, choose_on
from cxrtool.evaluation.operating_points import choose_point
from cxrtool.evaluation.thresholds import Rule
from tests.evaluation.test_triage import drawn

TRIAGE = "certified-sensitivity=0.9,certified-specificity=0.8"


def test_a_rule_that_promises_nothing_is_as_before():
    sample = drawn(200, [0.3], [2])
    found = choose_on(sample, "valid", Wanted.of("youden", None, None), None, {})
    assert (
        found.point.thresholds.tolist()
        == choose_point(Rule("youden"), sample, "valid").thresholds.tolist()
    )
    assert (found.triage, found.calibration, dict(found.point.certificates)) == (None, None, {})


def test_a_promise_that_both_make_is_one_promise():
    sample = drawn(500, [0.3, 0.3], [2, 2])
    wanted = Wanted.of("certified-sensitivity=0.9", TRIAGE, "holm")
    point, triage = wanted.choose(sample, "valid")
    assert point.certificates["label 0"].level == pytest.approx(0.05 / 4)
    assert triage.limits["label 0"].rule_out == point.thresholds[0]
    assert point.chosen.family == triage.family == "holm"
    assert "all labels together" in point.chosen.condition


def test_a_family_where_nothing_is_promised_is_refused():
    Wanted.of("youden", None, "none").check_family(None)
    Wanted.of("youden", TRIAGE, "holm").check_family("holm")
    with pytest.raises(UsageError, match="--family holm goes with a certified"):
        Wanted.of("youden", None, "holm").check_family("holm")


def test_too_few_patients_for_a_promise_is_a_reason_and_no_threshold():
    sample = drawn(300, [0.3, 0.07], [2, 2], seed=4)
    point, _ = Wanted.of("certified-sensitivity=0.9", None, None).choose(sample, "ours")
    positives = int(sample.targets[:, 1].sum())
    assert 10 <= positives < 29
    assert np.isnan(point.thresholds).tolist() == [False, True]
    assert point.without == {
        "label 1": f"ours has {positives} of the 29 patients with a positive that sensitivity 0.9 "
        "at 95 % confidence needs"
    }
