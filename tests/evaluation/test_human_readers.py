"""Readers beside a model: their rates, the model's at the same specificity, and kappa."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.human_readers import Reading, compare_readers
from cxrtool.evaluation.sample import Sample

LABELS = ("Edema", "Fracture")


def sample_of(rng, n=300, levels=None):
    """A made sample of patients with one to three images, and scores that go with the truth."""
    patients = np.repeat(np.arange(n), rng.integers(1, 4, n))[:n].astype(str)
    targets = rng.random((n, 2)) < 0.3
    scores = rng.normal(size=(n, 2)) + 1.5 * targets
    if levels:
        scores = np.round(scores * levels) / levels
    return Sample(
        labels=LABELS,
        keys=np.arange(n).astype(str),
        patients=patients,
        studies=np.full(n, ""),
        targets=targets,
        mask=rng.random((n, 2)) < 0.9,
        scores=1 / (1 + np.exp(-scores)),
    )


def reading_of(rng, sample, name, wrong=0.2, read=0.9):
    flipped = rng.random(sample.targets.shape) < wrong
    return Reading(
        name=name, called=sample.targets ^ flipped, read=rng.random(sample.targets.shape) < read
    )


@pytest.fixture
def made():
    rng = np.random.default_rng(3)
    sample = sample_of(rng, levels=4)
    return sample, [reading_of(rng, sample, name) for name in ("Ada", "Bea", "Cem")]


def test_rates_are_those_of_scikit_learn_on_the_rows_that_were_read(made):
    sample, readings = made
    found = compare_readers(sample, readings, None)
    for reading, (at, label) in itertools.product(readings, enumerate(LABELS)):
        rows = sample.mask[:, at] & reading.read[:, at]
        truth, called = sample.targets[rows, at], reading.called[rows, at]
        tn, fp, fn, tp = confusion_matrix(truth, called).ravel()
        one = found.labels[label].readers[reading.name]
        assert (one.n, one.positives) == (rows.sum(), truth.sum())
        assert one.sensitivity.value == pytest.approx(tp / (tp + fn))
        assert one.specificity.value == pytest.approx(tn / (tn + fp))


def test_the_model_is_taken_at_the_lowest_threshold_that_is_as_specific(made):
    sample, readings = made
    found = compare_readers(sample, readings, None)
    for reading, (at, label) in itertools.product(readings, enumerate(LABELS)):
        rows = sample.mask[:, at] & reading.read[:, at]
        truth, score = sample.targets[rows, at], sample.scores[rows, at]
        allowed = (reading.called[rows, at] & ~truth).sum()
        able = [one for one in np.unique(score) if ((score >= one) & ~truth).sum() <= allowed]
        hits = (truth & (score >= min(able))).sum() if able else 0
        one = found.labels[label].readers[reading.name]
        assert one.model_sensitivity.value == pytest.approx(hits / truth.sum())
        apart = one.model_sensitivity.value - one.sensitivity.value
        assert one.difference.value == pytest.approx(apart)


def test_a_model_that_says_what_a_reader_says_does_not_differ(made):
    sample, (reader, *_) = made
    alike = replace(sample, scores=reader.called.astype(float))
    draws = draw_patients(sample.patients, replicates=200)
    for label in compare_readers(alike, [reader], draws).labels.values():
        one = label.readers["Ada"]
        assert one.difference.value == 0
        # In no draw of patients either: the difference is paired.
        assert one.difference.interval is None


def test_the_interval_holds_the_difference_and_narrows_with_the_patients():
    widths = []
    for n in (200, 1800):
        rng = np.random.default_rng(5)
        sample = sample_of(rng, n)
        reading = reading_of(rng, sample, "Ada")
        draws = draw_patients(sample.patients, replicates=200)
        one = compare_readers(sample, [reading], draws).labels["Edema"].readers["Ada"]
        low, high = one.difference.interval
        assert low < one.difference.value < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_kappa_is_that_of_scikit_learn_and_its_mean_lights(made):
    sample, readings = made
    found = compare_readers(sample, readings, draw_patients(sample.patients, replicates=100))
    for at, label in enumerate(LABELS):
        expected = []
        for one, other in itertools.combinations(readings, 2):
            rows = sample.mask[:, at] & one.read[:, at] & other.read[:, at]
            kappa = cohen_kappa_score(one.called[rows, at], other.called[rows, at])
            pair = found.labels[label].pairs[f"{one.name} and {other.name}"]
            assert pair.value == pytest.approx(kappa)
            assert pair.interval[0] < kappa < pair.interval[1]
            expected.append(kappa)
        assert found.labels[label].kappa.value == pytest.approx(np.mean(expected))


def test_readers_who_call_nobody_agree_by_chance_alone():
    rng = np.random.default_rng(1)
    sample = sample_of(rng)
    nobody = [
        Reading(
            name=name,
            called=np.zeros_like(sample.targets),
            read=np.ones_like(sample.targets),
        )
        for name in ("Ada", "Bea")
    ]
    found = compare_readers(sample, nobody, None)
    assert found.labels["Edema"].kappa.value is None
    one = found.labels["Edema"].readers["Ada"]
    assert (one.sensitivity.value, one.specificity.value) == (0, 1)


def test_a_label_that_nobody_read_has_no_row(made):
    sample, (reader, *_) = made
    reader.read[:, 1] = False
    assert list(compare_readers(sample, [reader], None).labels) == ["Edema"]
