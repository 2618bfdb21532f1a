"""A run's operating points and calibration: chosen on valid, stored in its thresholds.json."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import RunError, UsageError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.json_files import plain, read_json, write_json
from cxrtool.core.numbers import or_none
from cxrtool.core.run_cards import RunCard, name_of_point, sealed_thresholds
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import read_manifest
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.data.run_predictions import doubt_of
from cxrtool.evaluation.choices import Chosen, Wanted
from cxrtool.evaluation.operating_points import (
    VALID,
    Calibration,
    OperatingPoint,
    stored_point,
)
from cxrtool.evaluation.run_calibration import chosen_calibration
from cxrtool.evaluation.run_part import own_workspace
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.triage import NO_TRIAGE, Triage, stored_triage
from cxrtool.evaluation.truth import sample_of_rows


def chosen_points(
    run: RunFolder, card: RunCard, workspace: Workspace, config: EvaluateConfig
) -> Chosen:
    """The thresholds and the calibration that a run is scored with.

    What is not asked for is as the run has it stored. What is, is chosen on the run's own valid
    part under the policies of its training, and stored with it; `config.keep` makes it what
    `predict` uses.

    Raises:
        UsageError: no such rule, or studies' thresholds were to be kept for images.
        RunError: the scores on valid, or the manifest of the training, are not there.
    """
    _check_keep(config)
    point, triage = stored_point(card), stored_triage(card.triage)
    rule, parts = config.operating_point, config.triage
    if config.unit != "image":
        # What is stored was chosen on images; studies get their own by the same rules.
        rule, parts = rule or card.operating_point, parts or (str(triage.rules) if triage else None)
    triage = None if parts == NO_TRIAGE else triage
    wanted = Wanted.of(rule, parts, config.family or card.family)
    wanted.check_family(config.family)
    valid = cache(lambda: _valid_sample(run, card, workspace, config))
    calibration = chosen_calibration(run, card, config, valid)
    if wanted.rule or wanted.triage:
        new_point, new_triage = wanted.choose(valid(), VALID)
        triage = new_triage or triage
        if new_point is not None:
            point = new_point
            studies = f", study {config.aggregate}" if config.unit == "study" else ""
            store_point(run, card, point, studies)
    if config.keep:
        keep_chosen(run, card, point, calibration, triage)
    return Chosen(point=point, calibration=calibration, triage=triage)


def _check_keep(config: EvaluateConfig) -> None:
    if config.keep and config.unit != "image":
        raise UsageError("--keep: `predict` scores images, so thresholds of studies are not kept")
    asked = (config.operating_point, config.triage, config.calibrate, config.prevalence)
    if config.keep and not any(one is not None for one in asked):
        raise UsageError(
            "--keep: say what to keep, with --operating-point, --triage, --calibrate or "
            "--prevalence"
        )


def _valid_sample(
    run: RunFolder, card: RunCard, workspace: Workspace, config: EvaluateConfig
) -> Sample:
    """The run's own scores on its own valid part, and the truth of its training."""
    stem = VALID
    if card.published is not None:  # of its own training there is no valid part: that of these data
        stem = f"{VALID}-{sha256(workspace.need(workspace.manifest, 'prepare'))[:8]}"
    file = run.predictions(stem)
    if not file.is_file():
        raise RunError(
            f"{file} is missing, and operating points are chosen on it: restore it from a copy, "
            f"or run `cxrtool evaluate {run.name} --split valid`"
        )
    if doubt := doubt_of(run, card, stem):
        raise RunError(
            f"{file} is not known to be of this run's weights ({doubt}), and operating points are "
            f"chosen on it: restore it from a copy, or run `cxrtool evaluate {run.name} --split "
            f"{VALID}`, which scores again"
        )
    predictions = read_predictions(file, card.labels)
    paths = predictions.scores.index
    manifest = read_manifest(_own_manifest(run, card, workspace)).set_index("path", drop=False)
    absent = paths.difference(manifest.index).tolist()
    if absent:
        raise RunError(
            f"{file}: {len(absent)} images are not in the manifest ({first_few(absent)}): "
            "it is not of the run's training"
        )
    rows = manifest.loc[paths].reset_index(drop=True)
    sample = sample_of_rows(rows, card, card.uncertainty, card.blank, predictions, {})
    return by_study(sample, config.aggregate) if config.unit == "study" else sample


def _own_manifest(run: RunFolder, card: RunCard, workspace: Workspace) -> Path:
    """The manifest that the run was trained with, also where another data set is scored."""
    if card.published is not None:
        return workspace.manifest
    own = own_workspace(run, card, workspace)
    if own is None:
        raise RunError(
            f"the manifest that {run.name} was trained with is neither {workspace.manifest} nor "
            f"{Workspace(run.path.parent.parent).manifest}: operating points and calibration need "
            "its labels of valid"
        )
    return own.manifest


def _of_labels(card: RunCard, point: OperatingPoint) -> dict[str, float | None]:
    numbers = zip(card.labels, point.thresholds, strict=True)
    return {label: or_none(float(value)) for label, value in numbers}


def store_point(run: RunFolder, card: RunCard, point: OperatingPoint, of_studies: str = "") -> None:
    """Add a point to those that the run has, beside the one that `predict` uses."""
    chosen = point.chosen
    name = name_of_point(str(chosen.rule), chosen.family, chosen.chosen_on)
    points = read_json(run.thresholds).get("operating_points", {})
    stored = {**points, f"{name}{of_studies}": _of_labels(card, point)}
    _change(run, card, {"operating_points": stored})


def keep_chosen(
    run: RunFolder,
    card: RunCard,
    point: OperatingPoint,
    calibration: Calibration | None,
    triage: Triage | None,
) -> None:
    """Make `predict` use a point, a triage and a calibration."""
    kept: dict[str, object] = {
        "operating_point": str(point.chosen.rule),
        "chosen_on": point.chosen.chosen_on,
        "thresholds": _of_labels(card, point),
        "calibration": None if calibration is None else calibration.as_json(),
        "without": dict(point.without),
        # Of runs that promise nothing the file is as it was.
        "family": point.chosen.family if point.chosen.rule.certified else None,
        "certificates": plain(point.certificates) or None,
        "triage": None if triage is None else triage.as_json(),
    }
    optional = ("family", "certificates", "triage")
    absent = [name for name in optional if kept[name] is None]
    _change(run, card, {name: kept[name] for name in kept if name not in absent}, without=absent)


def _change(
    run: RunFolder, card: RunCard, values: Mapping[str, object], without: Sequence[str] = ()
) -> None:
    """Put values into the run's thresholds.json, in place of those of the same keys."""
    stored = {
        key: value
        for key, value in read_json(run.thresholds).items()
        if key != "format" and key not in without
    }
    write_json(run.thresholds, sealed_thresholds({**stored, **values}, card.weights_sha256))
