"""What scores are decided by, all of it chosen on one sample: thresholds, triage, calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

from cxrtool.core.errors import UsageError
from cxrtool.data.labels import NO_FINDING
from cxrtool.evaluation.families import certify_labels
from cxrtool.evaluation.operating_points import (
    Calibration,
    OperatingPoint,
    certified_point,
    choose_point,
    fit_calibration,
    may_have_one,
    no_thresholds,
)
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.thresholds import NO_FAMILY, Rule, parse_rule
from cxrtool.evaluation.triage import NO_TRIAGE, Triage, TriageRules, choose_triage, parse_triage

NO_CALIBRATION = "none"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be chosen on a sample, all of its promises as one family."""

    rule: Rule | None
    triage: TriageRules | None
    family: str

    @classmethod
    def of(cls, rule: str | None, triage: str | None, family: str | None) -> "Wanted":
        """From the options.

        Raises:
            UsageError: they cannot be read.
        """
        return cls(
            rule=None if rule is None else parse_rule(rule),
            triage=None if triage in (None, NO_TRIAGE) else parse_triage(triage),
            family=family or NO_FAMILY,
        )

    @property
    def certified(self) -> list[Rule]:
        """The rules that promise something."""
        rules = [self.rule] if self.rule is not None and self.rule.certified else []
        return rules + ([] if self.triage is None else [self.triage.rule_out, self.triage.rule_in])

    def check_family(self, given: str | None) -> None:
        """Refuse a family that was given where nothing is promised.

        Raises:
            UsageError: it would do nothing.
        """
        if given is not None and not self.certified:
            raise UsageError(
                f"--family {given} goes with a certified --operating-point, or with --triage"
            )

    def choose(self, sample: Sample, chosen_on: str) -> tuple[OperatingPoint | None, Triage | None]:
        """Thresholds by the rule, and by those of the triage; None for what is not wanted.

        Raises:
            UsageError: as `families.certify_labels`.
        """
        labels = may_have_one(sample, chosen_on)
        findings = [label for label in labels if label != NO_FINDING]
        of_point = {self.rule: labels} if self.rule is not None and self.rule.certified else {}
        of_triage = {rule: findings for rule in self.certified if rule not in of_point}
        found = certify_labels({**of_point, **of_triage}, sample, self.family)
        point = triage = None
        if self.rule is not None and self.rule.certified:
            point = certified_point(self.rule, sample, chosen_on, self.family, found[self.rule])
        elif self.rule is not None:
            point = choose_point(self.rule, sample, chosen_on)
        if self.triage is not None:
            without = no_thresholds(sample, chosen_on)
            triage = choose_triage(self.triage, sample, chosen_on, self.family, found, without)
        return point, triage


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What scores are decided by."""

    point: OperatingPoint
    calibration: Calibration | None
    triage: Triage | None


def choose_on(
    sample: Sample,
    chosen_on: str,
    wanted: Wanted,
    method: str | None,
    prevalences: Mapping[str, float],
) -> Chosen:
    """All that is wanted of a sample.

    Args:
        sample: scores and their truth.
        chosen_on: its name.
        wanted: the rules.
        method: how to calibrate.
        prevalences: of labels whose calibrated probabilities are moved to these.

    Raises:
        DataError: scores that are to be calibrated are no probabilities, or a label that is to be
            moved could not be calibrated.
        UsageError: as `Wanted.choose`.
    """
    point, triage = wanted.choose(sample, chosen_on)
    if point is None:
        raise ValueError("there is no rule to choose thresholds by")
    calibration = None
    if method not in (None, NO_CALIBRATION):
        calibration = fit_calibration(str(method), sample, chosen_on).move(prevalences)
    return Chosen(point=point, calibration=calibration, triage=triage)
