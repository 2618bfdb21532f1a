"""`split`: the manifest's images into train, valid and test, every label keeping its share."""

import time
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import REPORT_POLICIES, SPLITS, SplitConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.csv_tables import read_table, write_table
from cxrtool.core.errors import DataError, UsageError, first_few
from cxrtool.core.files import refuse_existing
from cxrtool.core.json_files import JsonResult
from cxrtool.core.workspace import Workspace
from cxrtool.data.balance import label_distribution, label_pair_distribution
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.manifest import label_columns, patients_in_two_splits, read_manifest, read_split
from cxrtool.data.shared_pictures import SharedPictures, owners_of_images
from cxrtool.data.split_checks import undefined_labels, warn_of_split
from cxrtool.data.stratification import split_by_image, split_by_patient

PARTS = ("train", "valid", "test")
DEVELOPMENT = ("train", "valid")
"""What folds are dealt of: test stays apart."""

LEAST_SHARE = 1e-6
"""Of a part: a smaller one is a slip of the pen, and would hold a patient all the same."""


@dataclass(frozen=True)
class Balance:
    """How well some parts hold their shares of the labels, under each policy; 0 is perfect."""

    ld: dict[str, float]
    lpd: dict[str, float]


@dataclass(frozen=True)
class SplitResult(JsonResult):
    """How large the parts are and how well the labels are balanced over them."""

    sizes: dict[str, int]
    fractions: dict[str, float]
    patients: dict[str, int]
    prevalences: dict[str, dict[str, float]]
    """Each label's share of positives (U-Ones) in each part."""
    patients_in_two_splits: int
    ld: dict[str, float]
    lpd: dict[str, float]
    seconds: float
    shared_pictures: SharedPictures | None = None
    """None where nobody looked: image by image, or without fingerprints of the pictures."""
    undefined: dict[str, dict[str, str]] = field(default_factory=dict)
    """The labels of which a part has no positive or no negative patient, by part, and which."""
    folds: dict[str, Any] = field(default_factory=dict)
    """With folds: their `sizes`, `patients_in_two_folds`, `undefined`, `ld` and `lpd`."""


def split_manifest(
    config: SplitConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> SplitResult:
    """Split the manifest's images and write split.csv.

    Raises:
        DataError: no manifest, an existing split without `force`, too few patients.
        UsageError: sizes that are no three positive shares.
    """
    started = time.perf_counter()
    shares = parse_sizes(config.sizes)
    if config.by == "official" and config.merge_valid:
        raise UsageError("--merge-valid: official parts are taken as they are")
    workspace.need(workspace.data_info, "prepare")  # which comes last: the manifest is whole
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    refuse_existing(workspace.split, force=config.force, what="it by a new split")
    labels = label_columns(manifest)
    raw = manifest[labels].to_numpy(dtype=float)
    positives = {
        policy: targets_and_mask(raw, labels, policy)[0] == 1 for policy in REPORT_POLICIES
    }
    people = manifest["patient_id"].nunique()
    reporter.detail(f"{len(manifest):,} images of {people:,} patients, seed {seed}, by {config.by}")
    rows = _owned(config, workspace, manifest, reporter)
    with reporter.busy(f"splitting {len(manifest):,} images"):
        frame = _divide(config, rows, positives, shares, seed, workspace)
    write_table(frame, workspace.split)
    # What is told below is read off the file that was written, not off what was meant.
    written = rows.assign(split=read_split(workspace.split, manifest))
    apart = (written["split"] == "expert").sum()
    if apart and config.by != "official":
        reporter.note(
            f"{apart:,} rows with labels by {_experts(workspace)} stay apart as `expert` "
            "(--merge-valid mixes them)"
        )
        if beside := _beside_experts(written):
            reporter.note(
                f"{beside:,} other rows of the same patients are in test: nobody of `expert` is "
                "trained on"
            )
    folds = _folds_of(config, written, workspace, positives, labels)
    result = _describe(written, positives, labels, folds, started)
    shared = result.patients_in_two_splits
    warn_of_split(
        *(result.undefined, folds, shared, result.shared_pictures),
        config=config,
        reporter=reporter,
    )
    return result


def _beside_experts(rows: pd.DataFrame) -> int:
    """How many rows of test are of patients who have rows in `expert`."""
    owners = rows["owner" if "owner" in rows.columns else "patient_id"]
    apart = set(owners[rows["split"] == "expert"])
    return int((rows["split"].eq("test") & owners.isin(apart)).sum())


def _owned(
    config: SplitConfig, workspace: Workspace, manifest: pd.DataFrame, reporter: Reporter
) -> pd.DataFrame:
    """`path`, `patient_id`, `source` and, but image by image, `owner`: whom it stays together with.

    Those are the patients who share a picture, each of whom would else tell one part of another.
    """
    rows = manifest[["path", "patient_id", "source"]].copy()
    if config.by == "image":
        return rows
    with reporter.busy("looking for patients who share a picture"):
        owners = owners_of_images(workspace, manifest)
    if owners is not None:
        return rows.assign(owner=owners)
    reporter.note(
        f"{workspace.pictures} is missing, so that patients who share a picture are not looked "
        "for: `cxrtool prepare` makes it where it decodes the images"
    )
    return rows


def _divide(
    config: SplitConfig,
    manifest: pd.DataFrame,
    positives: dict[str, NDArray[np.bool_]],
    shares: tuple[float, ...],
    seed: int,
    workspace: Workspace,
) -> pd.DataFrame:
    """split.csv's rows, in the manifest's order."""
    frame = manifest[["path", "patient_id"]].copy()
    if config.by == "official":
        parts = _official_parts(workspace, manifest)
        if not (parts == "valid").any():
            parts = _with_valid(parts, manifest, positives, shares, seed)
        frame["split"] = parts
    else:
        dealt_parts = np.full(len(manifest), "expert", dtype=object)
        inside = np.ones(len(manifest), dtype=bool)
        if not config.merge_valid:
            inside = manifest["source"].eq("train").to_numpy(dtype=bool)
        if not inside.any():
            raise DataError(
                f"{workspace.manifest}: all rows are labelled by {_experts(workspace)}, which stay "
                "apart: pass --merge-valid"
            )
        beside = inside & _with_experts(manifest, inside, config.by)
        # Of these nobody may be trained on or chosen by: the same patients are in `expert`.
        dealt_parts[beside] = "test"
        inside = inside & ~beside
        if not inside.any():
            raise DataError(
                f"{workspace.manifest}: all patients have rows that are labelled by "
                f"{_experts(workspace)}, which stay apart: pass --merge-valid"
            )
        dealt = _deal(manifest, inside, positives, config.by, shares, seed, ranked=True)
        dealt_parts[inside] = np.array(PARTS, dtype=object)[dealt]
        frame["split"] = dealt_parts
    if config.folds is not None:
        inside = frame["split"].isin(DEVELOPMENT).to_numpy(dtype=bool)
        equal = (1 / config.folds,) * config.folds
        by = "patient" if config.by == "official" else config.by
        numbers = np.full(len(frame), "", dtype=object)
        numbers[inside] = _deal(manifest, inside, positives, by, equal, seed).astype(str)
        frame["fold"] = numbers
    return frame


def _experts(workspace: Workspace) -> str:
    """Who made the labels of the rows that are not of train."""
    labels_by = workspace.read_data_info().labels_by
    return " and ".join(who for source, who in labels_by.items() if source != "train")


def _with_experts(manifest: pd.DataFrame, inside: NDArray[np.bool_], by: str) -> NDArray[np.bool_]:
    """Which rows are of patients who also have rows that stay apart."""
    if by == "image":
        return np.zeros(len(manifest), dtype=bool)
    owners = manifest["owner" if "owner" in manifest.columns else "patient_id"]
    found: NDArray[np.bool_] = owners.isin(set(owners[~inside])).to_numpy(dtype=bool)
    return found


def _deal(
    manifest: pd.DataFrame,
    inside: NDArray[np.bool_],
    positives: dict[str, NDArray[np.bool_]],
    by: str,
    shares: tuple[float, ...],
    seed: int,
    *,
    ranked: bool = False,
) -> NDArray[np.int64]:
    """The part, from 0, of each of the rows that are inside; ranked: train needs a label first."""
    chosen = [matrix[inside] for matrix in positives.values()]
    if by == "patient":
        owner = "owner" if "owner" in manifest.columns else "patient_id"
        patients = manifest[owner].to_numpy(dtype=object)[inside]
        return split_by_patient(chosen, patients, sizes=shares, seed=seed, ranked=ranked)
    paths = manifest["path"].to_numpy(dtype=object)[inside]
    return split_by_image(chosen, sizes=shares, seed=seed, keys=paths)


def _official_parts(workspace: Workspace, manifest: pd.DataFrame) -> "pd.Series[str]":
    """The data set's own parts.

    Raises:
        DataError: it names none, or none for some of the images.
    """
    if not workspace.official.is_file():
        raise DataError(
            f"{workspace.official} is missing: this data set names no parts of its own; "
            "split by patient"
        )
    frame = read_table(workspace.official, ("path", "patient_id", "split"))
    unnamed = ~frame["split"].isin(SPLITS).to_numpy(dtype=bool)
    if unnamed.any():
        raise DataError(
            f"{workspace.official}: {unnamed.sum():,} images have no part "
            f"({first_few(frame['path'][unnamed].tolist())}): write theirs there, or split by "
            "patient"
        )
    return read_split(workspace.official, manifest)


def _with_valid(
    parts: "pd.Series[str]",
    manifest: pd.DataFrame,
    positives: dict[str, NDArray[np.bool_]],
    shares: tuple[float, ...],
    seed: int,
) -> "pd.Series[str]":
    """Official parts without a valid one, as NIH's: some of the patients of train become it."""
    inside = (parts == "train").to_numpy(dtype=bool)
    train, valid = shares[0] / (shares[0] + shares[1]), shares[1] / (shares[0] + shares[1])
    dealt = _deal(manifest, inside, positives, "patient", (train, valid), seed, ranked=True)
    chosen = np.zeros(len(parts), dtype=bool)
    chosen[inside] = dealt == 1
    return parts.mask(chosen, "valid")


def parse_sizes(text: str) -> tuple[float, ...]:
    """`80,10,10` to shares that sum to one.

    Raises:
        UsageError: not three positive numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    whole = sum(values)
    if len(values) != len(PARTS) or not (isfinite(whole) and min(values) > LEAST_SHARE * whole):
        raise UsageError(
            f"--sizes {text}: give three positive numbers, the shares of train, valid and test, "
            "such as 80,10,10"
        )
    return tuple(value / whole for value in values)


def _balance(
    positives: dict[str, NDArray[np.bool_]], folds: NDArray[np.int64], n_folds: int
) -> Balance:
    return Balance(
        ld={p: label_distribution(y, folds, n_folds) for p, y in positives.items()},
        lpd={p: label_pair_distribution(y, folds, n_folds) for p, y in positives.items()},
    )


def _folds_of(
    config: SplitConfig,
    written: pd.DataFrame,
    workspace: Workspace,
    positives: dict[str, NDArray[np.bool_]],
    labels: list[str],
) -> dict[str, Any]:
    """What is told of the folds, read off the file; nothing where there are none."""
    if config.folds is None:
        return {}
    inside = written["split"].isin(DEVELOPMENT).to_numpy(dtype=bool)
    table = read_table(workspace.split, ("path", "fold")).set_index("path")
    numbers = table.loc[written["path"], "fold"].set_axis(written.index)[inside].astype(int)
    chosen = {policy: matrix[inside] for policy, matrix in positives.items()}
    balance = _balance(chosen, np.asarray(numbers, dtype=np.int64), config.folds)
    named = numbers.to_numpy().astype(str).astype(object)
    owners = written[inside].assign(split=numbers)
    return {
        "sizes": numbers.value_counts(sort=False).sort_index().tolist(),
        "patients_in_two_folds": patients_in_two_splits(owners),
        "undefined": undefined_labels(named, [str(n) for n in range(config.folds)], chosen, labels),
        **vars(balance),
    }


def _describe(
    written: pd.DataFrame,
    positives: dict[str, NDArray[np.bool_]],
    labels: list[str],
    folds: dict[str, Any],
    started: float,
) -> SplitResult:
    counts = written["split"].value_counts()
    sizes = {name: int(counts[name]) for name in SPLITS if name in counts}
    patients = written.groupby("split")["patient_id"].nunique()
    parts = written["split"].to_numpy(dtype=object)
    numbers: NDArray[np.int64] = np.array(
        [PARTS.index(p) if p in PARTS else -1 for p in parts], dtype=np.int64
    )
    inside = numbers >= 0
    means = {part: positives["ones"][parts == part].mean(axis=0) for part in sizes}
    balance = _balance(
        {policy: matrix[inside] for policy, matrix in positives.items()},
        numbers[inside],
        len(PARTS),
    )
    return SplitResult(
        sizes=sizes,
        fractions={part: sizes.get(part, 0) / int(inside.sum()) for part in PARTS},
        patients={name: int(patients[name]) for name in sizes},
        prevalences={
            label: {part: float(share[column]) for part, share in means.items()}
            for column, label in enumerate(labels)
        },
        patients_in_two_splits=patients_in_two_splits(written),
        **vars(balance),
        seconds=time.perf_counter() - started,
        shared_pictures=SharedPictures.of_split(written) if "owner" in written.columns else None,
        undefined=undefined_labels(parts, list(sizes), positives, labels),
        folds=folds,
    )
