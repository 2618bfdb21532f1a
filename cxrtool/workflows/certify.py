"""`certify`: a run's certified thresholds, chosen anew on a sample of the place where it is used.

A promise holds for patients like those that it was seen on. Those of another house are others: its
own images, labelled, keep it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrtool.core.config import CertifyConfig, EvaluateConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.json_files import JsonResult
from cxrtool.core.numbers import or_none
from cxrtool.core.run_cards import RunCard
from cxrtool.core.workspace import Workspace
from cxrtool.evaluation.certificates import Certificate
from cxrtool.evaluation.choices import Wanted
from cxrtool.evaluation.decisions import without_verdict
from cxrtool.evaluation.operating_points import (
    OperatingPoint,
    stored_calibration,
    stored_point,
)
from cxrtool.evaluation.run_part import choose_external
from cxrtool.evaluation.run_points import keep_chosen, store_point
from cxrtool.evaluation.sample import Sample
from cxrtool.evaluation.shared_labels import SharedLabels
from cxrtool.evaluation.triage import NO_TRIAGE, Triage, stored_triage
from cxrtool.evaluation.truth import sample_of_rows
from cxrtool.inference.part_scores import run_scores
from cxrtool.workflows.external import open_run, prepare_other, with_warnings


@dataclass(frozen=True, kw_only=True)
class CertifyResult(JsonResult):
    """What was certified of a run, and on whom."""

    run: str
    sample: str
    """The name of the table, or of the folder, that the images are of."""
    images: int
    patients: int
    operating_point: str | None
    """The certified rule; None where only a triage was chosen."""
    family: str
    conditions: tuple[str, ...]
    """What the promises rest on, in words."""
    thresholds: Mapping[str, float | None]
    """By the operating point, on the scale of the network's own probabilities."""
    certificates: Mapping[str, Certificate]
    without: Mapping[str, str]
    triage: Triage | None
    written: Path


def certify_run(
    config: CertifyConfig, workspace: Workspace, reporter: Reporter = SILENT
) -> CertifyResult:
    """Choose a run's certified thresholds on local images, and make `predict` use them.

    The images are prepared as another data set, in the run's workspace, and scored; of the run's
    own data, and of what it was trained or chosen on, nothing is certified. What is not asked for
    stays as it is stored.

    Raises:
        UsageError: nothing to certify, or no table.
        RunError: no such run, or it is incomplete or altered.
        DataError: no data set, no label in common, or patients that the run has seen.
    """
    wanted = _wanted(config)
    place = _place(config)
    scoring = EvaluateConfig(
        run=config.run,
        format=config.format,
        uncertainty=config.uncertainty,
        blank=config.blank,
        batch_size=config.batch_size,
        device=config.device,
        precision=config.precision,
        workers=config.workers,
        by="none",
    )
    model = open_run(scoring, workspace, reporter)
    data = prepare_other(place, place.resolve().name, scoring, model, reporter)
    part, labels = choose_external(
        model.run, model.card, data.workspace, data.name, scoring, reporter
    )
    part = with_warnings(part, data, model, reporter)
    protocol = part.protocol
    predictions = run_scores(part, scoring, reporter)
    sample = sample_of_rows(
        part.rows, model.card, protocol.uncertainty, protocol.blank, predictions, {}
    )
    point, triage = wanted.choose(sample.choose(labels.common), data.name)
    if point is not None:
        point = _of_all_labels(point, model.card, labels, data.name)
        store_point(model.run, model.card, point)
    _tell(point, triage, model.card, reporter)
    before = None if config.triage == NO_TRIAGE else stored_triage(model.card.triage)
    keep_chosen(
        model.run,
        model.card,
        point or stored_point(model.card),
        stored_calibration(model.card.calibration),
        triage or before,
    )
    return _result(model.run.name, sample, data.name, wanted, point, triage, model.run.thresholds)


def _wanted(config: CertifyConfig) -> Wanted:
    wanted = Wanted.of(config.operating_point, config.triage, config.family)
    if wanted.rule is not None and not wanted.rule.certified:
        raise UsageError(
            f"--operating-point {wanted.rule} promises nothing that a local sample could keep: "
            "give a certified rule, as certified-sensitivity=0.9"
        )
    if not wanted.certified:
        raise UsageError(
            "certify: say what to promise, with --operating-point certified-sensitivity=0.9 or "
            "with --triage certified-npv=0.98,certified-ppv=0.5"
        )
    return wanted


def _place(config: CertifyConfig) -> Path:
    if config.truth is None:
        raise UsageError("certify: name the table of the local images with --truth CSV")
    if not config.truth.exists():
        raise DataError(f"--truth {config.truth}: there is no such table, folder or workspace")
    return config.truth


def _of_all_labels(
    point: OperatingPoint, card: RunCard, labels: SharedLabels, name: str
) -> OperatingPoint:
    """A point of the labels that the sample has, as one of all labels of the run."""
    found = dict(zip(labels.common, point.thresholds.tolist(), strict=True))
    absent = {one: f"{name} has no such label" for one in card.labels if one not in found}
    thresholds = np.array([found.get(label, np.nan) for label in card.labels])
    return replace(point, thresholds=thresholds, without={**absent, **point.without})


def _tell(
    point: OperatingPoint | None, triage: Triage | None, card: RunCard, reporter: Reporter
) -> None:
    """Warn of the labels for which a promise cannot be kept."""
    if point is not None:
        for label, why in point.without.items():
            reporter.warn(f"no threshold for {label}: {why}")
    if triage is not None:
        for text in without_verdict(triage.without, card.labels):
            reporter.warn(text)


def _result(
    run: str,
    sample: Sample,
    name: str,
    wanted: Wanted,
    point: OperatingPoint | None,
    triage: Triage | None,
    written: Path,
) -> CertifyResult:
    numbers = {} if point is None else dict(zip(sample.labels, point.thresholds, strict=True))
    conditions = [] if point is None else [point.chosen.condition]
    if triage is not None:
        conditions += list(triage.conditions)
    return CertifyResult(
        run=run,
        sample=name,
        images=len(sample.keys),
        patients=len(np.unique(sample.patients)),
        operating_point=None if point is None else str(point.chosen.rule),
        family=wanted.family,
        conditions=tuple(dict.fromkeys(conditions)),
        thresholds={label: or_none(float(value)) for label, value in numbers.items()},
        certificates={} if point is None else point.certificates,
        without={} if point is None else point.without,
        triage=triage,
        written=written,
    )
