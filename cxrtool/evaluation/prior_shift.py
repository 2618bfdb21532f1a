"""Prior shift: probabilities for another share of positives than they were learned at.

A network that was shown positives at other odds than the data have, by weighted sampling or by a
weight of the positives in the loss, learns probabilities at those odds. The odds are known, so the
correction is: the logit of a probability moves by the difference of the two priors' log odds
(Saerens, Latinne & Decaestecker 2002, Neural Comput. 14:21-41, eq. 2.4). The same moves calibrated
probabilities to a place of another prevalence. Ranks, thresholds' decisions and AUROC stay.

It is exact where only the share of positives differs and a label's positives look the same in both
places. With several labels it is not: images are drawn for all of their findings at once, so that
among the drawn positives of one label other findings are more frequent than among all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log, sqrt

from scipy.special import expit, logit

from cxrtool.core.errors import RunError, UsageError, unknown_name
from cxrtool.core.numbers import Estimate
from cxrtool.core.schemas import Counts
from cxrtool.evaluation.calibration import PRIOR, Calibrator

PREVALENCES = (1e-6, 1 - 1e-6)
"""What a prevalence can be: outside, next to no image decides what a probability is."""


@dataclass(frozen=True)
class PriorShift:
    """The share of positives that probabilities are of, and the one that they shall be of."""

    before: float
    after: float

    @property
    def log_odds(self) -> float:
        """What is added to a logit."""
        return float(logit(self.after) - logit(self.before))

    @property
    def calibrator(self) -> Calibrator:
        """The curve that does it."""
        return Calibrator(PRIOR, {"shift": (self.log_odds,)})


def training_shifts(
    run: str, train: Mapping[str, Counts] | None, settings: Mapping[str, object]
) -> dict[str, PriorShift | str]:
    """What each label's prior was in a training and what it is in its data, or why not known.

    With a weight w of the positives, cross-entropy learns the odds as drawn times w.

    Args:
        run: its name.
        train: what labels.json says of the training images.
        settings: the training's options, of config.yaml.

    Raises:
        RunError: what the training did to the priors is not known.
    """
    instead = f"`cxrtool evaluate {run} --calibrate platt` is fitted to valid instead"
    if not train or "sampling" not in settings:
        raise RunError(f"{run} does not say how often its training saw positives: {instead}")
    if settings.get("loss", "bce") != "bce":
        raise RunError(
            f"{run} was trained with --loss {settings['loss']}, which moves probabilities by "
            f"something else than prior odds: {instead}"
        )
    weighted = settings["sampling"] == "weighted"
    if weighted and any(counts.drawn is None for counts in train.values()):
        raise RunError(
            f"{run} is of version 0.1, which did not write down what weighted sampling drew: "
            f"{instead}"
        )
    weight = settings.get("pos_weight", "none")
    return {label: _shift_of(counts, weight) for label, counts in train.items()}


def _shift_of(counts: Counts, weight: object) -> PriorShift | str:
    positives, n = counts.positives, counts.n
    drawn = positives / max(n, 1) if counts.drawn is None else counts.drawn
    if not 0 < positives < n or not 0 < drawn < 1:
        return f"train has {'positives' if positives else 'negatives'} only, so no prior odds"
    if weight == "none":
        times = 1.0
    else:
        times = (n - positives) / positives if weight == "balanced" else float(str(weight))
    return PriorShift(float(expit(logit(drawn) + log(times))), positives / n)


def parse_prevalences(text: str, labels: tuple[str, ...]) -> dict[str, float]:
    """Read `Edema=0.02,Fracture=0.1`.

    Raises:
        UsageError: a label that there is not, a prevalence outside of `PREVALENCES`, or twice.

    >>> parse_prevalences("Edema=0.02", ("Edema", "Fracture"))
    {'Edema': 0.02}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        label, equals, share = (one.strip() for one in part.rpartition("="))
        if not equals or not label:
            raise UsageError(f"--prevalence {text!r}: expected LABEL=SHARE,..., as Edema=0.02")
        if label not in labels:
            raise UsageError(unknown_name("--prevalence: label", label, labels))
        if label in found:
            raise UsageError(f"--prevalence: {label} is given twice")
        found[label] = _read_share(label, share)
    return found


def _read_share(label: str, text: str) -> float:
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        share = float("nan")
    if PREVALENCES[0] <= share <= PREVALENCES[1] and not text.endswith("%"):
        return share
    meant = f": did you mean {label}={share / 100:g}?" if 0 < share < 100 else ""
    raise UsageError(
        f"--prevalence {label}={text}: expected a share above 0 and below 1, as 0.02{meant}"
    )


def predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """PPV and NPV at a prevalence, from rates that do not hang on it (Bayes).

    Their log odds are those of the prevalence and the log of a likelihood ratio, whose interval is
    made of the two rates' own (Zou & Donner 2008, Stat. Med. 27:1693-1702, the method of variance
    estimates recovery).

    >>> ppv, npv = predictive_values(Estimate(0.9), Estimate(0.9), 0.1)
    >>> round(ppv.value, 3), round(npv.value, 3)
    (0.5, 0.988)
    """
    odds = float(logit(prevalence))
    return (
        _by_ratio(sensitivity, _complement(specificity), odds),
        _by_ratio(specificity, _complement(sensitivity), -odds),
    )


def _complement(rate: Estimate) -> Estimate:
    ends = rate.interval
    return Estimate(
        None if rate.value is None else 1 - rate.value, ends and (1 - ends[1], 1 - ends[0])
    )


def _by_ratio(hit: Estimate, false: Estimate, log_odds: float) -> Estimate:
    """The share of which the odds are those given times hit / false."""
    if hit.value is None or false.value is None or not (hit.value or false.value):
        return Estimate()
    value = _difference(_log(hit.value), _log(false.value))
    if hit.interval is None or false.interval is None:
        return Estimate(float(expit(value + log_odds)))
    (hit_low, hit_high), (false_low, false_high) = hit.interval, false.interval
    if hit.value and false.value:
        down = sqrt(_log_ratio(hit.value, hit_low) ** 2 + _log_ratio(false_high, false.value) ** 2)
        up = sqrt(_log_ratio(hit_high, hit.value) ** 2 + _log_ratio(false.value, false_low) ** 2)
        low, high = value - down, value + up
    else:
        low = _difference(_log(hit_low), _log(false_high))
        high = _difference(_log(hit_high), _log(false_low))
    ends = (float(expit(low + log_odds)), float(expit(high + log_odds)))
    return Estimate(float(expit(value + log_odds)), ends)


def _log_ratio(above: float, below: float) -> float:
    """How far two rates are apart in their logarithms; infinite from 0."""
    return inf if below <= 0 else log(above / below) if above > 0 else 0.0


def _log(share: float) -> float:
    return log(share) if share > 0 else -inf


def _difference(first: float, second: float) -> float:
    """first - second, where both may be infinite: then nothing is known, 0."""
    return 0.0 if first == second == -inf else first - second
