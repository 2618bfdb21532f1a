"""Two certified thresholds a label, and what is done where they cross."""

import doctest

import numpy as np
import pytest

from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.schemas import TriageFacts, checked
from cxrtool.data.labels import NO_FINDING
from cxrtool.evaluation import triage as module
from cxrtool.evaluation.certificates import p_value, tally
from cxrtool.evaluation.choices import Wanted
from cxrtool.evaluation.families import rows_of_label
from cxrtool.evaluation.operating_points import fit_calibration
from cxrtool.evaluation.triage import parse_triage, stored_triage
from tests.support.samples_of import sample_of


def chosen(sample, rules, family=None):
    return Wanted.of(None, rules, family).choose(sample, "valid")[1]


def drawn(patients, prevalence, shift, seed=0):
    rng = np.random.default_rng(seed)
    ill = rng.random((patients, len(prevalence))) < prevalence
    return sample_of(rng.normal(size=ill.shape) + np.array(shift) * ill - 1, ill)


def test_examples():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "text",
    [
        *("certified-npv=0.98", "certified-ppv=0.5,certified-npv=0.98", "youden,certified-ppv=0.5"),
        *("certified-npv=0.98,certified-npv=0.9", "certified-npv=0.9,certified-ppv=0.5,f1"),
    ],
)
def test_a_triage_is_a_rule_to_rule_out_and_one_to_rule_in(text):
    with pytest.raises(UsageError, match=r"ruled out \(certified-npv or certified-sensitivity\)"):
        parse_triage(text)


def test_each_label_has_both_thresholds_or_a_reason():
    sample = drawn(500, [0.3, 0.02, 0.3, 0.01], [2, 2, 0.0, 2])
    found = chosen(sample, "certified-sensitivity=0.9,certified-ppv=0.5")
    assert set(found.limits) == {"label 0"}
    assert found.limits["label 0"].rule_out < found.limits["label 0"].rule_in
    assert found.without["label 1"].startswith("valid has 13 of the 29 patients with a")
    assert "no threshold of PPV 0.5: at " in found.without["label 2"]
    assert set(found.without) == {"label 1", "label 2", "label 3"}
    lower, upper = found.certificates["label 0"]
    assert (lower.quantity, upper.quantity) == ("sensitivity", "ppv")


@pytest.mark.parametrize(
    ("rules", "exactly"),
    [
        ("certified-sensitivity=0.6,certified-specificity=0.6", True),
        ("certified-npv=0.75,certified-ppv=0.5", False),
    ],
)
def test_where_thresholds_cross_the_lower_one_moves_and_both_promises_hold(rules, exactly):
    sample = drawn(600, [0.3], [2.5])
    wanted = Wanted.of(None, rules, None)
    alone = [
        Wanted.of(str(rule), None, None).choose(sample, "valid")[0].thresholds[0]
        for rule in wanted.certified
    ]
    assert alone[0] > alone[1]
    found = chosen(sample, rules)
    limits = found.limits["label 0"]
    assert limits.rule_in == alone[1]
    assert limits.rule_out <= limits.rule_in
    assert (limits.rule_out == limits.rule_in) == exactly
    rows = rows_of_label(sample, "label 0")
    for rule, limit in zip(wanted.certified, (limits.rule_out, limits.rule_in), strict=True):
        assert p_value(*tally(rule.quantity, limit, rows), rule.share) <= 0.05
    assert found.certificates["label 0"][0].reached >= wanted.certified[0].share


def test_no_finding_is_no_finding_and_has_no_verdict():
    sample = drawn(500, [0.3, 0.4], [2, 2])
    named = sample.choose(sample.labels)
    object.__setattr__(named, "labels", ("Edema", NO_FINDING))
    found = chosen(named, "certified-sensitivity=0.9,certified-specificity=0.9", "holm")
    assert set(found.limits) == {"Edema"}
    assert NO_FINDING not in found.without
    # Two promises share the level, not four.
    assert found.certificates["Edema"][0].level == pytest.approx(0.025)


def test_a_triage_is_stored_and_read_back():
    found = chosen(drawn(500, [0.3, 0.02], [2, 2]), "certified-npv=0.9,certified-ppv=0.5@95")
    facts = checked(found.as_json(), TriageFacts, "thresholds.json")
    assert stored_triage(facts) == found
    assert stored_triage(None) is None
    with pytest.raises(RunError, match="triage of unknown rules"):
        stored_triage(facts.model_copy(update={"rule_out": "best"}))
    crossed = found.as_json()
    crossed["labels"]["label 0"]["rule_out"] = 1.0
    with pytest.raises(RunError, match="is above rule_in"):
        checked(crossed, TriageFacts, "thresholds.json")


def test_a_calibration_moves_limits_and_parts_the_same_images():
    sample = drawn(500, [0.3], [2])
    found = chosen(sample, "certified-npv=0.9,certified-ppv=0.5")
    calibration = fit_calibration("platt", sample, "valid")
    moved = found.calibrated(calibration).limits["label 0"]
    scores = calibration.of_scores(sample.labels, sample.scores)[:, 0]
    limits = found.limits["label 0"]
    assert moved != limits
    for before, after in ((limits.rule_out, moved.rule_out), (limits.rule_in, moved.rule_in)):
        assert ((scores >= after) == (sample.scores[:, 0] >= before)).all()
    assert found.calibrated(None) == found
