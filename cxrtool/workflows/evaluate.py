"""`evaluate`: a run's scores on a part of the split, with all that a reviewer would ask for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import SUBGROUPS, EvaluateConfig, TruthConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.files import sha256
from cxrtool.core.names import name_of_policy
from cxrtool.core.runs import RunCard, RunFolder, find_run, read_card, remarks, sampling_remark
from cxrtool.core.shares import MENDING
from cxrtool.core.workspace import DataInfo, Workspace
from cxrtool.data.manifest import (
    ABOUT,
    label_columns,
    patients_in_two_splits,
    read_manifest,
    read_split,
)
from cxrtool.data.prediction_rows import write_rows
from cxrtool.data.prediction_tables import Predictions, predictions_of, read_predictions
from cxrtool.data.provenance import TRAINED_ON_DRAWINGS, trained_on_drawings
from cxrtool.data.run_predictions import doubt_of, is_bound, seal_predictions
from cxrtool.data.seen import rows_seen_by
from cxrtool.evaluation.result import About, Scored, score_sample, tell_warnings
from cxrtool.evaluation.run_points import chosen_points
from cxrtool.evaluation.sample import by_study
from cxrtool.evaluation.subgroups import NOT_KNOWN, group_rows
from cxrtool.evaluation.truth import (
    Known,
    check_seen,
    dataset_of,
    protocol_of,
    sample_of_rows,
    wanted_columns,
)
from cxrtool.reports.files import write_evaluation


@dataclass(frozen=True)
class EvaluateResult:
    """The scores of one run, or of one table of predictions, and where they were written."""

    values: dict[str, Any]
    written: tuple[Path, ...] = ()

    @property
    def run(self) -> str:
        """Whose scores they are."""
        return str(self.values["run"])

    @property
    def n(self) -> int:
        """How many images, or studies, were scored."""
        return int(self.values["n"])

    @property
    def split(self) -> str | None:
        """The part that they are scores on; None for a table."""
        split = self.values["split"]
        return None if split is None else str(split)

    @property
    def unit(self) -> str:
        """Whether a row is an image or a study."""
        return str(self.values["unit"])

    @property
    def protocol(self) -> dict[str, Any]:
        """Whose labels, which policies, how it was split, which views."""
        return dict(self.values["protocol"])

    @property
    def defined(self) -> int:
        """Over how many labels the mean is."""
        return int(self.values["defined"])

    @property
    def mean_auroc(self) -> float:
        """Over the labels that are defined; NaN where none is."""
        mean = self.values["mean_auroc"]
        return float("nan") if mean is None else float(mean)

    @property
    def labels(self) -> dict[str, dict[str, Any]]:
        """Each label's figures."""
        return dict(self.values["labels"])

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it and metrics/<split>.json holds it."""
        return self.values


@dataclass(frozen=True)
class Part:
    """What of a workspace is scored: a part of the split, for one run."""

    run: RunFolder
    card: RunCard
    rows: pd.DataFrame
    protocol: dict[str, Any]
    info: DataInfo
    own: bool
    """Whether it is the data set of the run's training."""
    scores_stem: str
    """The name of the scores' file."""
    stem: str
    """The name of what is made of them: another protocol has another."""
    warnings: tuple[str, ...]


def evaluate_run(
    config: EvaluateConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> EvaluateResult:
    """Score a run on a part of the split; predictions that are missing are made first.

    Figures, tables and the page go to the run's folder.

    Raises:
        RunError: no such run, or it is incomplete or altered.
        DataError: no such part, or it holds patients that the run was trained on.
        UsageError: no such policy, rule or column.
    """
    _refuse_table_options(config)
    part = choose_part(find_run(workspace.runs, config.run), config, workspace, reporter)
    point, calibration = chosen_points(part.run, part.card, workspace, config)
    inflated = sampling_remark(part.run, part.card)
    if inflated is not None and (calibration is None or calibration.method not in MENDING):
        reporter.warn(inflated)
        part = replace(part, warnings=(*part.warnings, inflated))
    scored = score_part(
        part, config, seed=seed, point=point, calibration=calibration, reporter=reporter
    )
    tell_warnings([scored], reporter)
    with reporter.busy("drawing"):
        written = write_evaluation(scored, part, reporter, report=config.report)
    return EvaluateResult(scored.values, tuple(written))


def _refuse_table_options(config: EvaluateConfig) -> None:
    """What belongs to tables of predictions would do nothing for a run."""
    names = ("truth", "key", "valid_predictions", "valid_truth", "output")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(config, name)]
    if given:
        raise UsageError(
            f"{first_few(given)}: goes with --predictions; a run is scored on its workspace, and "
            "its files are written into its folder"
        )


def choose_part(
    run: RunFolder, config: TruthConfig, workspace: Workspace, reporter: Reporter
) -> Part:
    """The rows that a run is scored on, checked against those that it was trained on."""
    if config.unit == "image" and config.aggregate != TruthConfig.aggregate:
        raise UsageError(f"--aggregate {config.aggregate} goes with --unit study")
    card = read_card(run)
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    unchanged = sha256(workspace.need(workspace.split, "split")) == card.split_sha256
    # A run that was trained on folds has its own valid part; another split knows no such fold.
    fold = card.fold if unchanged and config.split in ("train", "valid") else None
    split = read_split(workspace.split, manifest, fold)
    rows = manifest[split == config.split].reset_index(drop=True)
    if rows.empty:
        raise DataError(f"{workspace.split}: no image is in {config.split}")
    absent = [label for label in card.labels if label not in label_columns(manifest)]
    if absent:
        raise DataError(f"{workspace.manifest} lacks the run's labels {first_few(absent)}")
    parts = pd.DataFrame({"patient_id": manifest["patient_id"], "split": split})
    by_image = patients_in_two_splits(parts) > 0
    reporter.detail(
        f"{run.path}: {card.arch}, trained on {len(card.train_patients):,} patients; "
        f"{len(rows):,} images in {config.split}"
    )
    info = workspace.read_data_info()
    # Another data set's scores are kept beside those of the run's own, under another name.
    fingerprint = sha256(workspace.manifest)
    own = fingerprint == card.manifest_sha256
    itself, before = rows_seen_by(
        *(run, card, rows, config.split, workspace),
        own=own,
        workers=config.workers,
        reporter=reporter,
    )
    known = Known(
        itself=itself, before=before, own_split=unchanged and own, by_image=by_image, own_data=own
    )
    warnings = check_seen(known, card, config)
    for text in (*warnings, *(told := remarks(run, card))):
        reporter.warn(text)
    policy, blank = config.uncertainty or card.uncertainty, config.blank or card.blank
    scores_stem = config.split if own else f"{config.split}-{fingerprint[:8]}"
    other = [f"study-{config.aggregate}"] if config.unit == "study" else []
    other += [name_of_policy(policy, card.labels)] if policy != card.uncertainty else []
    other += [f"blank-{blank}"] if blank != card.blank else []
    protocol = protocol_of(
        rows,
        info,
        policy=policy,
        blank=blank,
        by_image=by_image,
        trained_on=config.split == "train" or known.spoils,
    )
    if trained_on_drawings(run) and not info.origin.drawn:
        warnings.append(TRAINED_ON_DRAWINGS)
        reporter.warn(TRAINED_ON_DRAWINGS)
    return Part(
        run=run,
        card=card,
        rows=rows,
        protocol=protocol,
        info=info,
        own=own,
        scores_stem=scores_stem,
        stem="-".join([scores_stem, *other]),
        warnings=(*told, *warnings),
    )


def score_part(
    part: Part,
    config: TruthConfig,
    *,
    seed: int,
    point: Any,
    calibration: Any,
    reporter: Reporter,
) -> Scored:
    """Score a run on its part, as images or as studies."""
    predictions = run_scores(part, config, reporter)
    columns = wanted_columns(config) if isinstance(config, EvaluateConfig) else []
    about = part.rows[[name for name in part.rows.columns if name in ABOUT]]
    sample = sample_of_rows(
        part.rows,
        part.card,
        part.protocol["uncertainty"],
        part.protocol["blank"],
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
            dataset=dataset_of(part.protocol, part.info),
            data=part.info.origin.for_readers(),
            warnings=part.warnings,
        ),
        point=point,
        calibration=calibration,
        replicates=config.bootstrap,
        seed=seed,
    )


def known_groups(about: pd.DataFrame, columns: list[str] | None) -> dict[str, NDArray[np.str_]]:
    """The groups of the columns asked for; without any, of the usual ones that tell something."""
    if columns is not None:
        return group_rows(about, columns)
    usual = group_rows(about, [name for name in SUBGROUPS if name in about.columns])
    return {name: values for name, values in usual.items() if (values != NOT_KNOWN).any()}


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
    reporter.note(f"scoring with {ensemble.told}")
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
