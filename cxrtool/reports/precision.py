"""What difference a test part can resolve, and how many patients a finer claim would need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cxrtool.core.numbers import Estimate
from cxrtool.evaluation.result import EvaluationResult, LabelScores

FINE = (0.05, 0.02)
"""Differences of AUROC that papers speak of."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How sharp one AUROC is."""

    label: str
    patients: int
    """Of the rarer class."""
    half: float
    """Half the width of its interval."""
    needed: Sequence[int | None]
    """How many patients of that class would make it as narrow as each of `FINE`; None: these do."""


def half_width(one: Estimate) -> float | None:
    """Half an interval's width; None where there is none."""
    return None if one.interval is None else (one.interval[1] - one.interval[0]) / 2


def precision_of(result: EvaluationResult) -> list[Precision]:
    """Each label's precision, where there are intervals.

    An interval's width goes with one over the root of the number of patients, of the rarer class
    above all (Hanley & McNeil 1982, Radiology 143:29-36): for half the width, four times as many.
    """
    found = []
    for label, one in result.labels.items():
        half, patients = half_width(one.auroc), rarer(one)
        if half is None or not patients:
            continue
        needed = [
            None if half <= wanted else math.ceil(round(patients * (half / wanted) ** 2, 6))
            for wanted in FINE
        ]
        found.append(Precision(label=label, patients=patients, half=half, needed=needed))
    return found


def rarer(one: LabelScores) -> int:
    """How many patients a label's rarer class has."""
    others = one.negative_patients
    return one.positive_patients if others is None else min(one.positive_patients, others)
