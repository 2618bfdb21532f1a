"""Searches whose trials are not trained, and tables of predictions."""

import numpy as np
import pandas as pd
import pytest

from cxrtool.data.labels import CHEXPERT_LABELS
from tests.support.evaluating_tables import FIVE
from tests.support.searching import pretended, undrawn

__all__ = ("pretended", "undrawn")


PARTS = range(64_741, 64_861)


@pytest.fixture
def tables(tmp_path):
    """CheXpert's test labels in their form, and two models' predictions of five of them."""
    rng = np.random.default_rng(0)
    studies = [f"CheXpert-v1.0/test/patient{number}/study1" for number in PARTS]
    truth = pd.DataFrame(rng.integers(0, 2, (120, 14)), columns=list(CHEXPERT_LABELS))
    truth.insert(0, "Study", studies)
    (tmp_path / "groundtruth.csv").write_text(truth.to_csv(index=False).rstrip("\n"))
    for name, noise in (("a", 1.0), ("b", 3.0)):
        logits = truth[FIVE].to_numpy() + rng.normal(0, noise, (120, 5))
        scores = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=FIVE)
        scores.insert(0, "Study", studies)
        scores.sample(frac=1, random_state=1).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path
