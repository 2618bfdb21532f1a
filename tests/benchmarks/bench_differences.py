"""Type-I error of two equal models' difference: `python tests/benchmarks/bench_differences.py`.

Two models whose scores are alike and equally good: how often the difference of their AUROCs is
found at 5 %, on one label without adjusting, by the draws of patients and by DeLong's test over
patients; beside them DeLong's test that takes images to be independent, and how often any of 14
labels differs, by intervals of single labels and by those that hold together.
"""

import argparse
from dataclasses import replace

import numpy as np

from cxrtool.evaluation.bootstrap import draw_patients
from cxrtool.evaluation.comparison import paired_differences
from cxrtool.evaluation.delong import delong_difference
from cxrtool.evaluation.sample import Sample

ALIKE = 0.6
"""Which share of a score's variance is its patient's."""
SHARED = 0.8
"""Which share of it is that of both models."""
LABELS = tuple(f"label {number:02}" for number in range(14))
SETTINGS = ((100, 400, 1.5, 1), (50, 450, 1.5, 5), (30, 300, 1.0, 5), (50, 300, 2.5, 5))
"""Positive patients, negative ones, how far their scores are apart, most images of a patient."""


def errors(rng, images):
    """What scores of 14 labels err by: (rows, 14)."""
    patients = np.repeat(rng.normal(size=(len(images), len(LABELS))), images, axis=0)
    return np.sqrt(ALIKE) * patients + np.sqrt(1 - ALIKE) * rng.normal(size=patients.shape)


def two_models(rng, positives, negatives, apart, most):
    """Two samples of the same patients."""
    images = rng.integers(1, most + 1, positives + negatives)
    patients = np.repeat(np.arange(len(images)), images)
    truth = np.repeat((patients < positives)[:, None], len(LABELS), axis=1)
    both = apart * truth + np.sqrt(SHARED) * errors(rng, images)
    one, other = (both + np.sqrt(1 - SHARED) * errors(rng, images) for _ in range(2))
    sample = Sample(
        labels=LABELS,
        keys=np.arange(len(patients)).astype(str),
        patients=patients,
        studies=np.full(len(patients), ""),
        targets=truth,
        mask=np.ones(truth.shape, bool),
        scores=one,
    )
    return sample, replace(sample, scores=other)


def found_different(rng, setting, replicates, seed):
    """Of each label, which tests find a difference; and whether any label differs."""
    one, other = two_models(rng, *setting)
    draws = draw_patients(one.patients, replicates=replicates, seed=seed)
    labels = paired_differences(one, other, draws, ("one", "other")).labels.values()
    rows = np.arange(len(one.keys))
    plain = [
        delong_difference(truth, scores, rows).p
        for truth, *scores in zip(one.targets.T, one.scores.T, other.scores.T, strict=True)
    ]
    single = [[of.auroc_p, of.delong.p, p] for of, p in zip(labels, plain, strict=True)]
    clear = [of.auroc_adjusted[0] > 0 or of.auroc_adjusted[1] < 0 for of in labels]
    by_itself = [of.auroc_p < 0.05 for of in labels]
    return np.array(single) < 0.05, (any(by_itself), any(clear))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=2000, help="of one label each")
    parser.add_argument("--replicates", type=int, default=200)
    args = parser.parse_args()
    print("patients (positive + negative), most images: a difference of equal models is found")
    for setting in SETTINGS:
        rng, single, families = np.random.default_rng(setting[:2]), [], []
        for seed in range(-(-args.comparisons // len(LABELS))):
            of_labels, of_any = found_different(rng, setting, args.replicates, seed)
            single.extend(of_labels)
            families.append(of_any)
        draws, delong, images = 100 * np.mean(single, axis=0)
        alone, together = 100 * np.mean(families, axis=0)
        print(
            f"{setting[0]:4} + {setting[1]:4}, {setting[3]}: draws {draws:.1f} %   DeLong "
            f"{delong:.1f} %   DeLong over images {images:.1f} %   any of 14 labels {alone:.0f} %, "
            f"adjusted {together:.1f} % (of {len(families)})",
            flush=True,
        )


if __name__ == "__main__":
    main()
