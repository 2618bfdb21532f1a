"""Operating points and calibrations of all labels: chosen on a sample, stored with a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cxrtool.core.errors import DataError, RunError, UsageError, counted
from cxrtool.core.run_cards import RunCard
from cxrtool.evaluation.calibration import PRIOR, Calibrator, fit
from cxrtool.evaluation.certificates import Certificate, Certified
from cxrtool.evaluation.families import certify_labels
from cxrtool.evaluation.intervals import LEAST_PATIENTS
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.prior_shift import PriorShift
from cxrtool.evaluation.sample import Sample, patients_of_classes
from cxrtool.evaluation.saturation import collapse_of
from cxrtool.evaluation.thresholds import (
    NO_FAMILY,
    ChosenRule,
    Rule,
    parse_rule,
    thresholds_for,
)

VALID, TRAIN = "valid", "train"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold for each label, and how they were chosen."""

    chosen: ChosenRule
    thresholds: Floats
    """(C,) on the scale of the raw scores; NaN for none."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Why labels have no threshold, as far as that is known; or one that says little."""
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """What is known of each certified threshold."""

    def choose(self, labels: Sequence[str], chosen: Sequence[str]) -> "OperatingPoint":
        """The thresholds of some of the labels that it is of, in that order."""
        places = [list(labels).index(label) for label in chosen]
        return replace(self, thresholds=self.thresholds[places])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A curve for each label that could be fitted, and why others could not."""

    method: str
    chosen_on: str
    labels: Mapping[str, Calibrator]
    left_out: Mapping[str, str] = field(default_factory=dict)
    prevalence: Mapping[str, float] = field(default_factory=dict)
    """The share of positives that each label's calibrated probabilities are of, before any move."""
    moved_to: Mapping[str, float] = field(default_factory=dict)
    """The prevalence that labels' probabilities are moved to."""

    def move(self, prevalences: Mapping[str, float]) -> "Calibration":
        """The same for a place where labels have these prevalences; all others as calibrated.

        Raises DataError for a label that is not calibrated.
        """
        for label in prevalences:
            if label not in self.labels or label not in self.prevalence:
                why = self.left_out.get(label, "its prevalence is not known")
                raise DataError(
                    f"--prevalence {label}: {self.method} does not calibrate it ({why}), so there "
                    "is no probability to move: leave it out"
                )
        labels = {}
        for label, curve in self.labels.items():
            before = self.prevalence.get(label, 0.5)
            shift = PriorShift(before, prevalences.get(label, before))
            labels[label] = replace(curve, offset=shift.log_odds)
        return replace(self, labels=labels, moved_to=dict(prevalences))

    def of_thresholds(self, labels: Sequence[str], thresholds: Floats) -> Floats:
        """The calibrated form of (C,) thresholds: the same images stay at or over them."""
        out = np.array(thresholds, np.float64)
        for column, label in enumerate(labels):
            if label not in self.labels or np.isnan(out[column]):
                continue
            below = np.nextafter(out[column], -np.inf)
            # Just above all scores, as `operating` makes it: nobody is positive.
            if np.float32(below) == below:
                out[column] = np.nextafter(float(self.labels[label](below)), np.inf)
            else:
                out[column] = float(self.labels[label](out[column]))
        return out

    def of_scores(self, labels: Sequence[str], scores: Floats) -> Floats:
        """The calibrated form of (n, C) scores; NaN stays NaN."""
        out = np.array(scores, np.float64)
        for column, label in enumerate(labels):
            if label in self.labels:
                out[:, column] = self.labels[label](out[:, column])
        return out

    def as_json(self) -> dict[str, Any]:
        """The calibration as a run's thresholds.json holds it."""
        return {
            "method": self.method,
            "labels": {label: curve.as_json() for label, curve in self.labels.items()},
            "left_out": dict(self.left_out),
            "prevalence": dict(self.prevalence),
            **({"moved_to": dict(self.moved_to)} if self.moved_to else {}),
        }


def choose_point(rule: Rule, sample: Sample, chosen_on: str) -> OperatingPoint:
    """The operating point that a rule picks on a sample; a certified one label by label.

    There is none for a label with fewer than `LEAST_PATIENTS` patients of a class, and for one
    whose scores are no scale (see `saturation`); by a certified rule for one that it cannot keep.
    """
    if rule.certified:
        found = certify_labels({rule: may_have_one(sample, chosen_on)}, sample, NO_FAMILY)
        return certified_point(rule, sample, chosen_on, NO_FAMILY, found[rule])
    without = no_thresholds(sample, chosen_on)
    thresholds = thresholds_for(rule, sample.targets, sample.scores, sample.mask)
    thresholds[[label in without for label in sample.labels]] = np.nan
    chosen = ChosenRule(rule=rule, chosen_on=chosen_on)
    return OperatingPoint(chosen=chosen, thresholds=thresholds, without=without)


def may_have_one(sample: Sample, chosen_on: str) -> list[str]:
    """The labels that a threshold can be chosen for on a sample."""
    without = no_thresholds(sample, chosen_on)
    return [label for label in sample.labels if label not in without]


def certified_point(
    rule: Rule, sample: Sample, chosen_on: str, family: str, found: Mapping[str, Certified]
) -> OperatingPoint:
    """The operating point of what a certified rule gave of some labels."""
    nothing = Certified()
    reasons = {label: f"{chosen_on} {one.reason}" for label, one in found.items() if one.reason}
    return OperatingPoint(
        chosen=ChosenRule(rule=rule, chosen_on=chosen_on, family=family),
        thresholds=np.array([found.get(one, nothing).threshold for one in sample.labels]),
        without={**no_thresholds(sample, chosen_on), **reasons},
        certificates={
            label: one.certificate for label, one in found.items() if one.certificate is not None
        },
    )


def no_thresholds(sample: Sample, chosen_on: str) -> dict[str, str]:
    """The labels that no threshold can be chosen for on a sample, and why."""
    found: dict[str, str] = {}
    patients = patients_of_classes(sample, sample.mask)
    for column, label in enumerate(sample.labels):
        # First, since more patients would not mend it.
        if reason := collapse(sample, column):
            found[label] = f"on {chosen_on} {reason}"
        for number, of_class in zip(patients[:, column], ("positive", "negative"), strict=True):
            if number < LEAST_PATIENTS:
                whom = f"{counted(int(number), 'patient')} with a {of_class}"
                found.setdefault(label, f"{chosen_on} has {whom if number else f'no {of_class}'}")
    return found


def collapse(sample: Sample, column: int) -> str:
    """Why a label's scores are no scale on a sample; empty where they are one."""
    mask = sample.mask[:, column]
    logits = None if sample.logits is None else sample.logits[mask, column]
    return collapse_of(sample.scores[mask, column], logits)


def fit_calibration(method: str, sample: Sample, chosen_on: str) -> Calibration:
    """A calibration of each label of a sample that has enough images of both classes.

    Raises:
        DataError: scores that are no probabilities.
    """
    fitted, left_out, prevalence = {}, {}, {}
    for column, label in enumerate(sample.labels):
        found = collapse(sample, column) or fit(method, *sample.column(column))
        if isinstance(found, str):
            left_out[label] = found
        else:
            fitted[label] = found
            prevalence[label] = float(sample.targets[sample.mask[:, column], column].mean())
    return Calibration(
        method=method,
        chosen_on=chosen_on,
        labels=fitted,
        left_out=left_out,
        prevalence=prevalence,
    )


def stored_point(card: RunCard) -> OperatingPoint:
    """The operating point that `predict` uses.

    Raises:
        RunError: its rule is unknown.
    """
    values = [card.thresholds[label] for label in card.labels]
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    try:
        rule = parse_rule(card.operating_point)
    except UsageError as error:
        raise RunError(
            f"thresholds.json: {error}: choose again with `cxrtool evaluate --operating-point "
            "youden --keep`"
        ) from None
    return OperatingPoint(
        chosen=ChosenRule(
            rule=rule,
            chosen_on=card.chosen_on,
            family=card.family or NO_FAMILY,
            edited=card.edited,
        ),
        thresholds=numbers,
        without=card.without,
        certificates={
            label: Certificate(**of.model_dump()) for label, of in card.certificates.items()
        },
    )


def stored_calibration(stored: Mapping[str, Any] | None) -> Calibration | None:
    """The calibration that `predict` uses, as thresholds.json, or an exported model, holds it.

    Raises:
        RunError: what is stored is none.
    """
    if stored is None:
        return None
    try:
        return Calibration(
            method=str(stored["method"]),
            chosen_on=TRAIN if stored["method"] == PRIOR else VALID,
            labels={
                str(label): Calibrator.from_json(values)
                for label, values in stored["labels"].items()
            },
            left_out=dict(stored.get("left_out", {})),
            prevalence={str(k): float(v) for k, v in stored.get("prevalence", {}).items()},
            moved_to={str(k): float(v) for k, v in stored.get("moved_to", {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        raise RunError(
            f"thresholds.json holds no calibration that can be read ({error}): remove it with "
            "`cxrtool evaluate --calibrate none --keep`, or fit it again"
        ) from None
