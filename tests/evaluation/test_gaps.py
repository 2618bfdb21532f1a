"""Gaps between groups: said only where they are clear, whatever else was looked at."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.intervals import LEAST_PATIENTS
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.subgroups import assess_groups
from tests.support.alarms import LABELS, draw_evaluation, largest_is_clear, states_gap

pytestmark = pytest.mark.filterwarnings("error")


def assess(sample, replicates=200, seed=3):
    draws = draw_patients(sample.patients, replicates=replicates, seed=seed) if replicates else None
    return assess_groups(sample, np.full(len(sample.labels), 1.0), draws)


def with_worse_women(sample: Sample) -> Sample:
    """The first label's scores tell nothing of women."""
    scores = sample.scores.copy()
    women = sample.groups["sex"] == "Female"
    scores[women, 0] = np.random.default_rng(5).normal(size=women.sum())
    return replace(sample, scores=scores)


def test_a_gap_that_is_there_is_said_with_an_interval_that_holds_for_all():
    found = assess(with_worse_women(draw_evaluation(np.random.default_rng(1), patients=700)))
    first = found["sex"].clear[0]
    assert (first.label, first.highest, first.lowest) == (LABELS[0], "Male", "Female")
    assert found["sex"].gaps[LABELS[0]].auroc.ci[0] > 0
    assert first.ci[0] == max(one.ci[0] for one in found["sex"].clear)
    pairs = {"sex": 1, "age": 3, "view": 3}
    assert first.ci[0] > 0
    assert found["sex"].adjusted == found["view"].adjusted
    assert found["sex"].adjusted.comparisons <= sum(pairs.values()) * len(LABELS) * 3
    as_json = found["sex"].as_json()
    assert as_json["clear"][0]["measure"] in ("auroc", "tpr", "fpr")
    assert as_json["adjusted"]["level"] == 0.95
    assert set(as_json["gaps"][LABELS[0]]["auroc"]) == {"gap", "ci", "highest", "lowest"}


def test_the_more_is_looked_at_the_wider_the_intervals():
    sample = draw_evaluation(np.random.default_rng(2), patients=400)
    alone = assess(replace(sample, groups={"sex": sample.groups["sex"]}).choose(LABELS[:1]))
    among = assess(sample)
    one, other = (of["sex"].gaps[LABELS[0]].auroc for of in (alone, among))
    assert one.gap == pytest.approx(other.gap)
    assert np.diff(other.ci) > 1.2 * np.diff(one.ci)
    assert alone["sex"].adjusted.comparisons == 3  # AUROC, TPR and FPR of one label and one pair


def test_all_pairs_take_part_and_the_largest_is_that_of_the_extremes():
    sample = draw_evaluation(np.random.default_rng(3), patients=700)
    found = assess(sample)["age"]
    for label in LABELS:
        able = {
            name: of.labels[label].auroc.value
            for name, of in found.groups.items()
            if not of.labels[label].too_few
        }
        gap = found.gaps[label].auroc
        assert gap.gap == pytest.approx(max(able.values()) - min(able.values()))
        assert (able[gap.highest], able[gap.lowest]) == (max(able.values()), min(able.values()))
        assert gap.ci[0] <= gap.gap <= gap.ci[1]


def test_a_group_with_perfect_sensitivity_is_no_certainty():
    """All ten positives of B are found and 160 of 200 of A: one miss more would be no wonder."""
    n, hits = 420, 160
    b = np.arange(n) >= 400
    positive = (np.arange(n) < 200) | (np.arange(n) >= 410)
    called = np.where(b, positive, np.arange(n) < hits)
    sample = Sample(
        labels=("Edema",),
        keys=np.arange(n).astype(str),
        patients=np.arange(n).astype(str),
        studies=np.full(n, ""),
        targets=positive[:, None],
        mask=np.ones((n, 1), bool),
        scores=called[:, None] + np.random.default_rng(6).normal(0, 0.01, (n, 1)),
        groups={"site": np.where(b, "B", "A")},
    )
    gaps = assess_groups(sample, np.array([0.5]), draw_patients(sample.patients, replicates=300))
    gap = gaps["site"].gaps["Edema"].tpr
    assert (gap.gap, gap.highest) == (pytest.approx(0.2), "B")
    assert gap.ci[0] < 0 < 0.25 < gap.ci[1]


def test_without_draws_nothing_is_said():
    found = assess(draw_evaluation(np.random.default_rng(4), patients=300), replicates=0)
    assert found["sex"].gaps[LABELS[0]].auroc.ci is None
    assert found["sex"].clear == ()
    assert found["sex"].adjusted is None


def test_a_group_of_few_patients_takes_no_part():
    sample = draw_evaluation(np.random.default_rng(7), patients=300)
    few = np.unique(sample.patients)[: LEAST_PATIENTS - 1]
    site = np.where(np.isin(sample.patients, few), "small", "large")
    found = assess(replace(sample, groups={"site": site}))["site"]
    assert all(gaps.auroc is None for gaps in found.gaps.values())
    assert found.adjusted is None


def test_equal_groups_are_called_unequal_in_few_evaluations():
    """Of 20 evaluations without a gap one is expected to state one at most; 5 are 4 sigma."""
    rng, said, before = np.random.default_rng(8), 0, 0
    for seed in range(20):
        sample = draw_evaluation(rng, patients=200)
        draws = draw_patients(sample.patients, replicates=80, seed=seed)
        said += states_gap(sample, draws)
        before += largest_is_clear(sample, draws) if seed < 10 else 0
    assert said <= 4
    # What was said before: the largest gap's own interval, chosen after looking.
    assert before >= 5
