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
from cxrtool.evaluation.metrics import (
    Counts,
    Floats,
    columns_that_count,
    counted_scores,
    counts_from_above,
    youden_threshold,
)

RULES = ("youden", "f1", "sensitivity", "specificity")
WITH_A_SHARE = ("sensitivity", "specificity")
"""The rules that need a share to be reached."""


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen: a name of `RULES`, and the share in (0, 1] that some need.

    Raises UsageError for another name, a share that is missing or too much, and one outside.

    >>> str(Rule("sensitivity", 0.9)), str(Rule("youden"))
    ('sensitivity=0.9', 'youden')
    """

    name: str
    share: float | None = None

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

    @property
    def share_text(self) -> str:
        """The share as short as it can be written."""
        return "" if self.share is None else repr(float(self.share)).removesuffix(".0")

    def __str__(self) -> str:
        return self.name if self.share is None else f"{self.name}={self.share_text}"


@dataclass(frozen=True, kw_only=True)
class ChosenRule:
    """A rule, and the images that thresholds were chosen on by it."""

    rule: Rule
    chosen_on: str
    edited: tuple[str, ...] = ()
    """The labels whose thresholds somebody has changed by hand since."""

    @property
    def edit(self) -> str:
        """What was changed by hand, in words; empty where nothing was."""
        return f"edited by hand for {first_few(self.edited)}" if self.edited else ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (str(self.rule), self.edit)))

    def as_json(self) -> dict[str, str]:
        """The rule and what was done to it as one text."""
        return {"rule": str(self), "chosen_on": self.chosen_on}


def _meant(rule: Rule) -> str:
    """What somebody who wrote a percentage meant."""
    percent = rule.share or 0
    return f": did you mean {rule.name}={percent / 100:g}?" if 1 < percent <= 100 else ""


def parse_rule(text: str) -> Rule:
    """Read `youden`, `f1`, `sensitivity=0.9` or `specificity=0.95`.

    `str` of the rule reads back as the same rule. Raises UsageError for anything else; the
    message names the share that a percentage meant.

    >>> parse_rule("specificity=0.95")
    Rule(name='specificity', share=0.95)
    """
    name, equals, share = (part.strip() for part in text.partition("="))
    if not equals or name not in WITH_A_SHARE:
        # A share where none belongs is refused by the rule, whatever it is.
        return Rule(name, None if not equals else 0.0)
    try:
        wanted = float(share.removesuffix("%"))
    except ValueError:
        wanted = float("nan")
    if isfinite(wanted) and not share.endswith("%"):
        return Rule(name, wanted)
    meant = f"{wanted / 100:g}" if 0 < wanted <= 100 else "0.9"
    raise UsageError(
        f"operating point {text!r}: expected a share above 0 and up to 1, as {name}={meant}"
    )


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
    return float(thresholds[specific[-1]]) if len(specific) else _above(float(thresholds[0]))


def _above(highest: float) -> float:
    """A number just above the highest score: nobody is positive at it.

    It follows a float32, as next to no score does. By that it is known for what it is where
    probabilities are calibrated (`points`): a curve may give the highest score's and the next
    float64's one value, and would make somebody positive.
    """
    with np.errstate(over="ignore"):
        single = np.float32(highest)
        if float(single) < highest:
            single = np.nextafter(single, np.float32(np.inf))
    return float(np.nextafter(float(single) if np.isfinite(single) else highest, np.inf))


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
