"""Scores with their truth, as hard for a metric as one likes."""

import numpy as np


def labelled_scores(shape, seed):
    """Targets (NaN where missing), float32 scores (wild where missing), mask; both classes.

    `shape`: images, prevalence, distinct scores (None: no ties), share without a label.
    """
    n, prevalence, distinct, missing = shape
    rng = np.random.default_rng([seed, n])
    y_true = (rng.random(n) < prevalence).astype(float)
    y_score = rng.normal(y_true, 1.5)
    if distinct:
        y_score = np.round(rng.random(n) * (distinct - 1) * 0.7 + 0.3 * y_true * (distinct - 1))
    mask = rng.random(n) >= missing
    y_true[:2], mask[:2] = (0, 1), True
    y_true[~mask] = np.nan
    y_score[~mask] = rng.choice([np.nan, np.inf, -1e9], np.sum(~mask))
    return y_true, y_score.astype(np.float32), mask
