"""Scores whose calibration is known."""

import numpy as np
from scipy.special import expit
from scipy.special import logit as scipy_logit

SHAPES = {  # images, slope and intercept of the truth in the score's logit, distinct scores
    "too sure": (3000, 0.4, -0.3, None),
    "not sure enough": (3000, 3.0, 0.5, None),
    "too high": (3000, 1.0, -2.0, None),
    "right": (3000, 1.0, 0.0, None),
    "tied": (3000, 0.6, 0.3, 12),
    "few": (400, 0.7, 0.0, None),
}


def draw(shape, seed=0, dtype=np.float32):
    """Targets and scores whose logit is off by a slope and an intercept."""
    n, slope, intercept, distinct = SHAPES[shape]
    rng = np.random.default_rng([seed, n])
    logit = rng.normal(-0.5, 1.5, n)
    y_true = (rng.random(n) < expit(slope * logit + intercept)).astype(float)
    y_score = expit(logit).astype(dtype)
    if distinct:
        y_score = (np.floor(y_score * distinct) / distinct).astype(dtype)
        logit = scipy_logit(y_score)
    return y_true, y_score
