"""Evaluations of a model that serves all groups alike: what is said of gaps is a false alarm."""

import numpy as np

from cxrtool.evaluation.bootstrap import bootstrap_rankings
from cxrtool.evaluation.intervals import LEAST_PATIENTS, bootstrap_interval
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.subgroups import assess_groups

LABELS = tuple("ABCDEF")
PREVALENCES = np.array([0.12, 0.2, 0.3, 0.4, 0.25, 0.15])


def draw_evaluation(rng, patients):
    """Patients with one to five alike images, labels and scores that go together, no gap at all."""
    count = len(LABELS)
    images = rng.integers(1, 6, patients)
    patient = np.repeat(np.arange(patients), images)
    n = len(patient)
    # Half of what makes a patient ill is common to all labels, and half of what a score errs by.
    illness = np.sqrt(0.5) * (rng.normal(size=(patients, 1)) + rng.normal(size=(patients, count)))
    cuts = np.quantile(illness, 1 - PREVALENCES, axis=0).diagonal()
    targets = (illness > cuts)[patient]
    common = rng.normal(size=(n, 1)), rng.normal(size=(patients, 1))[patient]
    own = rng.normal(size=(n, count)), rng.normal(size=(patients, count))[patient]
    scores = 1.8 * targets + 0.5 * sum(common) + 0.5 * sum(own)
    age = np.array(["20-39", "40-59", "60-79"])[rng.integers(0, 3, patients)][patient]
    view = np.array(["frontal AP", "frontal PA", "lateral"])[rng.integers(0, 3, n)]
    return Sample(
        labels=LABELS,
        keys=np.arange(n).astype(str),
        patients=patient,  # numbers sort faster than names
        studies=np.full(n, ""),
        targets=targets,
        mask=np.ones((n, count), bool),
        scores=scores,
        groups={
            "sex": np.array(["Female", "Male"])[rng.integers(0, 2, patients)][patient],
            "age": age,
            "view": view,
        },
    )


def states_gap(sample, draws):
    """Whether the evaluation of a sample states any gap."""
    found = assess_groups(sample, np.full(len(LABELS), 1.0), draws)
    return any(of.clear for of in found.values())


def largest_is_clear(sample, draws):
    """Whether the largest gap of any label, chosen after looking, has a clear interval of its own.

    As version 0.1 had it: the highest less the lowest group, each label by itself.
    """
    found = assess_groups(sample, np.full(len(LABELS), 1.0), None)
    for column, of in found.items():
        for at, label in enumerate(LABELS):
            gap = of.gaps[label].auroc
            if gap is None:
                continue
            masks = [
                sample.mask & (sample.groups[column] == name)[:, None]
                for name in (gap.highest, gap.lowest)
            ]
            high, low = (
                bootstrap_rankings(
                    sample.targets[:, [at]], sample.scores[:, [at]], mask[:, [at]], draws
                ).auroc
                for mask in masks
            )
            if bootstrap_interval(high - low, [gap.gap], [LEAST_PATIENTS * 3])[0][0] > 0:
                return True
    return False
