"""How often 95 % intervals hold the true AUROC: `python tests/benchmarks/bench_coverage.py`.

Simulated patients with one to five alike images each, some of them positive; the true AUROC is
known. Beside cxrtool's interval over patients stand the plain percentiles of the same replicates,
and cxrtool's interval with images drawn in place of patients.
"""

import argparse

import numpy as np
from scipy.stats import norm

from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.intervals import area_interval
from cxrtool.evaluation.metrics import auroc

ALIKE = 0.6
"""Which share of a score's variance is its patient's."""
SETTINGS = ((50, 150, 1.5), (50, 450, 1.5), (50, 300, 2.5), (100, 400, 0.5), (200, 800, 1.5))
"""Positive patients, negative ones, and how far their scores are apart."""


def simulate(rng, positives, negatives, apart, seed, replicates):
    """Whether each kind of interval holds the true value in one simulation."""
    count = positives + negatives
    images = rng.integers(1, 6, count)
    truth = np.repeat(np.arange(count) < positives, images)
    patients = np.repeat(np.arange(count), images)
    score = apart * truth + np.sqrt(ALIKE) * np.repeat(rng.normal(size=count), images)
    score += np.sqrt(1 - ALIKE) * rng.normal(size=len(truth))
    true, area = norm.cdf(apart / np.sqrt(2)), auroc(truth, score)
    columns = truth[:, None], score[:, None], np.ones((len(truth), 1), bool)
    held = []
    for groups, few in ((patients, positives), (np.arange(len(truth)), truth.sum())):
        draws = draw_patients(groups, replicates=replicates, seed=seed)
        drawn = bootstrap_rankings(*columns, draws).auroc
        low, high = area_interval(drawn, [area], [few - 1])[0]
        held.append(low <= true <= high)
        plain = np.quantile(drawn, [0.025, 0.975])
        held.append(plain[0] <= true <= plain[1])
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=1000)
    args = parser.parse_args()
    print("patients (positive + negative), true AUROC: intervals that hold it")
    for positives, negatives, apart in SETTINGS:
        rng = np.random.default_rng(positives + negatives)
        held = [
            simulate(rng, positives, negatives, apart, number, args.replicates)
            for number in range(args.simulations)
        ]
        ours, percentiles, images, _ = 100 * np.mean(held, axis=0)
        true = norm.cdf(apart / np.sqrt(2))
        print(
            f"{positives:4} + {negatives:4}, {true:.3f}: {ours:.1f} %   plain percentiles "
            f"{percentiles:.1f} %   images drawn {images:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
