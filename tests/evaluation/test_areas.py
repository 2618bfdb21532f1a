"""What AUROCs rest on: effective patients, pairs of them, and what replicates lack."""

from dataclasses import replace

import numpy as np
import pytest

from cxrtool.evaluation.areas import areas_of, backing_of, freedom_of
from cxrtool.evaluation.bootstrap import draw_patients
from tests.support.samples import draw_sample

pytestmark = pytest.mark.filterwarnings("error")


def one_label(patients, positive, scores):
    """A sample of one label whose rows all count."""
    n = len(patients)
    return replace(
        draw_sample(0, n=n),
        labels=("Edema",),
        patients=np.array([f"p{number}" for number in patients]),
        targets=np.asarray(positive, bool)[:, None],
        mask=np.ones((n, 1), bool),
        scores=np.asarray(scores, float)[:, None],
        groups={},
    )


def unequal(rng):
    """One patient in ten has 30 images, the others one; 50 of 200 patients are positive."""
    images = np.where(np.arange(200) % 10 == 0, 30, 1)
    patients = np.repeat(np.arange(200), images)
    positive = patients < 50
    scores = (
        1.5 * positive + np.repeat(rng.normal(size=200), images) + rng.normal(size=len(patients))
    )
    return one_label(patients, positive, scores)


def test_patients_with_many_images_leave_fewer_degrees_of_freedom():
    sample = unequal(np.random.default_rng(1))
    sizes = np.array([30] * 5 + [1] * 45)
    kish = sizes.sum() ** 2 / (sizes**2).sum()
    assert freedom_of(sample, sample.mask) == pytest.approx([kish - 1])
    areas = areas_of(sample, draw_patients(sample.patients, replicates=300))
    assert areas.backing.freedom == pytest.approx([kish - 1])
    # k / (k - 1), less what the varying number of the class's 50 patients makes up for.
    ratio = kish / (kish - 1) * 49 / 50
    expected = (ratio - 1) * np.var(areas.drawn.auroc[:, 0])
    assert areas.backing.lacking == pytest.approx([expected], rel=0.02)


def test_patients_of_equal_size_lack_nothing():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(100), 3)
    positive = patients < 30
    sample = one_label(patients, positive, rng.normal(positive * 1.0))
    areas = areas_of(sample, draw_patients(sample.patients, replicates=300))
    assert areas.backing.freedom == pytest.approx([29])
    assert areas.backing.lacking[0] < 1e-3 * np.var(areas.drawn.auroc)


def test_pairs_share_no_patient():
    """Three patients with both kinds of rows make one pair; one positive makes one."""
    both = one_label([0, 0, 1, 1, 2, 2], [0, 1] * 3, range(6))
    assert backing_of(both, both.mask, None).pairs.tolist() == [1]
    apart = one_label([0, 1, 2, 3, 4], [1, 1, 0, 0, 0], [5, 6, 1, 2, 3])
    assert backing_of(apart, apart.mask, None).pairs.tolist() == [2]


def test_perfect_ranks_and_their_mean_have_a_lower_end():
    sample = one_label(range(40), np.arange(40) < 15, 40 - np.arange(40))
    areas = areas_of(sample, draw_patients(sample.patients, replicates=200))
    expected = (pytest.approx(0.05 ** (1 / 15)), 1.0)
    assert areas.aurocs()[0].interval == expected
    assert areas.mean_auroc([0]).interval == expected
    assert areas.auprcs()[0].interval is None


def test_a_score_of_two_levels_is_no_certainty():
    """All positives have the higher score; the draws vary by the negatives alone."""
    score = np.where(np.arange(220) < 20, 1, np.arange(220) % 10 == 0)
    sample = one_label(range(220), np.arange(220) < 20, score)
    low, high = (
        areas_of(sample, draw_patients(sample.patients, replicates=300)).aurocs()[0].interval
    )
    assert low < 0.9 < 0.95 < high


def test_without_draws_there_are_no_intervals():
    areas = areas_of(unequal(np.random.default_rng(3)), None)
    assert areas.aurocs()[0].interval is None
    assert areas.mean_auprc([0]).interval is None
