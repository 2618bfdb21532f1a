import numpy as np

from cxrtool.data.logits import probabilities_of
from cxrtool.evaluation.sample import Sample

QUICK = {"device": "cpu", "precision": "fp32", "workers": 0, "bootstrap": 100, "report": False}


def sample_of(logits, targets, patients=None, *, known=True):
    rows = len(logits)
    logits, targets = np.asarray(logits, float), np.asarray(targets, bool)
    labels = tuple(f"label {number}" for number in range(logits.shape[1]))
    return Sample(
        labels=labels,
        keys=np.arange(rows).astype(str),
        patients=np.arange(rows).astype(str) if patients is None else np.asarray(patients, str),
        studies=np.full(rows, "study1"),
        targets=targets,
        mask=np.ones_like(targets),
        scores=probabilities_of(logits),
        logits=logits if known else None,
    )
