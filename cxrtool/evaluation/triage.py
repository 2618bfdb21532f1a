"""Rule out, read first, rule in: two certified thresholds of a label and what they part.

A score below the lower one rules a finding out, one at or over the upper one rules it in; who is
between is read first. Where the two rules' thresholds cross, each score between them would be both.
Then the lower one is moved down to the upper one, which keeps both promises: a sensitivity only
rises by it, and of an NPV the nearest threshold below is taken that was certified too. Nobody, or
next to nobody, is left between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrtool.core.errors import RunError, UsageError
from cxrtool.core.json_files import plain
from cxrtool.core.schemas import TriageFacts
from cxrtool.data.labels import NO_FINDING
from cxrtool.evaluation.certificates import Certificate, Certified, certificate_at
from cxrtool.evaluation.families import rows_of_label
from cxrtool.evaluation.operating_points import Calibration
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.thresholds import NO_FAMILY, Rule, condition_of, parse_rule

NO_TRIAGE = "none"
LOWER = ("certified-npv", "certified-sensitivity")
UPPER = ("certified-ppv", "certified-specificity")


@dataclass(frozen=True)
class TriageRules:
    """What is promised of who is ruled out, and of who is ruled in."""

    rule_out: Rule
    rule_in: Rule

    def __str__(self) -> str:
        return f"{self.rule_out},{self.rule_in}"


def parse_triage(text: str) -> TriageRules:
    """Read `certified-npv=0.98,certified-ppv=0.5`.

    Raises:
        UsageError: not two certified rules, the first of a lower threshold, the second of an upper.

    >>> str(parse_triage("certified-sensitivity=0.95, certified-specificity=0.9@90"))
    'certified-sensitivity=0.95,certified-specificity=0.9@90'
    """
    rules = [parse_rule(part.strip()) for part in text.split(",")]
    fits = len(rules) == 2 and rules[0].name in LOWER and rules[1].name in UPPER
    if not fits:
        raise UsageError(
            f"--triage {text}: expected what is promised of who is ruled out ({' or '.join(LOWER)})"
            f", a comma, and of who is ruled in ({' or '.join(UPPER)}), as "
            "certified-npv=0.98,certified-ppv=0.5"
        )
    return TriageRules(*rules)


@dataclass(frozen=True)
class Limits:
    """A label's two thresholds: below the first it is ruled out, from the second on ruled in."""

    rule_out: float
    rule_in: float


@dataclass(frozen=True, kw_only=True)
class Triage:
    """Two thresholds of each label for which both promises can be kept."""

    rules: TriageRules
    chosen_on: str
    family: str = NO_FAMILY
    limits: Mapping[str, Limits]
    """On the scale of the raw scores."""
    certificates: Mapping[str, tuple[Certificate, Certificate]]
    without: Mapping[str, str]
    """Why labels have none; No Finding, which is no finding, is not among them."""

    @property
    def conditions(self) -> tuple[str, str]:
        """What the two promises rest on, in words."""
        both = (self.rules.rule_out, self.rules.rule_in)
        first, second = (condition_of(rule, self.chosen_on, self.family) for rule in both)
        return first, second

    def as_json(self) -> dict[str, Any]:
        """The triage as a run's thresholds.json holds it."""
        return {
            "rule_out": str(self.rules.rule_out),
            "rule_in": str(self.rules.rule_in),
            "chosen_on": self.chosen_on,
            "family": self.family,
            "labels": {
                label: {
                    "rule_out": of.rule_out,
                    "rule_in": of.rule_in,
                    "certificates": plain(self.certificates[label]),
                }
                for label, of in self.limits.items()
            },
            "without": dict(self.without),
        }

    def calibrated(self, calibration: Calibration | None) -> "Triage":
        """The same on the scale of the calibrated scores."""
        if calibration is None:
            return self
        labels = list(self.limits)
        ends = np.array([[one.rule_out, one.rule_in] for one in self.limits.values()])
        lower, upper = (calibration.of_thresholds(labels, of) for of in ends.reshape(-1, 2).T)
        pairs = zip(lower.tolist(), upper.tolist(), strict=True)
        moved = {label: Limits(*pair) for label, pair in zip(labels, pairs, strict=True)}
        return replace(self, limits=moved)


def choose_triage(
    rules: TriageRules,
    sample: Sample,
    chosen_on: str,
    family: str,
    certified: Mapping[Rule, Mapping[str, Certified]],
    without: Mapping[str, str],
) -> Triage:
    """Both thresholds of each label, from those that were certified on a sample.

    Args:
        rules: what is promised.
        sample: on which it was seen.
        chosen_on: its name.
        family: see `families`.
        certified: of `families.certify_labels`, each rule's thresholds.
        without: why other labels have none.
    """
    limits, certificates, reasons = {}, {}, dict(without)
    for label in sample.labels:
        if label in reasons or label == NO_FINDING:
            continue
        lower, upper = (certified[rule][label] for rule in (rules.rule_out, rules.rule_in))
        found = _reconciled(sample, label, lower, upper)
        if isinstance(found, str):
            reasons[label] = found if found.startswith("its ") else f"{chosen_on} {found}"
        else:
            limits[label], certificates[label] = found
    reasons.pop(NO_FINDING, None)
    return Triage(
        rules=rules,
        chosen_on=chosen_on,
        family=family,
        limits=limits,
        certificates=certificates,
        without=reasons,
    )


def stored_triage(facts: TriageFacts | None) -> Triage | None:
    """The triage that `predict` uses, as thresholds.json, or an exported model, holds it.

    Raises:
        RunError: its rules are unknown.
    """
    if facts is None:
        return None
    try:
        rules = parse_triage(f"{facts.rule_out},{facts.rule_in}")
    except UsageError as error:
        raise RunError(
            f"thresholds.json holds a triage of unknown rules ({error}): choose again with "
            "`cxrtool evaluate --triage RULE-OUT,RULE-IN --keep`"
        ) from None
    pairs = {
        label: tuple(Certificate(**one.model_dump()) for one in of.certificates)
        for label, of in facts.labels.items()
    }
    return Triage(
        rules=rules,
        chosen_on=facts.chosen_on,
        family=facts.family,
        limits={label: Limits(of.rule_out, of.rule_in) for label, of in facts.labels.items()},
        certificates={label: (pair[0], pair[1]) for label, pair in pairs.items()},
        without=facts.without,
    )


def _reconciled(
    sample: Sample, label: str, lower: Certified, upper: Certified
) -> tuple[Limits, tuple[Certificate, Certificate]] | str:
    """Both thresholds with their certificates, the lower one moved where they cross; or why not."""
    if lower.certificate is None or upper.certificate is None:
        return lower.reason or upper.reason
    certificate, threshold = lower.certificate, lower.threshold
    if threshold > upper.threshold:
        below = [one for one in lower.others if one <= upper.threshold]
        if lower.others and not below:
            return (
                "its thresholds to rule out and to rule in cross, and none that was certified to "
                "rule out lies below"
            )
        threshold = max(below) if lower.others else upper.threshold
        certificate = certificate_at(
            certificate.quantity,
            certificate.promised,
            certificate.level,
            rows_of_label(sample, label),
            threshold,
        )
    return Limits(threshold, upper.threshold), (certificate, upper.certificate)
