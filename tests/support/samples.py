"""Samples of five labels, drawn: one has no positive, one has few."""

import numpy as np

from cxrtool.evaluation.sample import Sample

LABELS = ("Edema", "Cardiomegaly", "Fracture", "Nothing", "Pneumonia")
THRESHOLDS = np.array([0.5, 0.6, 0.4, np.nan, 0.55])


def draw_sample(seed, n=240, patients=90, shift=0.0):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    targets = rng.random((n, 5)) < [0.4, 0.3, 0.05, 0.0, 0.5]
    targets[0, 2] = True
    logits = rng.normal(targets * 1.2 + shift, 1.0)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32).astype(float)
    sex = np.where(rng.random(n) < 0.5, "Female", "Male")
    return Sample(
        labels=LABELS,
        keys=np.array([f"{number:04d}.jpg" for number in range(n)]),
        patients=np.array([f"patient{number:05d}" for number in patient]),
        studies=np.array([f"study{number % 3}" for number in range(n)]),
        targets=targets,
        mask=rng.random((n, 5)) < [1, 0.8, 1, 1, 0.9],
        scores=scores,
        groups={"sex": sex},
    )
