"""Calibration: probabilities that hold what they say, and how far they are from it.

One label at a time; images, masks, NaN and `DataError` are as in `metrics`. Scores are
probabilities in [0, 1]: others raise `DataError`, which says how many they are.

A calibrator is fitted on one split (valid) and used on another (test). It changes probabilities
and never ranks: distinct float32 scores stay distinct and in order (0 and 1 among them), so
AUROC, AUPRC and every operating point's counts stay as they were. Of float64 scores that are
nearer to each other than float32 can tell, some may become equal: where a curve is flat near 1,
there are fewer float64 numbers to go to than come in. What is written is float32.

- `temperature`: sigmoid(logit(p) / T), T > 0 by maximum likelihood (Guo et al. 2017, ICML). It
  mends confidence, not level: 0.5 stays 0.5.
- `platt`: sigmoid(a logit(p) + b), a > 0 (Platt 1999, Advances in Large Margin Classifiers). A
  training in which positives are drawn more often than they occur, as weighted sampling does,
  moves the level: that needs b, which a temperature lacks.
- `isotonic`: any rising curve, by pooling adjacent violators (Zadrozny & Elkan 2002, KDD). It
  bends as the data say, and so needs the most of them.
- `prior`: sigmoid(logit(p) + shift), fitted to nothing: the shift is what a training's sampling and
  weights are known to have added (see `prior_shift`).

Each may have an `offset`, log odds that are added last: to a place of another prevalence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, isotonic_regression

from cxrtool.core.errors import DataError, UsageError, first_few, unknown_name
from cxrtool.evaluation.metrics import Floats, counted_scores

METHODS = ("temperature", "platt", "isotonic")
"""What is fitted to images."""
PRIOR = "prior"
PARAMETERS = {
    PRIOR: ("shift",),
    "temperature": ("temperature",),
    "platt": ("slope", "intercept"),
    "isotonic": ("scores", "shares"),
}
"""What each method's calibrator consists of: numbers, of `isotonic` the knots of its curve."""
LEAST_POSITIVES = {"temperature": 10, "platt": 10, "isotonic": 100}
"""The least positives, and the least negatives, to fit on. One slope needs ten events (Peduzzi et
al. 1996, J. Clin. Epidemiol. 49:1373-1379). Isotonic curves overfit a few hundred images, of
which positives are few (Niculescu-Mizil & Caruana 2005, ICML): a hundred."""
SLOPES = (0.01, 100.0)
"""The slopes of a logit that are believed; a temperature is one over a slope. Separable data need
an endless slope and get the last; a flatter one says that the scores do not go with the label."""
MOST_KNOTS = 200
LOGITS = (-104.0, 37.0)
"""What 0 and 1 have for a logit: just beyond float32's lowest (-103.3) and float64's highest."""
OWN_SHARE = 2.0**-20
"""How much of a calibrated probability is the raw one. Near 1 a steep sigmoid runs out of float64
numbers; 2^-20 of float32's spacing there, 2^-24, is still 512 of them."""
OWN_LOGIT = 1e-3
"""How much of an isotonic curve's logit is the raw one: its steps are flat, and so keep rising."""
FLOOR = 1e-4
"""An isotonic curve claims no less and no more than 1 - FLOOR: a step has not enough images."""


@dataclass(frozen=True)
class Calibrator:
    """A rising curve from probabilities to probabilities, to be called on any shape.

    `parameters` are by name as in `PARAMETERS`, each a tuple: of one number, or of `isotonic`'s
    knots; `offset` are log odds. Raises DataError for parameters that no fit gives.

    >>> Calibrator("temperature", {"temperature": (2.0,)})([0.5, 0.9]).round(4).tolist()
    [0.5, 0.75]
    """

    method: str
    parameters: Mapping[str, tuple[float, ...]]
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in PARAMETERS:
            raise DataError(_unknown_method(self.method))
        problem = _problem(self.method, self.parameters, self.offset)
        if problem:
            raise DataError(f"a calibrator of method {self.method}: {problem}: fit it again")

    def __call__(self, scores: ArrayLike) -> Floats:
        """Calibrated float64 probabilities; NaN, of an image that has no score, stays NaN."""
        raw = _probabilities(scores)
        first, *others = (np.array(self.parameters[name]) for name in PARAMETERS[self.method])
        if self.method == PRIOR:
            curve = _sigmoid(logit_of(raw) + (first + self.offset))
        elif self.method == "temperature":
            curve = _sigmoid(logit_of(raw) / first + self.offset)
        elif self.method == "platt":
            curve = _sigmoid(first * logit_of(raw) + (others[0] + self.offset))
        else:
            curve = _isotonic_curve(raw, first, others[0], self.offset)
        return np.asarray((1 - OWN_SHARE) * curve + OWN_SHARE * raw).reshape(raw.shape)

    def as_json(self) -> dict[str, Any]:
        """The calibrator as what JSON can hold; `from_json` gives it back to the last bit."""
        single = self.method != "isotonic"
        values = {name: self.parameters[name] for name in PARAMETERS[self.method]}
        return {
            "method": self.method,
            **{name: value[0] if single else list(value) for name, value in values.items()},
            **({"offset": self.offset} if self.offset else {}),
        }

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read what `as_json` gave. Raises DataError for anything that it would not give."""
        if not isinstance(values, dict):
            raise DataError(f"a calibrator is {type(values).__name__}: expected an object")
        method = values.get("method")
        if not isinstance(method, str) or method not in PARAMETERS:
            raise DataError(_unknown_method(method))
        names, found = set(PARAMETERS[method]), set(values) - {"method", "offset"}
        if names != found:
            raise DataError(
                f"a calibrator of method {method} has {first_few(sorted(map(str, found))) or 'no'} "
                f"parameters: expected {', '.join(PARAMETERS[method])}"
            )
        listed = method == "isotonic"
        parameters = {name: _numbers(name, values[name], listed) for name in sorted(names)}
        return cls(method, parameters, *_numbers("offset", values.get("offset", 0.0), listed=False))


def _unknown_method(method: object) -> str:
    return unknown_name("a calibrator's method", str(method), tuple(PARAMETERS))


def _numbers(name: str, value: object, listed: bool) -> tuple[float, ...]:
    """A parameter from JSON, as float64; what is no number is named."""
    if isinstance(value, list) is not listed:
        raise DataError(f"a calibrator's {name}: expected {'a list' if listed else 'one number'}")
    numbers: list[object] = value if isinstance(value, list) else [value]
    strange = [n for n in numbers if isinstance(n, bool) or not isinstance(n, int | float)]
    if strange:
        raise DataError(f"a calibrator's {name}: {first_few(strange)}: expected numbers")
    try:
        return tuple(float(number) for number in numbers if isinstance(number, int | float))
    except OverflowError as error:
        raise DataError(f"a calibrator's {name}: a number beyond float64") from error


def _problem(method: str, parameters: Mapping[str, tuple[float, ...]], offset: float) -> str:
    """What is wrong with a calibrator's parameters, or nothing."""
    if set(parameters) != set(PARAMETERS[method]):
        return f"its parameters are {', '.join(parameters) or 'none'}"
    values = [np.array(parameters[name], np.float64) for name in PARAMETERS[method]]
    if not all(value.ndim == 1 and np.isfinite(value).all() for value in values):
        return "a parameter is not finite"
    if not np.isfinite(offset):
        return "its offset is not finite"
    if method == "isotonic":
        scores, shares = values
        knots = len(scores) == len(shares) and 2 <= len(scores) <= MOST_KNOTS
        rising = all((np.diff(value) > 0).all() for value in values)
        inside = all(((value >= 0) & (value <= 1)).all() for value in values)
        return "" if knots and rising and inside else _ISOTONIC_WANTS
    if any(len(value) != 1 for value in values):
        return "a parameter is not one number"
    if method == PRIOR:
        return _AT_ONE_SOON if _at_one_soon(1.0, values[0][0] + offset) else ""
    number, (low, high) = float(values[0][0]), SLOPES
    if not low <= number <= high:
        return f"{number} is not between {low:g} and {high:g}"
    slope, intercept = (number, values[1][0]) if method == "platt" else (1 / number, 0.0)
    return _AT_ONE_SOON if _at_one_soon(slope, intercept + offset) else ""


def _at_one_soon(slope: float, intercept: float) -> bool:
    """Whether a curve is all but 1 for scores so low that their own share cannot hold them apart.

    From 1/64 on neighbours of float32 differ by 2^-30, and 2^-20 of that is 8 numbers next to 1.
    Below, the sigmoid has to do it: at a logit of 14 it does with the flattest slope.
    """
    return bool(slope * np.log(1 / 63) + intercept > 14)


_AT_ONE_SOON = "its curve would be at 1 for scores below 1/64 already"
_ISOTONIC_WANTS = f"expected 2 to {MOST_KNOTS} scores and as many shares, rising within [0, 1]"


def fit(
    method: str, y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None
) -> Calibrator | str:
    """Fit a calibrator on one label, or say why the label is left as it is.

    The same images give the same calibrator, in whatever number format their scores come. Raises
    DataError as the module says, UsageError for an unknown method.

    >>> fit("temperature", [0, 1, 1], [0.2, 0.7, 0.6])
    '2 positive and 1 negative images: temperature needs at least 10 of each'
    """
    if method not in METHODS:
        raise UsageError(unknown_name("calibration", method, METHODS))
    positive, raw = counted_probabilities(y_true, y_score, mask)
    positives, least = int(positive.sum()), LEAST_POSITIVES[method]
    negatives = len(positive) - positives
    if min(positives, negatives) < least:
        return (
            f"{positives} positive and {negatives} negative images: {method} needs at least "
            f"{least} of each"
        )
    if (raw == raw[0]).all():
        return "all its scores are the same"
    if method == "isotonic":
        return _fit_isotonic(positive, raw)
    return (_fit_temperature if method == "temperature" else _fit_platt)(positive, logit_of(raw))


def _fit_temperature(positive: NDArray[np.bool_], logit: Floats) -> Calibrator | str:
    """The slope a = 1/T of the greatest likelihood, whose derivative in a falls throughout."""

    def too_steep(log_slope: float) -> float:
        return float(np.sum(logit * (_sigmoid(np.exp(log_slope) * logit) - positive)))

    low, high = np.log(SLOPES)
    if too_steep(low) >= 0:
        return (
            f"the best temperature is over {1 / SLOPES[0]:g}: its scores are too high or too low "
            "throughout, which platt can mend, or do not rise with the label"
        )
    if too_steep(high) > 0:
        high = brentq(too_steep, low, high, xtol=1e-15)
    return Calibrator("temperature", {"temperature": (float(np.clip(np.exp(-high), *SLOPES)),)})


def _fit_platt(positive: NDArray[np.bool_], logit: Floats) -> Calibrator | str:
    """Newton's steps from the prevalence on, halved where they overshoot (Lin et al. 2007).

    Not by scipy, which fails where a rare label is all but separable: `optimize.root` returns
    slopes a fifth of the best one as found, `minimize` ends 1e-7 off or takes minutes.
    """
    middle, spread = float(logit.mean()), float(logit.std())
    unit = (logit - middle) / spread
    positives, negatives = int(positive.sum()), int((~positive).sum())
    # Platt's targets: short of 1 and 0 by what one image of each class more would make unsure.
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(slope: float, intercept: float) -> float:
        at = slope * unit + intercept
        return float(np.sum(np.logaddexp(0, at) - target * at))

    slope, intercept = 0.0, float(np.log((positives + 1) / (negatives + 1)))
    for _ in range(100):
        step = _newton_step(unit, target, slope, intercept)
        before, size = loss(slope, intercept), 1.0
        while size > 1e-9 and loss(slope + size * step[0], intercept + size * step[1]) > before:
            size /= 2
        slope, intercept = slope + size * step[0], intercept + size * step[1]
        if max(abs(step[0]), abs(step[1])) < 1e-12 or size <= 1e-9:
            break
    slope /= spread
    if not SLOPES[0] <= slope <= SLOPES[1]:
        return _why_no_slope(slope)
    intercept -= slope * middle
    if _at_one_soon(slope, intercept):
        return _AT_ONE_SOON
    return Calibrator("platt", {"slope": (slope,), "intercept": (intercept,)})


def _newton_step(
    unit: Floats, target: Floats, slope: float, intercept: float
) -> tuple[float, float]:
    """Newton's step of a logistic loss in slope and intercept."""
    share = _sigmoid(slope * unit + intercept)
    residual, weight = target - share, share * (1 - share)
    g_slope, g_intercept = float(np.sum(residual * unit)), float(np.sum(residual))
    h_slope = float(np.sum(weight * unit * unit)) + 1e-12
    h_both, h_intercept = float(np.sum(weight * unit)), float(np.sum(weight)) + 1e-12
    determinant = h_slope * h_intercept - h_both * h_both
    return (
        (h_intercept * g_slope - h_both * g_intercept) / determinant,
        (h_slope * g_intercept - h_both * g_slope) / determinant,
    )


def _why_no_slope(slope: float) -> str:
    if slope > SLOPES[1]:
        return f"its slope would be {slope:.3g}: its scores lie too near to each other"
    hold = "would turn its ranks around" if slope <= 0 else "hardly rise with the label"
    return f"its slope would be {slope:.3g}: its calibrated scores {hold}"


def _fit_isotonic(positive: NDArray[np.bool_], raw: Floats) -> Calibrator | str:
    distinct, place = np.unique(raw, return_inverse=True)
    counts = np.bincount(place)
    positives = np.bincount(place[positive], minlength=len(distinct))
    starts = isotonic_regression(positives / counts, weights=counts).blocks[:-1]
    shares = np.add.reduceat(positives, starts) / np.add.reduceat(counts, starts)
    # Of blocks whose shares are equal but for rounding one is made.
    starts = starts[np.append(True, np.diff(shares) > 0)]
    if len(starts) < 2:
        return "its scores do not rise with the label"
    # Neighbours of rising blocks are rising blocks: too many are pooled a few at a time.
    kept = np.linspace(0, len(starts), min(len(starts), MOST_KNOTS), endpoint=False).astype(int)
    starts = starts[kept]
    images = np.add.reduceat(counts, starts)
    centres = np.add.reduceat(distinct * counts, starts) / images
    # Rounding may carry the mean of equal numbers past them, and so past the next block's.
    centres = np.clip(centres, distinct[starts], distinct[np.append(starts[1:], 0) - 1])
    shares = np.add.reduceat(positives, starts) / images
    return Calibrator(
        "isotonic", {"scores": tuple(centres.tolist()), "shares": tuple(shares.tolist())}
    )


def _isotonic_curve(raw: Floats, scores: Floats, shares: Floats, offset: float) -> Floats:
    """Straight between the blocks' centres and level beyond the outer two, but for the own logit.

    Lines from (0, 0) and to (1, 1) would call every score of 1 certain, right or not.
    """
    held = np.clip(raw, scores[0], scores[-1])
    left = np.clip(np.searchsorted(scores, held, "right") - 1, 0, len(scores) - 2)
    # Not numpy.interp: this rises also within rounding, and no slope overflows.
    along = (held - scores[left]) / (scores[left + 1] - scores[left])
    rise = shares[left] + along * (shares[left + 1] - shares[left])
    curve = np.clip(np.minimum(rise, shares[left + 1]), FLOOR, 1 - FLOOR)
    # Moved no nearer to 1 than it may be: so near, few float64 numbers are left.
    moved = np.minimum(logit_of(curve) + offset, logit_of(np.array(1 - FLOOR)))
    return _sigmoid((1 - OWN_LOGIT) * moved + OWN_LOGIT * logit_of(raw))


def logit_of(share: Floats) -> Floats:
    """Log odds of probabilities of any shape, within `LOGITS`; NaN stays NaN."""
    with np.errstate(divide="ignore"):
        # Both the difference and the quotient rise with the share, also within rounding.
        return np.asarray(np.clip(np.log(share / (1 - share)), *LOGITS))


def _sigmoid(logit: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logit)))


def _probabilities(scores: ArrayLike) -> Floats:
    raw = np.asarray(scores).astype(np.float64)
    outside = raw[(raw < 0) | (raw > 1)]
    if len(outside):
        raise DataError(
            f"{len(outside)} of {raw.size} scores are outside of [0, 1] "
            f"({first_few(outside.tolist())}): calibration needs probabilities"
        )
    return raw


def counted_probabilities(
    y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.bool_], Floats]:
    """The targets and scores that count, both (n,), where the scores are probabilities."""
    positive, score = counted_scores(y_true, y_score, mask)
    return positive, _probabilities(score)
