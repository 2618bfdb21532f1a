"""How often a gap is stated where there is none: `python tests/benchmarks/bench_alarms.py`.

Evaluations of a model that serves all groups alike: six labels that go together, patients with one
to five alike images, groups of sex, age and view (tests/support/alarms.py). A false alarm is an
evaluation that states any gap at all, of AUROC, TPR or FPR; beside it, how often the largest gap of
AUROC has an interval of its own that is clear of 0, as version 0.1 had it.
"""

import argparse

import numpy as np

from cxrtool.evaluation.bootstrap import draw_patients
from tests.support.alarms import draw_evaluation, largest_is_clear, states_gap


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--patients", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, said, before = np.random.default_rng(args.seed), [], []
    for number in range(args.evaluations):
        sample = draw_evaluation(rng, args.patients)
        draws = draw_patients(sample.patients, replicates=args.replicates, seed=number)
        said.append(states_gap(sample, draws))
        if number % 10 == 0:
            before.append(largest_is_clear(sample, draws))
        if (number + 1) % 100 == 0 or number + 1 == args.evaluations:
            print(
                f"{number + 1:5} evaluations of {args.patients} patients: a gap is stated in "
                f"{100 * np.mean(said):.1f} %; by the largest gap's own interval in "
                f"{100 * np.mean(before):.0f} % (of {len(before)})",
                flush=True,
            )


if __name__ == "__main__":
    main()
