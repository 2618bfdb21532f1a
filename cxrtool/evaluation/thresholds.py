"""Operating points: the threshold that a rule picks for a label, score >= it being positive.

Images, shapes, masks and `DataError` are as in `metrics`. A rule is chosen on one split (valid)
and used on another, so a threshold is a number that can be stored: a float64 that float32 scores
are compared with exactly once they are float64 themselves. Counts are compared as whole numbers;
rounding breaks no tie.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite

import numpy as np
from numpy.typing import ArrayLike

from cxrtool.core.errors import UsageError, first_few, unknown_name
from cxrtool.evaluation.certificates import QUANTITIES, above, quantity_text
from cxrtool.evaluation.metrics import (
    Counts,
    Floats,
    columns_that_count,
    counted_scores,
    counts_from_above,
    youden_threshold,
)

NO_FAMILY = "none"
"""Each promise by itself."""
CERTIFIED = tuple(f"certified-{quantity}" for quantity in QUANTITIES)
"""The rules whose share is promised of other patients too: see `certificates`."""
RULES = ("youden", "f1", "sensitivity", "specificity", *CERTIFIED)
WITH_A_SHARE = ("sensitivity", "specificity", *CERTIFIED)
"""The rules that need a share to be reached."""
PERCENT = 95.0
"""The confidence of a promise, where none is given."""
LEAST_PERCENT = 50
"""A promise of less confidence is none."""


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen: a name of `RULES`, and the share in (0, 1] that some need.

    Raises UsageError for another name, a share that is missing or too much, and one outside.

    >>> str(Rule("sensitivity", 0.9)), str(Rule("youden")), str(Rule("certified-npv", 0.98, 90))
    ('sensitivity=0.9', 'youden', 'certified-npv=0.98@90')
    """

    name: str
    share: float | None = None
    percent: float = PERCENT
    """The confidence of a certified share, in percent."""

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise UsageError(unknown_name("operating point", self.name, RULES))
        if self.name not in WITH_A_SHARE:
            if self.share is not None:
                raise UsageError(f"operating point {self.name} takes no share: write {self.name}")
        elif self.share is None:
            raise UsageError(f"operating point {self.name} needs a share: as {self.name}=0.9")
        elif not 0 < self.share <= 1:
            raise UsageError(
                f"operating point {self}: expected a share above 0 and up to 1{_meant(self)}"
            )
        elif self.certified and self.share == 1:
            raise UsageError(f"operating point {self}: no number of patients promises all: below 1")
        if not self.certified and self.percent != PERCENT:
            raise UsageError(
                f"operating point {self.name} takes no confidence: write {self.name}="
                f"{self.share_text}, or certified-{self.name}={self.share_text}@{self.percent:g}"
            )
        if not LEAST_PERCENT <= self.percent < 100:
            meant = f": did you mean @{100 * self.percent:g}?" if 0 < self.percent < 1 else ""
            raise UsageError(
                f"operating point {self}: expected a confidence of {LEAST_PERCENT} to below 100 "
                f"percent{meant}"
            )

    @property
    def certified(self) -> bool:
        """Whether its share is promised of other patients too."""
        return self.name in CERTIFIED

    @property
    def quantity(self) -> str:
        """What a certified share is of: one of `certificates.QUANTITIES`."""
        return self.name.removeprefix("certified-")

    @property
    def level(self) -> float:
        """How often a certified promise is broken, at most."""
        return round(100 - self.percent, 9) / 100

    @property
    def share_text(self) -> str:
        """The share as short as it can be written."""
        return "" if self.share is None else repr(float(self.share)).removesuffix(".0")

    def __str__(self) -> str:
        confidence = "" if self.percent == PERCENT else f"@{self.percent:g}"
        return self.name if self.share is None else f"{self.name}={self.share_text}{confidence}"


@dataclass(frozen=True, kw_only=True)
class ChosenRule:
    """A rule, and the images that thresholds were chosen on by it."""

    rule: Rule
    chosen_on: str
    family: str = NO_FAMILY
    """Of which promises a certified one is: see `families`."""
    edited: tuple[str, ...] = ()
    """The labels whose thresholds somebody has changed by hand since."""

    @property
    def edit(self) -> str:
        """What was changed by hand, in words; empty where nothing was."""
        return f"edited by hand for {first_few(self.edited)}" if self.edited else ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (str(self.rule), self.edit)))

    @property
    def condition(self) -> str:
        """What a promise rests on, in words; empty where nothing is promised."""
        if not self.rule.certified:
            return ""
        return condition_of(self.rule, self.chosen_on, self.family)

    def as_json(self) -> dict[str, str]:
        """The rule and what was done to it as one text, and what a promise rests on."""
        found = {"rule": str(self), "chosen_on": self.chosen_on}
        if self.rule.certified:
            found |= {"family": self.family, "condition": self.condition}
        return found


def condition_of(rule: Rule, chosen_on: str, family: str) -> str:
    """What the promise of a certified rule rests on, in words.

    >>> condition_of(Rule("certified-npv", 0.98, 90), "A", "holm")
    'NPV of at least 0.98 at 90 % confidence, all labels together, for patients like those of A'
    """
    each = "each label by itself" if family == NO_FAMILY else "all labels together"
    return (
        f"{quantity_text(rule.quantity)} of at least {rule.share_text} at {rule.percent:g} % "
        f"confidence, {each}, for patients like those of {chosen_on}"
    )


def _meant(rule: Rule) -> str:
    """What somebody who wrote a percentage meant."""
    percent = rule.share or 0
    return f": did you mean {rule.name}={percent / 100:g}?" if 1 < percent <= 100 else ""


def parse_rule(text: str) -> Rule:
    """Read `youden`, `f1`, `sensitivity=0.9`, `specificity=0.95`, `certified-npv=0.98@90`, ...

    `str` of the rule reads back as the same rule. Raises UsageError for anything else; the
    message names the share that a percentage meant.

    >>> parse_rule("certified-npv=0.98@90")
    Rule(name='certified-npv', share=0.98, percent=90.0)
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    share, at, confidence = (part.strip() for part in rest.partition("@"))
    if not equals or name not in WITH_A_SHARE:
        # A share where none belongs is refused by the rule, whatever it is.
        return Rule(name, None if not equals else 0.0)
    wanted = _number(share)
    if isfinite(wanted) and not share.endswith("%"):
        return Rule(name, wanted, _percent(confidence, text) if at else PERCENT)
    meant = f"{wanted / 100:g}" if 0 < wanted <= 100 else "0.9"
    raise UsageError(
        f"operating point {text!r}: expected a share above 0 and up to 1, as {name}={meant}"
    )


def _number(text: str) -> float:
    """A number with or without a percent sign; NaN for what is none."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        return float("nan")


def _percent(confidence: str, text: str) -> float:
    found = _number(confidence)
    if not isfinite(found):
        raise UsageError(
            f"operating point {text!r}: expected the confidence in percent after @, as @90"
        )
    return found


def threshold_for(
    rule: Rule, y_true: ArrayLike, y_score: ArrayLike, mask: ArrayLike | None = None
) -> float:
    """Find the threshold that a rule picks for one label.

    - `youden`: `metrics.youden_threshold`.
    - `f1`: maximises F1 = 2 tp / (2 tp + fp + fn); of equal ones the lowest, most sensitive one.
    - `sensitivity=s`: the highest threshold whose sensitivity is at least s, and so the one of
      best specificity there. s is the decimal that was written: 0.9 of 10 positives are 9.
    - `specificity=s`: the lowest threshold whose specificity is at least s, and so the one of
      best sensitivity there. Where too many negatives share the highest score, no score that
      occurs is specific enough: then it is the next float64 above the highest, itself rounded up
      to a float32, and nobody is positive. (A comparison in float32 would round that one back:
      compare in float64.)

    Otherwise it is a score that occurs. Finite; NaN where the images that count have one class.
    Certified rules need to know the patients: `families.certify_labels`.

    >>> y_true, y_score = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    >>> [threshold_for(parse_rule(r), y_true, y_score) for r in ("f1", "sensitivity=0.5")]
    [0.35, 0.8]
    >>> [threshold_for(Rule("specificity", s), y_true, y_score) for s in (0.5, 0.6)]
    [0.35, 0.8]
    """
    if rule.name == "youden":
        return youden_threshold(y_true, y_score, mask)
    thresholds, tp, fp = counts_from_above(*counted_scores(y_true, y_score, mask))
    if not tp[-1] or not fp[-1]:
        return float("nan")
    if rule.name == "f1":
        return float(thresholds[_best_f1(tp[1:], fp[1:])])
    # As text, since the float nearest to 0.9 is a little more or less than what was asked for.
    share = Fraction(repr(float(rule.share or 0)))
    if rule.name == "sensitivity":
        least_tp = ceil(share * int(tp[-1]))
        return float(thresholds[np.flatnonzero(tp[1:] >= least_tp)[0]])
    most_fp = int(fp[-1]) - ceil(share * int(fp[-1]))
    specific = np.flatnonzero(fp[1:] <= most_fp)
    return float(thresholds[specific[-1]]) if len(specific) else above(float(thresholds[0]))


def _best_f1(tp: Counts, fp: Counts) -> int:
    """Where F1 is greatest, the last of equals; both (k,) descend from the highest threshold.

    F1 / 2 is tp / (tp + fp + positives). A quotient picks one of the best, which it can: two
    fractions with denominators under 2^26 are further apart than rounding. Products find its ties.
    """
    whole = tp + fp + tp[-1]
    best = np.argmax(tp / whole)
    return int(np.flatnonzero(tp * whole[best] >= tp[best] * whole)[-1])


def thresholds_for(rule: Rule, targets: ArrayLike, scores: ArrayLike, mask: ArrayLike) -> Floats:
    """`threshold_for` of each label: (n, C) each to (C,), NaN for a label with one class only."""
    columns = columns_that_count(targets, scores, mask)
    found = [threshold_for(rule, y_true, y_score) for _, y_true, y_score in columns]
    return np.array(found, np.float64)
