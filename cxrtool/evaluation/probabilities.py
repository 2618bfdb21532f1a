"""What a sample's scores are worth as probabilities, label by label: calibration, net benefit."""

from dataclasses import dataclass

import numpy as np

from cxrtool.core.numbers import Estimate, or_none
from cxrtool.evaluation.bootstrap import Draws
from cxrtool.evaluation.calibration_measures import CalibrationCurve, measure_calibration
from cxrtool.evaluation.intervals import LEVEL
from cxrtool.evaluation.net_benefit import DecisionCurve, decision_curve
from cxrtool.evaluation.reliability import brier_score, expected_calibration_error
from cxrtool.evaluation.result import CalibrationError
from cxrtool.evaluation.sample import Sample


@dataclass(frozen=True, kw_only=True)
class ProbabilityScores:
    """One label's figures; None where the data do not define one."""

    error: CalibrationError
    intercept: Estimate
    slope: Estimate
    curve: CalibrationCurve | None
    decision: DecisionCurve | None


NOTHING = ProbabilityScores(
    error=CalibrationError(None, None),
    intercept=Estimate(),
    slope=Estimate(),
    curve=None,
    decision=None,
)
"""Of scores that are no probabilities, or that no truth goes with."""


def assess_probabilities(sample: Sample, draws: Draws | None) -> list[ProbabilityScores]:
    """Each label's figures, in the sample's order; all None for scores that are no probabilities.

    With draws of the sample's patients there are intervals; they are computed, not drawn (see
    `calibration_measures`). Raises DataError for a score that counts and is not finite.
    """
    if not sample.probabilities:
        return [NOTHING for _ in sample.labels]
    level = None if draws is None else LEVEL
    whom = np.unique(sample.patients, return_inverse=True)[1] if draws is None else draws.patient_of
    found = []
    for at in range(len(sample.labels)):
        if not sample.mask[:, at].any():
            found.append(NOTHING)
            continue
        of_label = sample.column(at)
        measures = measure_calibration(*of_label, whom, level)
        found.append(
            ProbabilityScores(
                error=calibration_error(sample, at),
                intercept=measures.intercept,
                slope=measures.slope,
                curve=measures.curve,
                decision=decision_curve(*of_label, whom, level=level),
            )
        )
    return found


def calibration_error(sample: Sample, at: int) -> CalibrationError:
    """How far probabilities are from what comes true; None for scores that are none."""
    if not sample.probabilities or not sample.mask[:, at].any():
        return CalibrationError(None, None)
    of_label = sample.column(at)
    return CalibrationError(
        or_none(brier_score(*of_label)), or_none(expected_calibration_error(*of_label))
    )
