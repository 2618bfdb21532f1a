"""`evaluate`: predictions and truth to scores a label, with the protocol they were made by."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.config import EvaluateConfig
from cxrtool.errors import DataError, first_few
from cxrtool.files import sha256, write_json
from cxrtool.labels import targets_and_mask
from cxrtool.manifest import (
    label_columns,
    patients_in_two_splits,
    read_manifest,
    read_split,
)
from cxrtool.metrics import (
    auprc,
    auroc_per_label,
    bootstrap_auroc,
    confusion_at,
    mean_defined,
    percentile_interval,
)
from cxrtool.predictions import format_scores, read_scores
from cxrtool.report import SILENT, Reporter, or_none
from cxrtool.runs import RunCard, RunFolder, find_run, read_card
from cxrtool.tables import write_table
from cxrtool.workspace import DataInfo, Workspace


@dataclass(frozen=True)
class EvaluateResult:
    """The scores of one run on one part."""

    run: str
    split: str
    protocol: dict[str, Any]
    n: int
    mean_auroc: float
    defined: int
    labels: dict[str, dict[str, Any]]
    unit: str = "image"

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it and metrics/<split>.json holds it."""
        return {**vars(self), "mean_auroc": or_none(self.mean_auroc), "subgroups": {}}


@dataclass(frozen=True)
class Truth:
    """What predictions are held against, a row an image."""

    paths: list[str]
    patients: NDArray[np.str_]
    targets: NDArray[np.bool_]
    mask: NDArray[np.bool_]


def evaluate_run(
    config: EvaluateConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> EvaluateResult:
    """Score a run on a part of the split; predictions that are missing are made first.

    Raises:
        RunError: no such run, or it is incomplete or altered.
        DataError: no such part, or it holds patients that the run was trained on.
        UsageError: no such uncertainty policy.
    """
    run = find_run(workspace.runs, config.run)
    card = read_card(run)
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    unchanged = sha256(workspace.need(workspace.split, "split")) == card.split_sha256
    # A run that was trained on folds has its own valid part; another split knows no such fold.
    fold = card.fold if unchanged and config.split in ("train", "valid") else None
    split = read_split(workspace.split, manifest, fold)
    policy = config.uncertainty or card.uncertainty
    rows = manifest[split == config.split]
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
    _refuse_known_patients(card, rows, config, unchanged and by_image, reporter)
    truth = read_truth(rows, card, policy)
    # Another data set's scores are kept beside those of the run's own, under another name.
    fingerprint = sha256(workspace.manifest)
    own = fingerprint == card.manifest_sha256
    stem = config.split if own else f"{config.split}-{fingerprint[:8]}"
    scores = _scores(run, card, truth.paths, stem, config, workspace, reporter)
    info = workspace.read_data_info()
    protocol = {
        "name": _protocol_name(rows, info),
        "labels_by": _labellers(rows, info),
        "uncertainty": policy,
        "blank": card.blank,
        "split_by": "image" if by_image else "patient",
        "views": sorted(rows["view"].unique()),
    }
    result = EvaluateResult(
        run=run.name,
        split=config.split,
        protocol=protocol,
        **score_tables(scores, truth, card, replicates=config.bootstrap, seed=seed),
    )
    write_json(run.metrics(stem), result.as_json())
    return result


def _protocol_name(rows: pd.DataFrame, info: DataInfo) -> str:
    if info.dataset != "chexpert":
        return "other"
    return "expert" if set(rows["source"]) == {"valid"} else "holdout"


def _labellers(rows: pd.DataFrame, info: DataInfo) -> str:
    names = sorted(rows["source"].unique())
    return " and ".join(info.labels_by.get(name, "whoever made them") for name in names)


def _refuse_known_patients(
    card: RunCard, rows: pd.DataFrame, config: EvaluateConfig, by_image: bool, reporter: Reporter
) -> None:
    """Scores on patients that a run has seen are too good: refused, or with a reason warned of.

    `by_image`: the split is the one of the training and parts patients on purpose.
    """
    if config.split == "train":
        reporter.warn("these are scores on the training images themselves")
        return
    seen = card.train_patients
    if config.split == "valid":
        reporter.warn("epoch and thresholds were chosen on valid: its scores are too good")
    else:
        seen = seen | card.valid_patients
    known = [patient for patient in rows["patient_id"].unique() if patient in seen]
    if not known:
        return
    text = (
        f"{len(known)} of {rows['patient_id'].nunique()} patients in {config.split} "
        "are among those that the run was trained or chosen on"
    )
    if not (by_image or config.force):
        raise DataError(
            f"{text} ({first_few(known)}): the split is not the one of its training; "
            "train again, or pass --force to score all the same"
        )
    reporter.warn(f"{text}: the scores are too good")


def read_truth(rows: pd.DataFrame, card: RunCard, policy: str) -> Truth:
    """The manifest's rows as truth under a policy and the run's `blank`, for the run's labels."""
    labels = list(card.labels)
    # Under U-Zeros what No Finding becomes depends on all labels, also those not predicted.
    columns = label_columns(rows)
    raw = rows[columns].to_numpy(dtype=float)
    targets, mask = targets_and_mask(raw, columns, policy, card.blank)
    chosen = [columns.index(label) for label in labels]
    return Truth(
        paths=rows["path"].tolist(),
        patients=rows["patient_id"].to_numpy(dtype=str),
        targets=targets[:, chosen] == 1,
        mask=mask[:, chosen],
    )


def _scores(
    run: RunFolder,
    card: RunCard,
    paths: list[str],
    stem: str,
    config: EvaluateConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> NDArray[np.float32]:
    """The run's scores for these images, kept in the run; made where one is missing."""
    file = run.predictions(stem)
    if file.is_file():
        kept = read_scores(file, card.labels)
        if set(paths) <= set(kept.index):
            reporter.note(f"scores of {file}")
            return kept.loc[paths].to_numpy()
        reporter.note(f"{file} lacks images of {config.split}: scoring them again")
    # Only here is torch needed: scores that are there are read without it.
    with reporter.busy("loading torch"):
        from cxrtool.workflows.predict import load_scorer, score_files

    folder = workspace.read_data_info().folder
    scorer = load_scorer(run, config.device, config.precision)
    reporter.note(f"scoring with {run.name} on {scorer.device}, {scorer.precision}")
    table = score_files(
        scorer,
        paths,
        [folder / path for path in paths],
        batch_size=config.batch_size,
        workers=config.workers,
        reporter=reporter,
    )
    failed = table["error"] != ""
    if failed.any():
        examples = (table["path"] + ": " + table["error"])[failed].tolist()
        raise DataError(
            f"{failed.sum()} images of {config.split} cannot be read ({first_few(examples)}): "
            "run `cxrtool prepare` again"
        )
    write_table(format_scores(table, card.labels), file)
    return table[list(card.labels)].to_numpy(dtype=np.float32)


def score_tables(
    scores: NDArray[np.float32], truth: Truth, card: RunCard, *, replicates: int, seed: int
) -> dict[str, Any]:
    """The figures of (n, labels) scores against truth: `n, mean_auroc, defined, labels`.

    Intervals are percentiles over `replicates` draws of patients; none with 0 replicates.
    """
    aurocs = auroc_per_label(truth.targets, scores, truth.mask)
    intervals = np.full((len(card.labels), 2), np.nan)
    if replicates:
        drawn = bootstrap_auroc(
            truth.targets, scores, truth.mask, truth.patients, replicates=replicates, seed=seed
        )
        intervals = percentile_interval(drawn)
    labels = {
        label: _label_figures(
            truth.targets[:, column],
            scores[:, column],
            truth.mask[:, column],
            card.thresholds[label],
            float(aurocs[column]),
            intervals[column],
        )
        for column, label in enumerate(card.labels)
    }
    mean, defined = mean_defined([float(value) for value in aurocs])
    return {"n": len(scores), "mean_auroc": mean, "defined": defined, "labels": labels}


def _label_figures(
    target: NDArray[np.bool_],
    score: NDArray[np.float32],
    mask: NDArray[np.bool_],
    threshold: float | None,
    auroc: float,
    interval: NDArray[np.float64],
) -> dict[str, Any]:
    sensitivity = specificity = float("nan")
    if threshold is not None:
        at = confusion_at(target, score, threshold, mask)
        sensitivity, specificity = at.sensitivity, at.specificity
    return {
        "auroc": or_none(auroc),
        "auroc_ci": None if np.isnan(interval).any() else [float(value) for value in interval],
        "auprc": or_none(auprc(target, score, mask)),
        "threshold": threshold,
        "sensitivity": or_none(sensitivity),
        "specificity": or_none(specificity),
        "n": int(mask.sum()),
        "positives": int((target & mask).sum()),
    }
