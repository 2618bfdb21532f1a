"""Promises of several labels: each by itself, or all of them together.

At 95 % confidence each of fourteen labels breaks its promise in 5 % of samples, and some label in
up to half of them. `holm` makes that 5 % for all together, by Holm's step-down (1979, Scand. J.
Stat. 6:65-70) as far as it fits: there, what is rejected hands its level on to what is left. A
label whose threshold was chosen has used its level up, since the next threshold beyond failed; only
one of which each threshold holds has not, and hands it on (Bretz et al. 2009, Stat. Med.
28:586-604). What remains is Bonferroni's equal share, among the promises alone that so many
patients can keep at all (Tarone 1990, Biometrics 46:515-522): how many patients there are is known
before any score is looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrtool.core.errors import UsageError, unknown_name
from cxrtool.evaluation.certificates import Certified, LabelRows, certify, enough_patients
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.thresholds import NO_FAMILY, Rule

HOLM = "holm"
FAMILIES = (NO_FAMILY, HOLM)


@dataclass(frozen=True)
class Promise:
    """What is to be promised of which rows."""

    rule: Rule
    rows: LabelRows

    def at(self, level: float) -> Certified:
        """The threshold that keeps it but in this share of samples."""
        return certify(self.rule.quantity, float(self.rule.share or 0), level, self.rows)

    def possible(self, level: float) -> bool:
        """Whether there are patients enough for it, by their number alone."""
        return enough_patients(self.rule.quantity, float(self.rule.share or 0), level, self.rows)


def certify_labels(
    wanted: Mapping[Rule, Sequence[str]], sample: Sample, family: str
) -> dict[Rule, dict[str, Certified]]:
    """Thresholds by certified rules, each of some of the labels, as one family of promises.

    Raises:
        UsageError: no such family, or one of several confidences.
    """
    if family not in FAMILIES:
        raise UsageError(unknown_name("family", family, FAMILIES))
    percents = {rule.percent for rule in wanted}
    if family != NO_FAMILY and len(percents) > 1:
        raise UsageError(
            f"--family {family}: give the promises one confidence, as @{max(percents):g}"
        )
    rows = {label: rows_of_label(sample, label) for labels in wanted.values() for label in labels}
    places = [(rule, label) for rule, labels in wanted.items() for label in labels]
    promises = [Promise(rule, rows[label]) for rule, label in places]
    if family == NO_FAMILY or not promises:
        each = [promise.at(promise.rule.level) for promise in promises]
    else:
        each = step_down(promises, promises[0].rule.level)
    found: dict[Rule, dict[str, Certified]] = {rule: {} for rule in wanted}
    for (rule, label), one in zip(places, each, strict=True):
        found[rule][label] = one
    return found


def rows_of_label(sample: Sample, label: str) -> LabelRows:
    """The rows of a label that count."""
    positive, score, mask = sample.column(sample.labels.index(label))
    return LabelRows.of(positive[mask], score[mask], sample.patients[mask])


def step_down(promises: Sequence[Promise], level: float) -> list[Certified]:
    """Thresholds of all promises, any of which is broken in at most `level` of all samples."""
    size = next(
        number
        for number in range(1, len(promises) + 1)
        if sum(promise.possible(level / number) for promise in promises) <= number
    )
    found = [promise.at(level / size) for promise in promises]
    left = {at for at, promise in enumerate(promises) if promise.possible(level / size)}
    for at in left if len(left) < size else ():  # fewer share it
        found[at] = promises[at].at(level / len(left))
    while done := {at for at in left if found[at].exhausted}:
        left -= done
        for at in left:
            found[at] = promises[at].at(level / len(left))
    return found
