"""Time the bootstrap of AUROC and AUPRC at CheXpert's size against scikit-learn in a loop.

Then calibration (intercept, slope, curve) and net benefit of the same, with their intervals.

python tests/benchmarks/bench_metrics.py

22,000 images of about 7,500 patients, 14 labels, 1,000 replicates; scikit-learn on a few
replicates, scaled up. Each replicate of both must agree.
"""

import argparse
import resource
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrtool.evaluation.bootstrap import bootstrap_rankings, draw_patients
from cxrtool.evaluation.calibration_measures import measure_calibration
from cxrtool.evaluation.net_benefit import decision_curve

IMAGES, PATIENTS, LABELS = 22_000, 7_500, 14


def draw_data(seed):
    rng = np.random.default_rng(seed)
    prevalence = np.linspace(0.02, 0.6, LABELS)
    targets = rng.random((IMAGES, LABELS)) < prevalence
    scores = 1 / (1 + np.exp(-rng.normal(targets, 1.0)))
    mask = rng.random((IMAGES, LABELS)) < 0.95
    groups = rng.integers(0, PATIENTS, IMAGES)
    return targets, scores.astype(np.float32), mask, groups


def loop_over_replicates(score, targets, scores, mask, draws, replicates):
    out = np.empty((replicates, LABELS))
    for row, drawn in zip(out, draws.weights(0, replicates), strict=True):
        weight = drawn[draws.patient_of]
        for label in range(LABELS):
            kept = mask[:, label] & (weight > 0)
            row[label] = score(
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
    targets, scores, mask, groups = draw_data(seed=0)
    before, seconds = peak_mib(), []
    for _ in range(args.repeats):
        start = time.perf_counter()
        draws = draw_patients(groups, replicates=args.replicates)
        found = bootstrap_rankings(targets, scores, mask, draws)
        seconds.append(time.perf_counter() - start)
    ours, after = float(np.median(seconds)), peak_mib()
    print(f"images {IMAGES:,}  patients {PATIENTS:,}  labels {LABELS}  reps {args.replicates:,}")
    print(f"AUROC and AUPRC together    {ours:8.2f} s   median of {args.repeats}")
    print(f"peak memory                 {after:8.0f} MiB ({after - before:.0f} above the start)")
    start = time.process_time()
    for at in range(LABELS):
        of_label = targets[:, at], scores[:, at], mask[:, at], draws.patient_of
        measure_calibration(*of_label)
        decision_curve(*of_label)
    print(f"calibration and net benefit {time.process_time() - start:8.2f} s of one core")
    for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        start = time.perf_counter()
        reference = loop_over_replicates(score, targets, scores, mask, draws, args.few)
        theirs = (time.perf_counter() - start) / args.few * args.replicates
        apart = np.abs(getattr(found, name)[: args.few] - reference).max()
        print(
            f"scikit-learn, {name} alone   {theirs:8.1f} s   scaled up from {args.few} replicates; "
            f"{theirs / ours:.0f} times ours for both; largest difference {apart:.1e}"
        )


if __name__ == "__main__":
    main()
