"""Net benefit is dcurves' own, at each threshold of each of some drawn labels.

pip install dcurves==1.1.7  # in an environment of its own: it asks for pandas below 3
python tests/benchmarks/bench_dcurves.py

Printed: for each prevalence, the greatest difference of the model's net benefit and of treating
all from dcurves', over rows of which some share a score with a threshold.
"""

import numpy as np
import pandas as pd
from dcurves import dca
from scipy.special import expit

from cxrtool.evaluation.net_benefit import decision_curve

ROWS = 5_000


def drawn(level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities, which are rounded so that many rows share one."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(level, 1.5, ROWS)
    return rng.random(ROWS) < expit(logit), expit(logit).round(3)


def main() -> None:
    """Compare and print."""
    print("prevalence  thresholds  model    treat all")
    for seed, level in enumerate((-5.0, -3.0, -1.0, 1.0)):
        y_true, y_score = drawn(level, seed)
        thresholds = np.unique(y_score)[:: max(1, len(np.unique(y_score)) // 60)]
        thresholds = thresholds[(thresholds > 0) & (thresholds < 1)]
        found = decision_curve(y_true, y_score, thresholds=thresholds, level=None)
        frame = pd.DataFrame({"found": y_true.astype(int), "model": y_score})
        theirs = dca(data=frame, outcome="found", modelnames=["model"], thresholds=thresholds)
        gaps = [
            np.abs(theirs[theirs["model"] == name]["net_benefit"].to_numpy() - ours).max()
            for name, ours in (("model", found.net_benefit), ("all", found.treat_all))
        ]
        print(f"{y_true.mean():10.3f}  {len(thresholds):10}  {gaps[0]:.1e}  {gaps[1]:.1e}")


if __name__ == "__main__":
    main()
