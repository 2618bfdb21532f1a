"""Weighted sampling: how often each image is drawn, and what that makes of each label's share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.data.labels import majority

OFTEN = 10.0
"""An image that is expected more often in an epoch is worth a word,"""
MUCH = 0.05
"""if it is also so large a share of all that is drawn."""


def sample_weights(targets: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How likely each training sample is to be drawn, relative to the others.

    A class weighs 1 / (its number of positives), a sample the sum over its positive classes, and
    a sample without a positive as much as the most frequent class: never 0.

    Args:
        targets: (n, labels) in 0..1; which of them are positive, `majority` says.
        mask: (n, labels); a masked target counts as no positive.

    Returns:
        (n,) weights above 0; all equal if there is no positive at all.
    """
    positive = majority(targets)[0] & mask
    counts = positive.sum(axis=0)
    class_weights = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    if not class_weights.any():
        return np.ones(len(targets))
    weights: NDArray[np.float64] = positive @ class_weights
    weights[~positive.any(axis=1)] = class_weights[class_weights > 0].min()
    return weights


def capped(weights: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """Weights under which no image is expected more than `cap` times in an epoch.

    An epoch draws as many images as there are, with replacement, so an image of weight w is
    expected n w / sum(w) times. Those over the cap get it exactly, and all others keep their
    weights relative to each other.

    Args:
        weights: (n,) above 0.
        cap: 1 or more; at 1 all images are drawn alike.

    Returns:
        (n,) weights above 0; the same ones where none is over the cap.
    """
    n = len(weights)
    falling = np.sort(weights)[::-1]
    rest = falling[::-1].cumsum()[::-1]  # the sum of a weight and all that are not above it
    for over in range(n):
        # With so many at the cap, the others share what they leave of an epoch.
        factor = (n - over * cap) / rest[over]
        if falling[over] * factor <= cap * (1 + 1e-12):
            return weights if over == 0 else np.minimum(weights, cap / factor)
    return np.ones(n)


@dataclass(frozen=True)
class Sampling:
    """What a training draws, as it is expected of its weights."""

    weights: NDArray[np.float64] | None
    """(n,) above 0; None: each image once an epoch."""
    labels: tuple[str, ...]
    shares: NDArray[np.float64]
    """(labels,) the share of positives among the images in which a label counts."""
    drawn: NDArray[np.float64]
    """(labels,) the same of what is drawn: what the network learns as the label's prevalence."""
    most: int
    """The row of the image that is drawn most often."""
    times: float
    """How often, in an epoch."""
    images: int
    cap: float | None = None
    at_cap: int = 0
    """How many images the cap holds back."""

    @property
    def changes(self) -> bool:
        """Whether any image is drawn more often than another."""
        return self.times > 1 + 1e-9

    @property
    def dominant(self) -> bool:
        """Whether one image is so large a share of an epoch that it is worth a word."""
        return self.times >= OFTEN and self.times >= MUCH * self.images

    def as_json(self, paths: Sequence[str]) -> dict[str, Any]:
        """What is drawn, for `--json`; `paths` are those of the training rows."""
        return {
            "changes": self.changes,
            "cap": self.cap,
            "images_at_cap": self.at_cap,
            "most_drawn": {"path": paths[self.most], "times_an_epoch": self.times},
            "labels": {
                label: {"share": float(share), "drawn": float(drawn)}
                for label, share, drawn in zip(self.labels, self.shares, self.drawn, strict=True)
            },
        }


def plan_sampling(
    targets: NDArray[np.float32],
    labels: Sequence[str],
    *,
    weighted: bool,
    cap: float | None = None,
) -> Sampling:
    """What weighted or uniform sampling draws of the training images.

    Args:
        targets: (n, labels) in 0..1, NaN where masked; which are positive, `majority` says.
        labels: their names.
        weighted: by `sample_weights`; otherwise each image once.
        cap: how often an image is drawn in an epoch at most, as it is expected.
    """
    n = len(targets)
    weights, at_cap = None, 0
    if weighted:
        weights = own = sample_weights(targets, ~np.isnan(targets))
        if cap is not None:
            weights = capped(own, cap)
            at_cap = int((weights < own).sum())
    expected = np.ones(n) if weights is None else n * weights / weights.sum()
    positive, counts = majority(targets)
    return Sampling(
        weights=weights,
        labels=tuple(labels),
        shares=_share(np.ones(n), positive, counts),
        drawn=_share(expected, positive, counts),
        most=int(expected.argmax()),
        times=float(expected.max()),
        images=n,
        cap=cap,
        at_cap=at_cap,
    )


def _share(
    expected: NDArray[np.float64], positive: NDArray[np.bool_], counts: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(labels,) positives among what counts, each image as often as expected; 0 where none does."""
    total = expected @ counts
    return np.divide(expected @ positive, total, out=np.zeros(len(total)), where=total > 0)
