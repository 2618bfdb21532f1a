"""scikit-learn's counts of the four outcomes at a threshold, and their rates."""

from types import SimpleNamespace

import numpy as np
from sklearn.metrics import confusion_matrix


def confusion_at(y_true, y_score, threshold, mask=None):
    """Counts where a score at or over the threshold is positive, of both classes."""
    kept = np.ones(len(y_true), bool) if mask is None else mask
    called = np.asarray(y_score, np.float64)[kept] >= threshold
    tn, fp, fn, tp = confusion_matrix(np.asarray(y_true)[kept], called, labels=[0, 1]).ravel()
    tn, fp, fn, tp = map(int, (tn, fp, fn, tp))
    return SimpleNamespace(
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
        sensitivity=tp / (tp + fn) if tp + fn else np.nan,
        specificity=tn / (tn + fp) if tn + fp else np.nan,
        f1=2 * tp / (2 * tp + fp + fn),
    )
