"""Promises of several labels: each by itself, or all together."""

import numpy as np
import pytest
from scipy.stats import norm

from cxrtool.core.errors import UsageError
from cxrtool.evaluation.certificates import LabelRows, certify
from cxrtool.evaluation.families import HOLM, Promise, certify_labels, step_down
from cxrtool.evaluation.thresholds import NO_FAMILY, Rule
from tests.support.samples_of import sample_of

SENSITIVE = Rule("certified-sensitivity", 0.9)


def positives(rng, patients, shift=1.5):
    return LabelRows(np.ones(patients, bool), rng.normal(shift, 1, patients), np.arange(patients))


def test_together_each_label_gets_an_equal_share_of_those_with_patients_enough():
    rng = np.random.default_rng(0)
    rows = [positives(rng, patients) for patients in (200, 150, 100, 40, 28, 10)]
    found = step_down([Promise(SENSITIVE, one) for one in rows], 0.05)
    # 40 patients are enough at 0.05 / 3 (39 are the least), but not at 0.05 / 4 (42).
    assert [one.certificate is not None for one in found] == [True] * 3 + [False] * 3
    for one, whom in zip(found[:3], rows, strict=False):
        assert one == certify("sensitivity", 0.9, 0.05 / 3, whom)
    assert found[3].reason.startswith("has 40 of the 42 patients with a positive")


def test_a_label_of_which_each_threshold_holds_hands_its_level_on():
    rng = np.random.default_rng(1)
    # Nobody is positive: whoever is called negative is so.
    clear = LabelRows(np.zeros(400, bool), rng.normal(size=400), np.arange(400))
    ill = rng.random(400) < 0.2
    hard = LabelRows(ill, rng.normal(size=400) + 1.5 * ill, np.arange(400))
    rule = Rule("certified-npv", 0.9)
    found = step_down([Promise(rule, clear), Promise(rule, hard)], 0.05)
    assert found[0].exhausted
    assert found[1] == certify("npv", 0.9, 0.05, hard)
    assert found[1] != certify("npv", 0.9, 0.025, hard)


def test_by_itself_no_label_pays_for_others():
    rng = np.random.default_rng(2)
    ill = rng.random((300, 3)) < 0.3
    sample = sample_of(rng.normal(size=(300, 3)) + 2 * ill, ill)
    (alone,) = certify_labels({SENSITIVE: sample.labels[:2]}, sample, NO_FAMILY).values()
    assert set(alone) == set(sample.labels[:2])
    (together,) = certify_labels({SENSITIVE: sample.labels}, sample, HOLM).values()
    for label in alone:
        assert alone[label].certificate.level == pytest.approx(0.05)
        assert together[label].certificate.level == pytest.approx(0.05 / 3)
        assert together[label].threshold <= alone[label].threshold


def test_a_family_has_one_confidence_and_a_known_name():
    sample = sample_of(np.zeros((4, 1)), np.zeros((4, 1)))
    rules = dict.fromkeys([SENSITIVE, Rule("certified-npv", 0.9, 90)], sample.labels)
    with pytest.raises(UsageError, match="one confidence, as @95"):
        certify_labels(rules, sample, HOLM)
    with pytest.raises(UsageError, match="family 'bonferoni' is not known"):
        certify_labels(rules, sample, "bonferoni")


def test_of_fourteen_labels_together_any_falls_short_in_a_twentieth_of_samples():
    draws, rng = 50, np.random.default_rng(3)
    together = alone = 0
    for _ in range(draws):
        promises = [Promise(SENSITIVE, positives(rng, 70 + 10 * label)) for label in range(14)]
        found = step_down(promises, 0.05)
        together += any(norm.sf(one.threshold - 1.5) < 0.9 for one in found)
        alone += any(norm.sf(one.at(0.05).threshold - 1.5) < 0.9 for one in promises)
    assert together / draws <= 0.055 + 2 * np.sqrt(0.05 * 0.95 / draws)
    assert alone / draws > 0.25
