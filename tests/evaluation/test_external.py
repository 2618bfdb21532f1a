"""How far two independent samples' AUROCs are apart, and whether intervals hold the truth."""

import numpy as np
import pytest

from cxrtool.core.origin import Origin
from cxrtool.evaluation.external import differences
from cxrtool.evaluation.protocol import Protocol
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.scoring import About, score_sample

ABOUT = About(
    run="r",
    split=None,
    protocol=Protocol(
        name="other",
        labels_by="nobody",
        uncertainty="ones",
        blank="zeros",
        split_by="patient",
        views=("frontal",),
    ),
    unit="image",
    aggregate=None,
    origin=Origin(kind="own", description="", registers=()),
)


def sample_of(rng, patients, strength, labels=("A", "B")):
    """Two images a patient, a third of them positive; scores are further apart by `strength`."""
    names = np.repeat([f"p{number}" for number in range(patients)], 2)
    targets = np.repeat(rng.random((patients, len(labels))) < 1 / 3, 2, axis=0)
    scores = strength * targets + rng.normal(size=targets.shape)
    return Sample(
        labels=labels,
        keys=np.array([f"{number}.png" for number in range(len(names))]),
        patients=names,
        studies=names,
        targets=targets,
        mask=np.ones(targets.shape, bool),
        scores=scores,
    )


def scored(sample, replicates=200, seed=1):
    return score_sample(sample, ABOUT, replicates=replicates, seed=seed)


def test_a_difference_is_there_less_here_and_its_interval_is_of_both():
    rng = np.random.default_rng(0)
    here, there = scored(sample_of(rng, 150, 2.0)), scored(sample_of(rng, 100, 0.0))
    found = differences(here, there)
    assert found.defined == 2
    for label, apart in found.labels.items():
        own, other = here.result.labels[label].auroc, there.result.labels[label].auroc
        assert (apart.internal, apart.external) == (own, other)
        assert apart.difference.value == pytest.approx(other.value - own.value)
        low, high = apart.difference.interval
        assert low < apart.difference.value < high < 0
        # The variances of independent ones add up.
        widths = [end[1] - end[0] for end in (own.interval, other.interval)]
        assert high - low == pytest.approx(np.hypot(*widths), rel=0.25)
    mean = found.mean
    assert mean.difference.value == pytest.approx(
        np.mean([apart.difference.value for apart in found.labels.values()])
    )
    assert mean.internal == here.result.mean_auroc
    assert mean.external == there.result.mean_auroc


def test_a_copy_of_the_same_sample_is_as_uncertain_as_another_one():
    """Draws of the same places in both would leave no difference at all, and no interval."""
    sample = sample_of(np.random.default_rng(3), 120, 1.0)
    apart = differences(scored(sample), scored(sample)).labels["A"]
    own = apart.internal.interval
    low, high = apart.difference.interval
    assert apart.difference.value == 0
    assert high - low == pytest.approx(2**0.5 * (own[1] - own[0]), rel=0.25)


def test_nominal_intervals_hold_the_true_difference_about_as_often():
    rng, held = np.random.default_rng(5), 0
    for _ in range(100):
        here, there = sample_of(rng, 60, 1.0, ("A",)), sample_of(rng, 50, 1.0, ("A",))
        one = differences(scored(here, 100), scored(there, 100)).labels["A"].difference
        held += one.interval[0] <= 0 <= one.interval[1]
    assert held >= 88


def test_labels_that_one_side_lacks_or_cannot_judge_are_undefined():
    rng = np.random.default_rng(7)
    here = sample_of(rng, 80, 1.0, ("A", "B", "C"))
    there = sample_of(rng, 80, 1.0, ("C", "A"))
    there.targets[:, 0] = False
    found = differences(scored(here), scored(there))
    assert list(found.labels) == ["C", "A"]
    assert found.labels["C"].difference.value is None
    assert found.labels["C"].internal.value is not None
    assert found.defined == 1
    assert found.mean.difference.value == found.labels["A"].difference.value


def test_without_draws_there_are_no_intervals_and_without_labels_no_mean():
    rng = np.random.default_rng(9)
    here, there = sample_of(rng, 30, 1.0), sample_of(rng, 30, 1.0)
    found = differences(scored(here, 0), scored(there, 0))
    assert found.labels["A"].difference.value is not None
    assert found.labels["A"].difference.interval is None
    there.targets[:] = True
    found = differences(scored(here), scored(there))
    assert (found.defined, found.mean.difference.value) == (0, None)
