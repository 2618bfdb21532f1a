"""From scores and truth to the whole result of an evaluation, whoever made the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, grouped
from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import Estimate, or_none, percent
from cxrtool.core.origin import Origin
from cxrtool.data.labels import COMPETITION_LABELS
from cxrtool.evaluation.areas import areas_of, defined
from cxrtool.evaluation.bootstrap import Draws, draw_patients
from cxrtool.evaluation.calibration_measures import CalibrationCurve
from cxrtool.evaluation.decisions import without_verdict
from cxrtool.evaluation.intervals import LEAST_PATIENTS, LEVEL
from cxrtool.evaluation.metrics import Floats
from cxrtool.evaluation.net_benefit import DecisionCurve
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint, collapse
from cxrtool.evaluation.prior_shift import predictive_values
from cxrtool.evaluation.probabilities import assess_probabilities, calibration_error
from cxrtool.evaluation.protocol import Protocol, dataset_of
from cxrtool.evaluation.rates import Outcomes
from cxrtool.evaluation.references import sort_references
from cxrtool.evaluation.result import (
    AppliedCalibration,
    CompetitionMean,
    EvaluationResult,
    IntervalMethod,
    LabelScores,
)
from cxrtool.evaluation.sample import Sample, patients_of_classes
from cxrtool.evaluation.saturation import collapse_warnings
from cxrtool.evaluation.subgroups import assess_groups
from cxrtool.evaluation.triage import Triage
from cxrtool.evaluation.verdicts import score_triage


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An evaluation: what it found, and what pictures and comparisons need."""

    result: EvaluationResult
    sample: Sample
    """Calibrated, where a calibration was asked for."""
    raw: Sample
    draws: Draws | None
    warnings: tuple[str, ...]
    """What scoring itself found; the result has also what was known before."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What is said of a result beside its figures."""

    run: str
    split: str | None
    protocol: Protocol
    unit: str
    aggregate: str | None
    origin: Origin
    """Where the images are from."""
    warnings: tuple[str, ...] = ()
    divided: int | None = None
    """How many label values are left out because readers are evenly divided; None: no shares."""


@dataclass(frozen=True, kw_only=True)
class Assessment(JsonResult):
    """Each label's figures, and their means."""

    labels: dict[str, LabelScores]
    mean_auroc: Estimate
    defined: int
    mean_auprc: Estimate
    competition: CompetitionMean | None
    calibration_curves: dict[str, CalibrationCurve]
    decision_curves: dict[str, DecisionCurve]
    mean_auroc_supported: Estimate
    supported: int


def score_sample(
    sample: Sample,
    about: About,
    *,
    point: OperatingPoint | None = None,
    triage: Triage | None = None,
    calibration: Calibration | None = None,
    replicates: int,
    seed: int,
) -> Scored:
    """Score a sample: figures, subgroups, references.

    Raises:
        DataError: a score that counts is not finite, or is no probability and was to be
            calibrated.
    """
    raw = sample
    thresholds = np.full(len(sample.labels), np.nan) if point is None else point.thresholds
    if calibration is not None:
        if not sample.probabilities:
            raise DataError("scores outside 0 to 1 cannot be calibrated: leave --calibrate out")
        sample = replace(sample, scores=calibration.of_scores(sample.labels, sample.scores))
        thresholds = calibration.of_thresholds(sample.labels, thresholds)
        triage = triage and triage.calibrated(calibration)
    draws = draw_patients(sample.patients, replicates=replicates, seed=seed) if replicates else None
    found = assess(sample, thresholds, draws)
    warnings = (
        *_few(found),
        *collapse_warnings({label: collapse(raw, at) for at, label in enumerate(raw.labels)}),
        *_without_threshold(found, point),
        *([] if triage is None else without_verdict(triage.without, raw.labels)),
        *_not_calibrated(raw.labels, calibration),
        *_moved(raw.labels, calibration),
    )
    result = EvaluationResult(
        run=about.run,
        split=about.split,
        protocol=about.protocol,
        data=about.origin,
        unit=about.unit,
        aggregate=about.aggregate,
        n=len(sample.keys),
        patients=len(np.unique(sample.patients)),
        operating_point=None if point is None else point.chosen,
        certificates={} if point is None else point.certificates,
        triage=None if triage is None else score_triage(triage, sample, draws),
        calibration=None if calibration is None else _applied(calibration, raw),
        intervals=_intervals(draws),
        mean_auroc=found.mean_auroc,
        defined=found.defined,
        mean_auprc=found.mean_auprc,
        competition=found.competition,
        mean_auroc_supported=found.mean_auroc_supported,
        supported=found.supported,
        labels=_elsewhere(found.labels, calibration),
        calibration_curves=found.calibration_curves,
        decision_curves=found.decision_curves,
        subgroups=assess_groups(sample, thresholds, draws),
        references=sort_references(
            about.protocol,
            dataset=dataset_of(about.protocol, about.origin),
            unit=about.unit,
            rows=len(sample.keys),
            labels=sample.labels,
        ),
        warnings=(*about.warnings, *warnings),
        divided=about.divided,
    )
    return Scored(result=result, sample=sample, raw=raw, draws=draws, warnings=warnings)


def assess(sample: Sample, thresholds: Floats, draws: Draws | None) -> Assessment:
    """All figures of a sample, but those of subgroups.

    `thresholds` (C,) are NaN for none; without draws of the sample's patients there are no
    intervals. Raises DataError for a score that counts and is not finite.
    """
    patients = patients_of_classes(sample, sample.mask)
    areas = areas_of(sample, draws)
    aurocs, auprcs = areas.aurocs(), areas.auprcs()
    outcomes = Outcomes(sample, thresholds, sample.mask, draws)
    sensitivity, specificity = outcomes.share("tp", "fn"), outcomes.share("tn", "fp")
    ppv, npv, f1 = outcomes.share("tp", "fp"), outcomes.share("tn", "fn"), outcomes.f1()
    worth = dict(zip(sample.labels, assess_probabilities(sample, draws), strict=True))
    labels = {}
    for at, label in enumerate(sample.labels):
        positive, _, mask = sample.column(at)
        n, positives = int(mask.sum()), int((positive & mask).sum())
        labels[label] = LabelScores(
            auroc=aurocs[at],
            auprc=auprcs[at],
            threshold=or_none(thresholds[at]),
            sensitivity=sensitivity.estimates[at],
            specificity=specificity.estimates[at],
            ppv=ppv.estimates[at],
            npv=npv.estimates[at],
            f1=f1[at],
            brier=worth[label].error.brier,
            ece=worth[label].error.ece,
            calibration_intercept=worth[label].intercept,
            calibration_slope=worth[label].slope,
            prevalence=positives / n if n else None,
            n=n,
            positives=positives,
            positive_patients=int(patients[0][at]),
            negative_patients=int(patients[1][at]),
            too_few=bool(patients[:, at].min() < LEAST_PATIENTS),
            **outcomes.counts(at),
            target_prevalence=None,
            target_ppv=Estimate(),
            target_npv=Estimate(),
        )
    five = [at for at, name in enumerate(sample.labels) if name in COMPETITION_LABELS]
    columns = range(len(sample.labels))
    supported = [at for at, name in enumerate(sample.labels) if not labels[name].too_few]
    competition = CompetitionMean(
        labels=tuple(sample.labels[at] for at in five),
        mean_auroc=areas.mean_auroc(five),
        defined=len(defined(areas.auroc, five)),
    )
    return Assessment(
        labels=labels,
        mean_auroc=areas.mean_auroc(columns),
        defined=len(defined(areas.auroc, columns)),
        mean_auprc=areas.mean_auprc(columns),
        competition=competition if five else None,
        calibration_curves={label: one.curve for label, one in worth.items() if one.curve},
        decision_curves={label: one.decision for label, one in worth.items() if one.decision},
        mean_auroc_supported=areas.mean_auroc(supported),
        supported=len(defined(areas.auroc, supported)),
    )


def tell_warnings(scored: Sequence[Scored], reporter: Reporter) -> None:
    """Warn of what scoring found: once of what was found of all, else with whose it is."""
    tell_of_each([(one.result.run, one) for one in scored], reporter)


def tell_of_each(scored: Sequence[tuple[str, Scored]], reporter: Reporter) -> None:
    """The same, where each has a name beside it."""
    everybody = {name for name, _ in scored}
    owners = grouped((text, name) for name, one in scored for text in one.warnings)
    for text, names in owners.items():
        whose = "" if len(names) == len(everybody) else f"{', '.join(names)}: "
        reporter.warn(f"{whose}{text}")


def _intervals(draws: Draws | None) -> IntervalMethod | None:
    if draws is None:
        return None
    return IntervalMethod(
        level=LEVEL, resampled="patients", replicates=draws.replicates, seed=draws.seed
    )


def _applied(calibration: Calibration, raw: Sample) -> AppliedCalibration:
    return AppliedCalibration(
        method=calibration.method,
        chosen_on=calibration.chosen_on,
        left_out=dict(calibration.left_out),
        before={
            label: calibration_error(raw, at)
            for at, label in enumerate(raw.labels)
            if label in calibration.labels and raw.mask[:, at].any()
        },
        labels=dict(calibration.labels),
        moved_to=dict(calibration.moved_to),
    )


def _elsewhere(
    labels: Mapping[str, LabelScores], calibration: Calibration | None
) -> dict[str, LabelScores]:
    """The labels' figures, with PPV and NPV at the prevalences that are asked for."""
    found = dict(labels)
    for label, prevalence in (calibration.moved_to if calibration else {}).items():
        if label in found:
            one = found[label]
            ppv, npv = predictive_values(one.sensitivity, one.specificity, prevalence)
            found[label] = replace(
                one, target_prevalence=prevalence, target_ppv=ppv, target_npv=npv
            )
    return found


def _moved(labels: Sequence[str], calibration: Calibration | None) -> list[str]:
    moved = calibration.moved_to if calibration else {}
    words = [f"{label} {percent(share)}" for label, share in moved.items() if label in labels]
    return [
        f"probabilities are moved to other prevalences ({', '.join(words)}): Brier score, ECE, "
        "calibration and net benefit are of these data, which have other ones"
    ] * bool(words)


def _few(found: Assessment) -> list[str]:
    if not found.defined:
        return ["no label has both a positive and a negative here: there is nothing to score"]
    few = [
        label
        for label, one in found.labels.items()
        if one.auroc.value is not None and one.positive_patients < LEAST_PATIENTS
    ]
    warning = (
        f"fewer than {LEAST_PATIENTS} patients with a positive: {', '.join(few)}: "
        "such a label's scores say next to nothing"
    )
    return [warning] if few else []


def _without_threshold(found: Assessment, point: OperatingPoint | None) -> list[str]:
    if point is None:
        return []
    without, doubtful = [], []
    for label, one in found.labels.items():
        if one.auroc.value is None:
            continue
        reason = point.without.get(label)
        text = f"{label} ({reason.replace(' has ', ': ', 1)})" if reason is not None else label
        if one.threshold is None:
            without.append(text)
        elif reason is not None:
            doubtful.append(text)
    warnings = [f"no threshold for {', '.join(without)}"] if without else []
    return warnings + [f"thresholds that say little: {', '.join(doubtful)}"] * bool(doubtful)


def _not_calibrated(labels: Sequence[str], calibration: Calibration | None) -> list[str]:
    """A warning a reason: the probabilities of these labels are the network's own."""
    if calibration is None:
        return []
    out = calibration.left_out
    reasons = grouped((out[label], label) for label in labels if label in out)
    return [
        f"{calibration.method} left the probabilities of {', '.join(those)} as they were: {reason}"
        for reason, those in reasons.items()
    ]
