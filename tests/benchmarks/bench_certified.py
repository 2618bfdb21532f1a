"""How often a certified threshold breaks its promise, and what it costs.

    python -m tests.benchmarks.bench_certified [DRAWS]

Patients have one to five images that are alike: normal scores of which seven tenths of the variance
are the patient's, of positives 1.5 higher. A promise is broken where the true value, known exactly
of such scores, lies below what was promised; at 95 % confidence that may happen in 5 % of samples.
Beside a certified sensitivity stands the rule `sensitivity=0.9`, which promises nothing.
"""

import sys
import time

import numpy as np
from scipy.stats import norm

from cxrtool.evaluation.certificates import LabelRows, certify
from cxrtool.evaluation.families import Promise, step_down
from cxrtool.evaluation.thresholds import Rule, threshold_for

SHIFT, SHARED, MOST_IMAGES = 1.5, 0.7, 5


def sample(rng: np.random.Generator, positive: np.ndarray) -> LabelRows:
    """The images of such patients."""
    patient = np.repeat(np.arange(len(positive)), rng.integers(1, MOST_IMAGES + 1, len(positive)))
    own, image = rng.normal(size=len(positive)), rng.normal(size=len(patient))
    score = np.sqrt(SHARED) * own[patient] + np.sqrt(1 - SHARED) * image
    return LabelRows(positive[patient], score + SHIFT * positive[patient], patient)


def sensitivities(draws: int, rng: np.random.Generator) -> None:
    """Of so many positive patients, the certified sensitivity beside today's rule."""
    print("| positive patients | certified: short | specificity | sensitivity=0.9: short | spec. |")
    for patients in (30, 68, 100, 500):
        found = np.empty((draws, 2))
        everybody = np.ones(patients, bool)
        for row in found:
            rows = sample(rng, everybody)
            scores = np.append(rows.score, -99.0), np.append(rows.positive, False)
            row[0] = certify("sensitivity", 0.9, 0.05, rows).threshold
            row[1] = threshold_for(Rule("sensitivity", 0.9), scores[1], scores[0])
        short = (norm.sf(found - SHIFT) < 0.9).mean(axis=0)
        paid = norm.cdf(found).mean(axis=0)
        print(
            f"| {patients} | {short[0]:.1%} | {paid[0]:.3f} | {short[1]:.1%} | {paid[1]:.3f} |",
            flush=True,
        )


def predictive(draws: int, rng: np.random.Generator) -> None:
    """PPV and NPV of so many patients: how often broken, given, and how many are called."""
    print("| promise | patients | prevalence | short | threshold given | called |")
    for quantity, share, patients, prevalence in (
        ("ppv", 0.5, 400, 0.2),
        ("ppv", 0.8, 300, 0.3),
        ("npv", 0.95, 400, 0.2),
        ("npv", 0.98, 2000, 0.05),
    ):
        thresholds = np.array(
            [
                certify(
                    quantity, share, 0.05, sample(rng, rng.random(patients) < prevalence)
                ).threshold
                for _ in range(draws)
            ]
        )
        tail = norm.sf if quantity == "ppv" else norm.cdf
        ill, well = prevalence * tail(thresholds - SHIFT), (1 - prevalence) * tail(thresholds)
        true = (ill if quantity == "ppv" else well) / (ill + well)
        called = np.nan_to_num(ill + well).mean()
        given = np.isfinite(thresholds).mean()
        print(
            f"| {quantity} {share} | {patients} | {prevalence} | {(true < share).mean():.1%} | "
            f"{given:.0%} | {called:.1%} |",
            flush=True,
        )


def families(draws: int, rng: np.random.Generator) -> None:
    """Of 14 labels with 60 to 190 positive patients, how often any sensitivity is short."""
    rule, broken = Rule("certified-sensitivity", 0.9), np.zeros(2)
    for _ in range(draws):
        each = [Promise(rule, sample(rng, np.ones(60 + 10 * at, bool))) for at in range(14)]
        for at, found in enumerate(([one.at(0.05) for one in each], step_down(each, 0.05))):
            broken[at] += any(norm.sf(one.threshold - SHIFT) < 0.9 for one in found)
    alone, together = broken / draws
    print(f"any of 14 labels short: {alone:.1%} each by itself, {together:.1%} with --family holm")


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    began = time.process_time()
    sensitivities(draws, np.random.default_rng(1))
    predictive(draws, np.random.default_rng(2))
    families(draws // 4, np.random.default_rng(3))
    print(f"{draws:,} draws; {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
