"""Operating points and calibrations of all labels: chosen on a sample, stored with a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.calibration import Calibrator, fit
from cxrtool.errors import DataError, RunError, first_few
from cxrtool.operating import Rule, thresholds_for
from cxrtool.runs import RunCard
from cxrtool.scoring import Sample

Floats = NDArray[np.float64]
VALID = "valid"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold for each label, and how they were chosen."""

    rule: str
    chosen_on: str
    thresholds: Floats
    """(C,) on the scale of the raw scores; NaN for none."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A curve for each label that could be fitted, and why others could not."""

    method: str
    chosen_on: str
    labels: Mapping[str, Calibrator]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def of_thresholds(self, labels: Sequence[str], thresholds: Floats) -> Floats:
        """The calibrated form of (C,) thresholds: the same images stay at or over them."""
        out = np.array(thresholds, np.float64)
        for column, label in enumerate(labels):
            if label not in self.labels or np.isnan(out[column]):
                continue
            below = np.nextafter(out[column], -np.inf)
            if np.float32(below) == below:  # just above the highest score: nobody is positive
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
        }


def choose_point(rule: Rule, sample: Sample, chosen_on: str) -> OperatingPoint:
    """The operating point that a rule picks on a sample."""
    return OperatingPoint(
        rule=str(rule),
        chosen_on=chosen_on,
        thresholds=thresholds_for(rule, sample.targets, sample.scores, sample.mask),
    )


def fit_calibration(method: str, sample: Sample, chosen_on: str) -> Calibration:
    """A calibration of each label of a sample that has enough images of both classes.

    Raises:
        DataError: scores that are no probabilities.
    """
    fitted, left_out = {}, {}
    for column, label in enumerate(sample.labels):
        of_label = sample.targets[:, column], sample.scores[:, column], sample.mask[:, column]
        found = fit(method, *of_label)
        if isinstance(found, str):
            left_out[label] = found
        else:
            fitted[label] = found
    return Calibration(method=method, chosen_on=chosen_on, labels=fitted, left_out=left_out)


def stored_point(card: RunCard) -> OperatingPoint:
    """The operating point that `predict` uses."""
    values = [card.thresholds[label] for label in card.labels]
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    told = f", edited by hand for {first_few(card.edited)}" if card.edited else ""
    return OperatingPoint(rule=f"{card.operating_point}{told}", chosen_on=VALID, thresholds=numbers)


def stored_calibration(card: RunCard) -> Calibration | None:
    """The calibration that `predict` uses, if any.

    Raises:
        RunError: what is stored is none.
    """
    return None if card.calibration is None else calibration_of(card.calibration)


def calibration_of(stored: Mapping[str, Any]) -> Calibration:
    """A calibration as thresholds.json, or an exported model, holds it.

    Raises:
        RunError: what is stored is none.
    """
    try:
        return Calibration(
            method=str(stored["method"]),
            chosen_on=VALID,
            labels={
                str(label): Calibrator.from_json(values)
                for label, values in stored["labels"].items()
            },
            left_out=dict(stored.get("left_out", {})),
        )
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        raise RunError(
            f"thresholds.json holds no calibration that can be read ({error}): remove it with "
            "`cxrtool evaluate --calibrate none --keep`, or fit it again"
        ) from None
