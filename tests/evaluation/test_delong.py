"""DeLong's variance over patients, against the definitions, pair by pair."""

import doctest
import tracemalloc

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from cxrtool.core.errors import DataError
from cxrtool.evaluation import delong
from cxrtool.evaluation.delong import delong_areas, delong_difference


def obuchowski(truth, scores, patients):
    """By the formulas of Obuchowski (1997), each positive compared with each negative."""
    positives, negatives = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    names = sorted(set(patients))
    models = range(scores.shape[1])
    psi = [
        np.array([[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in negatives] for i in positives])
        for s in scores.T
    ]
    theta = [one.mean() for one in psi]
    with_positive = [name for name in names if any(patients[i] == name for i in positives)]
    with_negative = [name for name in names if any(patients[j] == name for j in negatives)]

    def of_positives(model, name):
        rows = [at for at, i in enumerate(positives) if patients[i] == name]
        return psi[model].mean(axis=1)[rows].sum() - len(rows) * theta[model]

    def of_negatives(model, name):
        rows = [at for at, j in enumerate(negatives) if patients[j] == name]
        return psi[model].mean(axis=0)[rows].sum() - len(rows) * theta[model]

    def covariance(r, s):
        m, n = len(positives), len(negatives)
        i10, i01, i = len(with_positive), len(with_negative), len(names)
        s10 = (
            i10
            / ((i10 - 1) * m)
            * sum(of_positives(r, name) * of_positives(s, name) for name in with_positive)
        )
        s01 = (
            i01
            / ((i01 - 1) * n)
            * sum(of_negatives(r, name) * of_negatives(s, name) for name in with_negative)
        )
        s11 = i / (i - 1) * sum(of_positives(r, name) * of_negatives(s, name) for name in names)
        s11_turned = (
            i / (i - 1) * sum(of_positives(s, name) * of_negatives(r, name) for name in names)
        )
        return s10 / m + s01 / n + s11 / (m * n) + s11_turned / (m * n)

    return theta, np.array([[covariance(r, s) for s in models] for r in models])


def drawn(seed, n=60, patients=22, levels=None):
    """Two models' scores of patients with several rows, some of both classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    scores = rng.normal(np.outer(truth, [1.0, 0.6]) + rng.normal(size=(n, 1)))
    if levels:
        scores = np.round(scores * levels) / levels
    return truth, scores, rng.integers(0, patients, n)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_obuchowskis_by_its_definition(seed, levels):
    truth, scores, patients = drawn(seed, levels=levels)
    theta, covariance = obuchowski(truth, scores, patients)
    found = delong_areas(truth, scores, patients)
    np.testing.assert_allclose(found.aurocs, theta, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10)
    apart = delong_difference(truth, scores.T, patients)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    assert apart.difference == pytest.approx(theta[0] - theta[1])
    assert apart.ci == pytest.approx((apart.difference - half, apart.difference + half))
    expected = 2 * stats.norm.sf(abs(apart.difference) / np.sqrt(variance))
    assert apart.p == pytest.approx(expected)


def test_one_row_a_patient_is_plain_delong():
    truth, scores, _ = drawn(5, n=80)
    found = delong_areas(truth, scores, np.arange(80))
    positive, negative = truth == 1, truth == 0
    psi = [
        (s[positive][:, None] > s[negative]) + 0.5 * (s[positive][:, None] == s[negative])
        for s in scores.T
    ]
    s10, s01 = (np.cov([one.mean(axis=axis) for one in psi]) for axis in (1, 0))
    np.testing.assert_allclose(
        found.covariance, s10 / positive.sum() + s01 / negative.sum(), rtol=1e-12
    )
    for area, score in zip(found.aurocs, scores.T, strict=True):
        assert area == pytest.approx(roc_auc_score(truth, score))


def test_an_interval_is_normal_on_log_odds():
    truth, scores, patients = drawn(6)
    found = delong_areas(truth, scores, patients)
    area, error = found.aurocs[0], np.sqrt(found.covariance[0, 0])
    half = stats.norm.ppf(0.95) * error / (area * (1 - area))
    expected = special.expit(special.logit(area) + np.array([-half, half]))
    assert found.interval(0, 0.9) == pytest.approx(expected)


def test_rows_that_do_not_count_and_the_order_of_rows_change_nothing():
    truth, scores, patients = drawn(7)
    kept = np.arange(60) % 3 > 0
    masked = np.where(kept[:, None], scores, np.nan)
    found = delong_areas(np.where(kept, truth, -1), masked, patients, kept)
    turned = delong_areas(truth[kept][::-1], scores[kept][::-1], patients[kept][::-1])
    np.testing.assert_allclose(found.covariance, turned.covariance, rtol=1e-12)


def test_where_nothing_can_be_said_there_is_nothing():
    perfect = delong_areas([0, 0, 1, 1], np.array([[1.0], [2], [3], [4]]), [1, 2, 3, 4])
    assert perfect.interval(0) is None
    alone = delong_areas([0, 0, 1, 1], np.array([[1.0], [3], [2], [4]]), [1, 2, 3, 3])
    assert np.isnan(alone.covariance).all()
    assert alone.interval(0) is None
    truth, scores, patients = drawn(8)
    same = delong_difference(truth, (scores[:, 0], 2 * scores[:, 0] + 1), patients)
    assert (same.difference, same.ci, same.p) == (0, None, None)
    with pytest.raises(DataError, match="both classes"):
        delong_areas([1, 1], np.ones((2, 1)), [1, 2])
    with pytest.raises(DataError, match="expected"):
        delong_areas([1, 0], np.ones(2), [1, 2])


def test_it_never_holds_all_pairs():
    """5,000 positives and as many negatives would be 25 million pairs, 200 MB."""
    truth, scores, patients = drawn(9, n=10_000, patients=4_000)
    tracemalloc.start()
    delong_areas(truth, scores, patients)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_docstrings_say_what_happens():
    result = doctest.testmod(delong)
    assert result.failed == 0
    assert result.attempted >= 4
