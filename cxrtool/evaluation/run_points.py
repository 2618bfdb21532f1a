"""A run's operating points and calibration: chosen on valid, stored in its thresholds.json."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.errors import RunError, UsageError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.numbers import or_none
from cxrtool.core.run_cards import RunCard, sealed_thresholds
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import read_manifest
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.data.run_predictions import doubt_of
from cxrtool.evaluation.operating_points import (
    VALID,
    Calibration,
    OperatingPoint,
    choose_point,
    stored_point,
)
from cxrtool.evaluation.run_calibration import chosen_calibration
from cxrtool.evaluation.run_part import own_workspace
from cxrtool.evaluation.sample import Sample, by_study
from cxrtool.evaluation.thresholds import parse_rule
from cxrtool.evaluation.truth import sample_of_rows

NOTHING = (None, None, None)


def chosen_points(
    run: RunFolder, card: RunCard, workspace: Workspace, config: EvaluateConfig
) -> tuple[OperatingPoint, Calibration | None]:
    """The thresholds and the calibration that a run is scored with.

    What is not asked for is as the run has it stored. What is, is chosen on the run's own valid
    part under the policies of its training, and stored with it; `config.keep` makes it what
    `predict` uses.

    Raises:
        UsageError: no such rule, or studies' thresholds were to be kept for images.
        RunError: the scores on valid, or the manifest of the training, are not there.
    """
    if config.keep and config.unit != "image":
        raise UsageError("--keep: `predict` scores images, so thresholds of studies are not kept")
    if config.keep and (config.operating_point, config.calibrate, config.prevalence) == NOTHING:
        raise UsageError(
            "--keep: say what to keep, with --operating-point, --calibrate or --prevalence"
        )
    point, rule = stored_point(card), config.operating_point
    if config.unit != "image":
        # What is stored was chosen on images; studies get their own by the same rules.
        rule = rule or card.operating_point
    valid = cache(lambda: _valid_sample(run, card, workspace, config))
    calibration = chosen_calibration(run, card, config, valid)
    if rule is not None:
        point = choose_point(parse_rule(rule), valid(), VALID)
        _store(run, card, point, config)
    if config.keep:
        _keep(run, card, point, calibration)
    return point, calibration


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


def _store(run: RunFolder, card: RunCard, point: OperatingPoint, config: EvaluateConfig) -> None:
    """Add a point to those that the run has, beside the one that `predict` uses."""
    of_studies = f", study {config.aggregate}" if config.unit == "study" else ""
    points = read_json(run.thresholds).get("operating_points", {})
    name = f"{point.chosen.rule}{of_studies}"
    _change(run, card, {"operating_points": {**points, name: _of_labels(card, point)}})


def _keep(
    run: RunFolder, card: RunCard, point: OperatingPoint, calibration: Calibration | None
) -> None:
    """Make `predict` use a point and a calibration."""
    kept = {
        "operating_point": str(point.chosen.rule),
        "thresholds": _of_labels(card, point),
        "calibration": None if calibration is None else calibration.as_json(),
        "without": dict(point.without),
    }
    _change(run, card, kept)


def _change(run: RunFolder, card: RunCard, values: Mapping[str, object]) -> None:
    """Put values into the run's thresholds.json, in place of those of the same keys."""
    stored = {key: value for key, value in read_json(run.thresholds).items() if key != "format"}
    write_json(run.thresholds, sealed_thresholds({**stored, **values}, card.weights_sha256))
