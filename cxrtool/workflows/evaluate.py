"""`evaluate`: a run's scores on a part of the split, with all that a reviewer would ask for."""

from dataclasses import replace

import numpy as np

from cxrtool.core.config import SOFT, EvaluateConfig, TruthConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.run_cards import MENDING, sampling_remark
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import divided
from cxrtool.data.manifest import ABOUT
from cxrtool.data.prediction_rows import write_rows
from cxrtool.data.prediction_tables import Predictions, predictions_of, read_predictions
from cxrtool.data.run_predictions import doubt_of, is_bound, seal_predictions
from cxrtool.evaluation.operating_points import Calibration, OperatingPoint
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.evaluation.run_part import Part, choose_part
from cxrtool.evaluation.run_points import chosen_points
from cxrtool.evaluation.sample import by_study
from cxrtool.evaluation.scoring import About, Scored, score_sample, tell_warnings
from cxrtool.evaluation.subgroups import known_groups
from cxrtool.evaluation.truth import sample_of_rows, wanted_columns
from cxrtool.networks.published_runs import run_of
from cxrtool.reports.files import write_evaluation


def evaluate_run(
    config: EvaluateConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> EvaluationResult:
    """Score a run on a part of the split; predictions that are missing are made first.

    Figures, tables and the page go to the run's folder.

    Raises:
        RunError: no such run, or it is incomplete or altered.
        DataError: no such part, or it holds patients that the run was trained on.
        UsageError: no such policy, rule or column.
    """
    others = ("truth", "key", "valid_predictions", "valid_truth", "output")
    given = [f"--{name.replace('_', '-')}" for name in others if getattr(config, name)]
    if given:
        raise UsageError(
            f"{first_few(given)}: goes with --predictions; a run is scored on its workspace, and "
            "its files are written into its folder"
        )
    part = choose_part(run_of(workspace.runs, config.run, reporter), config, workspace, reporter)
    point, calibration = chosen_points(part.run, part.card, workspace, config)
    if part.card.published is not None and not np.isfinite(point.thresholds).any():
        reporter.note(
            f"{part.run.name} has no thresholds: score it on valid (`cxrtool evaluate "
            f"{part.run.name} --split valid`), and `--operating-point youden --keep` chooses some"
        )
    inflated = sampling_remark(part.run, part.card)
    if inflated is not None and (calibration is None or calibration.method not in MENDING):
        reporter.warn(inflated)
        part = replace(part, warnings=(*part.warnings, inflated))
    scored = score_part(part, config, point, calibration, seed=seed, reporter=reporter)
    tell_warnings([scored], reporter)
    with reporter.busy("drawing"):
        written = write_evaluation(scored, part, reporter, report=config.report)
    return replace(scored.result, written=tuple(written))


def score_part(
    part: Part,
    config: TruthConfig,
    point: OperatingPoint | None = None,
    calibration: Calibration | None = None,
    *,
    seed: int,
    reporter: Reporter,
) -> Scored:
    """Score a run on its part, as images or as studies; without a point, by ranks alone."""
    predictions = run_scores(part, config, reporter)
    columns = wanted_columns(config) if isinstance(config, EvaluateConfig) else []
    about = part.rows[[name for name in part.rows.columns if name in ABOUT]]
    sample = sample_of_rows(
        part.rows,
        part.card,
        part.protocol.uncertainty,
        part.protocol.blank,
        predictions,
        known_groups(about, columns),
    )
    if config.unit == "study":
        sample = by_study(sample, config.aggregate)
    return score_sample(
        sample,
        About(
            run=part.run.name,
            split=config.split,
            protocol=part.protocol,
            unit=config.unit,
            aggregate=config.aggregate if config.unit == "study" else None,
            origin=part.info.origin,
            warnings=part.warnings,
            divided=_divided(part),
        ),
        point=point,
        calibration=calibration,
        replicates=config.bootstrap,
        seed=seed,
    )


def _divided(part: Part) -> int | None:
    """On how many of the run's labels readers are evenly divided; None: these are no shares."""
    if part.info.readers != SOFT:
        return None
    labels = [label for label in part.card.labels if label in part.rows.columns]
    return divided(part.rows[labels].to_numpy(dtype=float))


def run_scores(part: Part, config: TruthConfig, reporter: Reporter) -> Predictions:
    """The run's scores of its part's images, kept in the run; made where one is missing."""
    paths = part.rows["path"].tolist()
    file = part.run.predictions(part.scores_stem)
    doubt = doubt_of(part.run, part.card, part.scores_stem) if file.is_file() else ""
    if doubt:
        reporter.warn(f"{file} is not known to be of this run's weights ({doubt}): scoring again")
    elif file.is_file():
        if not is_bound(part.run, part.card, part.scores_stem):
            reporter.warn(f"{file} is of version 0.1, and nothing says of which weights it is")
        kept = read_predictions(file, part.card.labels)
        if set(paths) <= set(kept.scores.index):
            reporter.note(f"scores of {file}")
            return kept.of(paths)
        reporter.note(f"{file} lacks images of {config.split}: scoring them again")
    # Only here is torch needed: scores that are there are read without it.
    with reporter.busy("loading torch"):
        from cxrtool.inference.engines.base import Compute
        from cxrtool.inference.ensemble import Ensemble
        from cxrtool.inference.scorer import load_scorer

        compute = Compute(
            engine="torch", device=config.device, precision=config.precision, images=len(paths)
        )
        scorer = load_scorer(part.run, compute)
    # The file holds what the network says; a calibration is applied where scores are read.
    ensemble = Ensemble(members=(replace(scorer, calibration=None),))
    reporter.note(f"scoring with {ensemble.description}")
    files = [part.info.folder / path for path in paths]
    rows = []
    with reporter.steps("scoring", len(files)) as advance:
        scored = ensemble.score(paths, files, batch_size=config.batch_size, workers=config.workers)
        for one in scored:
            rows.append(one.row)
            advance(1)
    failed = [f"{row.path}: {row.error}" for row in rows if row.error]
    if failed:
        raise DataError(
            f"{len(failed)} images of {config.split} cannot be read ({first_few(failed)}): "
            "run `cxrtool prepare` again"
        )
    write_rows(rows, file, part.card.labels, logits=True)
    seal_predictions(part.run, part.scores_stem, part.card.weights_sha256)
    return predictions_of(rows, part.card.labels)
