"""What the pictures of an evaluation are drawn from: a label's curve, bins, scores and rows."""

from dataclasses import dataclass

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.reliability import Bins


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One label's ROC or precision-recall curve.

    x and y are (k,) in [0, 1] from left to right, the start included; empty where the label is
    not defined. `area` is its AUROC or AUPRC.
    """

    x: Floats
    y: Floats
    point: tuple[float, float] | None
    """The operating point."""
    area: Estimate
    baseline: float | None = None
    """What chance gets at any x: the prevalence. None: the diagonal."""
    note: str = ""
    """Why there is nothing to draw, such as `no positive among 40 images`."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One label's scores against what was found; `bins` are None where it is not defined."""

    bins: Bins | None
    brier: float | None = None
    ece: float | None = None
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
