"""From scores and truth to the whole result of an evaluation, whoever made the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError
from cxrtool.evaluation.bootstrap import Draws, draw_patients
from cxrtool.evaluation.intervals import LEAST_PATIENTS, LEVEL
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint, collapse
from cxrtool.evaluation.references import sort_references
from cxrtool.evaluation.reliability import brier_score, expected_calibration_error
from cxrtool.evaluation.sample import Sample, assess, json_number
from cxrtool.evaluation.saturation import collapse_warnings
from cxrtool.evaluation.subgroups import assess_groups

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An evaluation: its figures as JSON has them, and what pictures and comparisons need."""

    values: dict[str, Any]
    sample: Sample
    """Calibrated, where a calibration was asked for."""
    raw: Sample
    thresholds: Floats
    """(C,) on the scale of `sample`."""
    draws: Draws | None
    warnings: tuple[str, ...]
    """What scoring itself found; `values` has also what was known before."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What is said of a result beside its figures."""

    run: str
    split: str | None
    protocol: dict[str, Any]
    unit: str
    aggregate: str | None
    dataset: str
    """`chexpert`, where the truth is that of CheXpert's own tables; otherwise in words."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Where the images are from: `origin` and `description`; empty where nobody knows."""
    warnings: tuple[str, ...] = ()


def score_sample(
    sample: Sample,
    about: About,
    *,
    point: OperatingPoint | None,
    calibration: Calibration | None,
    replicates: int,
    seed: int,
) -> Scored:
    """Score a sample: figures, subgroups, references; the keys are those of `evaluate --json`.

    Raises:
        DataError: a score that counts is not finite, or is no probability and was to be
            calibrated.
    """
    none = np.full(len(sample.labels), np.nan)
    thresholds = none if point is None else point.thresholds
    raw = sample
    if calibration is not None:
        if not sample.probabilities:
            raise DataError("scores outside 0 to 1 cannot be calibrated: leave --calibrate out")
        scores = calibration.of_scores(sample.labels, sample.scores)
        sample = replace(sample, scores=scores)
        thresholds = calibration.of_thresholds(sample.labels, thresholds)
    draws = draw_patients(sample.patients, replicates=replicates, seed=seed) if replicates else None
    figures = assess(sample, thresholds, draws)
    same, other = sort_references(
        about.protocol,
        dataset=about.dataset,
        unit=about.unit,
        rows=len(sample.keys),
        labels=sample.labels,
    )
    found = (
        *_few(figures["labels"], figures["defined"]),
        *collapse_warnings({label: collapse(raw, at) for at, label in enumerate(raw.labels)}),
        *_without_threshold(figures["labels"], point),
        *_not_calibrated(raw.labels, calibration),
    )
    values = {
        "run": about.run,
        "split": about.split,
        "protocol": about.protocol,
        "data": dict(about.data),
        "unit": about.unit,
        "aggregate": about.aggregate,
        "n": figures.pop("n"),
        "patients": figures.pop("patients"),
        "operating_point": None
        if point is None
        else {"rule": point.rule, "chosen_on": point.chosen_on},
        "calibration": None if calibration is None else _told(calibration, raw),
        "intervals": _intervals(draws),
        **figures,
        "subgroups": assess_groups(sample, thresholds, draws),
        "references": {
            "same": [reference.as_json() for reference in same],
            "other": [{**reference.as_json(), "why": why} for reference, why in other],
        },
        "warnings": [*about.warnings, *found],
    }
    return Scored(
        values=values, sample=sample, raw=raw, thresholds=thresholds, draws=draws, warnings=found
    )


def tell_warnings(scored: Sequence[Scored], reporter: Reporter) -> None:
    """Warn of what scoring found: once of what was found of all, else with whose it is."""
    owners: dict[str, list[str]] = {}
    for one in scored:
        for text in one.warnings:
            owners.setdefault(text, []).append(str(one.values["run"]))
    for text, names in owners.items():
        whose = "" if len(names) == len(scored) else f"{', '.join(names)}: "
        reporter.warn(f"{whose}{text}")


def _intervals(draws: Draws | None) -> dict[str, Any] | None:
    if draws is None:
        return None
    return {
        "level": LEVEL,
        "resampled": "patients",
        "replicates": draws.replicates,
        "seed": draws.seed,
    }


def _told(calibration: Calibration, raw: Sample) -> dict[str, Any]:
    """The calibration for JSON, with what the raw probabilities of its labels were like."""
    before = {}
    for column, label in enumerate(raw.labels):
        if label in calibration.labels and raw.mask[:, column].any():
            of_label = raw.targets[:, column], raw.scores[:, column], raw.mask[:, column]
            before[label] = {
                "brier": json_number(brier_score(*of_label)),
                "ece": json_number(expected_calibration_error(*of_label)),
            }
    return {
        "method": calibration.method,
        "chosen_on": calibration.chosen_on,
        "left_out": dict(calibration.left_out),
        "before": before,
        "labels": {label: curve.as_json() for label, curve in calibration.labels.items()},
    }


def _few(labels: Mapping[str, Mapping[str, Any]], defined: int) -> list[str]:
    if not defined:
        return ["no label has both a positive and a negative here: there is nothing to score"]
    few = [
        label
        for label, figures in labels.items()
        if figures["auroc"] is not None and figures["positive_patients"] < LEAST_PATIENTS
    ]
    if not few:
        return []
    return [
        f"fewer than {LEAST_PATIENTS} patients with a positive: {', '.join(few)}: "
        "such a label's scores say next to nothing"
    ]


def _without_threshold(
    labels: Mapping[str, Mapping[str, Any]], point: OperatingPoint | None
) -> list[str]:
    if point is None:
        return []
    able = [label for label, figures in labels.items() if figures["auroc"] is not None]
    told = {
        label: f"{label} ({point.without[label].replace(' has ', ': ', 1)})"
        if label in point.without
        else label
        for label in able
    }
    without = [told[label] for label in able if labels[label]["threshold"] is None]
    doubtful = [
        told[label]
        for label in able
        if labels[label]["threshold"] is not None and label in point.without
    ]
    warnings = []
    if without:
        warnings.append(f"no threshold for {', '.join(without)}")
    if doubtful:
        warnings.append(f"thresholds that say little: {', '.join(doubtful)}")
    return warnings


def _not_calibrated(labels: Sequence[str], calibration: Calibration | None) -> list[str]:
    """A warning a reason: the probabilities of these labels are the network's own."""
    if calibration is None:
        return []
    reasons: dict[str, list[str]] = {}
    for label in labels:
        if label in calibration.left_out:
            reasons.setdefault(calibration.left_out[label], []).append(label)
    return [
        f"{calibration.method} left the probabilities of {', '.join(those)} as they were: {reason}"
        for reason, those in reasons.items()
    ]
