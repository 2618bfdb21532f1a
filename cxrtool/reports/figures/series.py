"""What the pictures of an evaluation are drawn from: a label's curve, bins, scores and rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.numbers import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One label's ROC or precision-recall curve.

    x and y are (k,) in [0, 1] from left to right, the start included; empty where the label is
    not defined. `area` is its AUROC or AUPRC, NaN where not defined.
    """

    x: Floats
    y: Floats
    point: tuple[float, float] | None
    """The operating point."""
    area: float
    interval: Interval
    baseline: float | None = None
    """What chance gets at any x: the prevalence. None: the diagonal."""
    note: str = ""
    """Why there is nothing to draw, such as `no positive among 40 images`."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One label's scores against what was found, in bins that hold at least one image.

    Arrays are (b,), from left to right: mean score, share of positives with the 95 % interval's
    ends, and images. Empty where the label is not defined.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Floats
    brier: float
    ece: float
    note: str = ""
    before: tuple[Floats, Floats] | None = None
    """`predicted` and `observed` without calibration, where some was fitted."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One label's distributions of scores, on any scale.

    `edges` (b + 1,) rise. `positive` and `negative` (b,) are shares of the class's images in each
    bin: they sum to 1, or to 0 where the class has no image.
    """

    edges: Floats
    positive: Floats
    negative: Floats
    positives: int
    negatives: int
    threshold: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One label's AUROC in one group of a column (`sex`: `Female`), or in `all` (column empty)."""

    group: str
    column: str
    auroc: float
    interval: Interval
    n: int
    positives: int
    too_few: bool
    """Too small a group to say anything."""
