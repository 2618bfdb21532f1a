"""How far probabilities are from what they say: Brier score, reliability, calibration error.

Images, masks, NaN and `DataError` are as in `calibration`: scores lie in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrtool.core.errors import UsageError
from cxrtool.evaluation.calibration import counted_probabilities
from cxrtool.evaluation.intervals import wilson_interval
from cxrtool.evaluation.metrics import Floats


def brier_score(y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean squared difference of probability and target (Brier 1950, Mon. Weather Rev. 78:1-3).

    In [0, 1], 0 the best; the prevalence as every score gives prevalence * (1 - prevalence). NaN
    without images. Raises DataError as the module says.

    >>> brier_score([0, 1], [0.5, 0.5])
    0.25
    """
    positive, score = counted_probabilities(y_true, y_score, mask)
    return float(np.mean((score - positive) ** 2)) if len(score) else float("nan")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """The occupied bins of a reliability diagram, rising, each (k,).

    `predicted` is the mean probability in a bin, `observed` the share of positives, `low` and
    `high` its 95 % interval (Wilson 1927, J. Am. Stat. Assoc. 22:209-212), `count` the images.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]


def reliability_bins(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None, bins: int = 10
) -> Bins:
    """Compare predicted and observed shares in bins of equal width over [0, 1].

    A bin holds its upper end and not its lower one (Guo et al. 2017), the first one both. No
    images give no bins. Raises DataError as the module says, UsageError for fewer than one bin.

    >>> found = reliability_bins([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], bins=2)
    >>> found.observed.round(3).tolist(), found.count.tolist()
    ([0.333, 1.0], [3, 1])
    """
    if bins < 1:
        raise UsageError(f"bins is {bins}: expected 1 or more")
    positive, score = counted_probabilities(y_true, y_score, mask)
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], score, "left")
    count = np.bincount(place, minlength=bins)
    held = count > 0
    count = count[held]
    predicted = np.bincount(place, score, bins)[held] / count
    observed = np.bincount(place, positive, bins)[held] / count
    low, high = wilson_interval(observed, count).T
    return Bins(predicted=predicted, observed=observed, low=low, high=high, count=count)


def expected_calibration_error(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None, bins: int = 10
) -> float:
    """Mean distance of predicted and observed share, over images in bins (Guo et al. 2017).

    sum_b n_b / n * |observed_b - predicted_b| over the bins of `reliability_bins`. In [0, 1]; NaN
    without images. It rises with fewer images, by chance alone. Raises as `reliability_bins`.

    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9], bins=2), 3)
    0.1
    """
    found = reliability_bins(y_true, y_score, mask, bins)
    if not len(found.count):
        return float("nan")
    distance = np.abs(found.observed - found.predicted)
    return float(np.sum(found.count * distance) / np.sum(found.count))
