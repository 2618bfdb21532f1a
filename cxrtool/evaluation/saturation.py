"""Labels whose scores are no scale: all the same, decisions in place of scores, or saturated.

A threshold between such scores does not exist, and a rank among them says little.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from cxrtool.core.errors import grouped
from cxrtool.data.logits import logits_of

SURE = 24 * np.log(2)
"""Log odds beyond which float32 cannot tell a probability from 1, or what is left of it from 0."""
MOST_SURE = 0.5
"""The share of images beyond them from which on a label is saturated."""
EQUAL = "all its scores are equal"
DECISIONS = "its scores are only 0 and 1, decisions and no scores"


def collapse_of(scores: ArrayLike, logits: ArrayLike | None = None) -> str:
    """Why the scores of some images are no scale, in words; empty where they are one.

    Args:
        scores: (n,) of one label, of the images that count.
        logits: (n,) of the same, where scores are their probabilities and they are known.

    >>> collapse_of([0.2, 0.2]), collapse_of([0, 1, 1]), collapse_of([0.1, 0.7])
    ('all its scores are equal', 'its scores are only 0 and 1, decisions and no scores', '')
    """
    values = np.asarray(scores, np.float64)
    ranked = values if logits is None else np.asarray(logits, np.float64)
    if len(values) < 2:
        return ""
    if (ranked == ranked[0]).all():
        return EQUAL
    if values.min() < 0 or values.max() > 1:
        return ""
    if logits is None and np.isin(values, (0, 1)).all():
        return DECISIONS
    odds = logits_of(values) if logits is None else ranked
    sure = int(np.sum(np.abs(odds) >= SURE))
    return saturated(sure, len(values)) if sure >= MOST_SURE * len(values) else ""


def saturated(sure: int, images: int) -> str:
    """What is said of a label that is saturated."""
    return f"it is saturated: {sure:,} of {images:,} probabilities are all but 0 or 1"


def collapse_warnings(reasons: Mapping[str, str]) -> list[str]:
    """A warning for each kind of reason that `collapse_of` gives of labels."""
    known = {label: reason for label, reason in reasons.items() if reason}
    by_kind = grouped((why if why in _WARNINGS else "", label) for label, why in known.items())
    return [f"{', '.join(labels)}: {_WARNINGS[kind]}" for kind, labels in by_kind.items()]


_WARNINGS = {
    EQUAL: "all scores are equal, so that they rank nothing and no threshold lies among them",
    DECISIONS: "scores are only 0 and 1: decisions, whose AUROC is that of one operating point",
    "": "saturated: most probabilities are all but 0 or 1, and no threshold lies between them",
}
"""Of each kind; of what is saturated the number of images is left out."""


class Collapses:
    """Finds labels whose scores are no scale while rows go by, keeping none of them."""

    def __init__(self, labels: int) -> None:
        self.images = 0
        self._low, self._high = np.full(labels, np.inf), np.full(labels, -np.inf)
        self._sure = np.zeros(labels, np.int64)

    def add(self, logits: ArrayLike) -> None:
        """One image's logits: (labels,)."""
        values = np.asarray(logits, np.float64)
        self.images += 1
        np.minimum(self._low, values, out=self._low)
        np.maximum(self._high, values, out=self._high)
        self._sure += np.abs(values) >= SURE

    def found(self, least: int) -> list[str]:
        """Of each label, what `collapse_of` says; nothing of fewer than `least` images."""
        if self.images < max(least, 2):
            return [""] * len(self._sure)
        return [
            EQUAL
            if low == high
            else saturated(int(sure), self.images)
            if sure >= MOST_SURE * self.images
            else ""
            for low, high, sure in zip(self._low, self._high, self._sure, strict=True)
        ]
