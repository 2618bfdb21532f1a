"""Time the bootstrap of the AUROC at CheXpert's size: `python tests/benchmarks/bench_metrics.py`.

22,000 images of about 7,500 patients, 14 labels, 1,000 replicates; scikit-learn in a loop on a
few replicates, scaled up. The replicates of both must agree.
"""

import argparse
import resource
import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from cxrtool.metrics import bootstrap_auroc, percentile_interval

IMAGES, PATIENTS, LABELS = 22_000, 7_500, 14


def draw_data(seed):
    rng = np.random.default_rng(seed)
    prevalence = np.linspace(0.02, 0.6, LABELS)
    targets = rng.random((IMAGES, LABELS)) < prevalence
    scores = 1 / (1 + np.exp(-rng.normal(targets, 1.0)))
    mask = rng.random((IMAGES, LABELS)) < 0.95
    groups = rng.integers(0, PATIENTS, IMAGES)
    return targets, scores.astype(np.float32), mask, groups


def loop_over_replicates(targets, scores, mask, groups, replicates, seed):
    rng = np.random.default_rng(seed)
    patients, patient_of = np.unique(groups, return_inverse=True)
    out = np.empty((replicates, LABELS))
    for row in out:
        drawn = rng.integers(0, len(patients), len(patients))
        weight = np.bincount(drawn, minlength=len(patients))[patient_of]
        for label in range(LABELS):
            kept = mask[:, label] & (weight > 0)
            row[label] = roc_auc_score(
                targets[kept, label], scores[kept, label], sample_weight=weight[kept]
            )
    return out


def peak_mib():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--few", type=int, default=20, help="replicates for scikit-learn")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many counts")
    args = parser.parse_args()
    data = draw_data(seed=0)
    before, seconds = peak_mib(), []
    for _ in range(args.repeats):
        start = time.perf_counter()
        found = bootstrap_auroc(*data, replicates=args.replicates, seed=42)
        seconds.append(time.perf_counter() - start)
    ours, after = min(seconds), peak_mib()
    start = time.perf_counter()
    reference = loop_over_replicates(*data, args.few, seed=42)
    theirs = (time.perf_counter() - start) / args.few * args.replicates
    apart = np.abs(found[: args.few] - reference).max()
    width = np.diff(percentile_interval(found)).ravel()
    print(f"images {IMAGES:,}  patients {PATIENTS:,}  labels {LABELS}  reps {args.replicates:,}")
    print(f"bootstrap_auroc          {ours:8.2f} s   best of {args.repeats}")
    print(f"scikit-learn in a loop   {theirs:8.1f} s   scaled up from {args.few} replicates")
    print(f"ratio                    {theirs / ours:8.0f} x")
    print(f"peak memory              {after:8.0f} MiB ({after - before:.0f} above the start)")
    print(f"largest difference       {apart:8.1e}")
    print(f"width of the intervals   {width.min():8.4f} to {width.max():.4f}")


if __name__ == "__main__":
    main()
