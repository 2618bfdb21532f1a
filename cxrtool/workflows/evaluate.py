"""`evaluate`: a run's scores on a part of the split, with all that a reviewer would ask for."""

from dataclasses import replace

import numpy as np

from cxrtool.core.config import EvaluateConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError, first_few
from cxrtool.core.packs import SPLITS
from cxrtool.core.run_cards import MENDING, sampling_remark
from cxrtool.core.workspace import Workspace
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.evaluation.run_part import choose_part
from cxrtool.evaluation.run_points import chosen_points
from cxrtool.evaluation.scoring import tell_warnings
from cxrtool.evaluation.tables.readings import beside_readers
from cxrtool.inference.changed_scores import with_robustness
from cxrtool.inference.part_scores import score_part
from cxrtool.networks.published_runs import run_of
from cxrtool.reports.files import write_evaluation
from cxrtool.reports.readme import write_readme


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
    if config.format != EvaluateConfig.format:
        raise UsageError(f"--format {config.format} is that of --data: name the data set there")
    part = choose_part(run_of(workspace.runs, config.run, reporter), config, workspace, reporter)
    chosen = chosen_points(part.run, part.card, workspace, config)
    point, calibration = chosen.point, chosen.calibration
    if part.card.published is not None and not np.isfinite(point.thresholds).any():
        reporter.note(
            f"{part.run.name} has no thresholds: score it on valid (`cxrtool evaluate "
            f"{part.run.name} --split valid`), and `--operating-point youden --keep` chooses some"
        )
    inflated = sampling_remark(part.run, part.card)
    if inflated is not None and (calibration is None or calibration.method not in MENDING):
        reporter.warn(inflated)
        part = replace(part, warnings=(*part.warnings, inflated))
    scored = score_part(
        part, config, point, calibration, chosen.triage, seed=seed, reporter=reporter
    )
    scored = beside_readers(scored, config.readers, reporter)
    if config.robustness:
        scored = with_robustness(scored, part, point, config, reporter)
    tell_warnings([scored], reporter)
    with reporter.busy("drawing"):
        written = write_evaluation(
            scored, part, reporter, report=config.report, show_images=config.show_images
        )
        if part.stem in SPLITS and (card := write_readme(part.run)) is not None:
            written.append(card)
    return replace(scored.result, written=tuple(written))
