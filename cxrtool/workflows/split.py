"""`split`: the manifest's images into train, valid and test, every label keeping its share."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.balance import label_distribution, label_pair_distribution
from cxrtool.config import POLICIES, SplitConfig
from cxrtool.errors import DataError, UsageError
from cxrtool.files import refuse_existing
from cxrtool.labels import targets_and_mask
from cxrtool.manifest import (
    label_columns,
    patients_in_two_splits,
    read_manifest,
    read_split,
    write_table,
)
from cxrtool.report import SILENT, Reporter
from cxrtool.splits import (
    split_by_image,
    split_by_patient,
)
from cxrtool.workspace import Workspace

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class SplitResult:
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

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return dict(vars(self))


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
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    refuse_existing(workspace.split, force=config.force, what="it by a new split")
    apart = manifest["source"].eq("valid").to_numpy(dtype=bool) & (not config.merge_valid)
    if apart.all():
        raise DataError(f"{workspace.manifest}: all rows are of valid.csv: pass --merge-valid")
    inside = manifest[~apart]
    labels = label_columns(manifest)
    positives = {policy: _positives(inside, labels, policy) for policy in POLICIES}
    people = inside["patient_id"].nunique()
    reporter.detail(f"{len(inside):,} images of {people:,} patients, seed {seed}, by {config.by}")
    with reporter.busy(f"splitting {len(inside):,} images"):
        folds = _divide(inside, list(positives.values()), config.by, shares, seed)
    parts = np.full(len(manifest), "expert", dtype=object)
    parts[~apart] = np.array(PARTS)[folds]
    frame = pd.DataFrame(
        {"path": manifest["path"], "patient_id": manifest["patient_id"], "split": parts}
    )
    write_table(frame, workspace.split)
    # What is told below is read off the file that was written, not off what was meant.
    written = frame.assign(split=read_split(workspace.split, manifest))
    if apart.any():
        reporter.note(
            f"{apart.sum():,} rows of valid.csv stay apart as `expert` (--merge-valid mixes them)"
        )
    return _describe(written, ~apart, folds, positives, labels, started)


def parse_sizes(text: str) -> tuple[float, ...]:
    """`80,10,10` to shares that sum to one.

    Raises:
        UsageError: not three positive numbers.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(PARTS) or not all(0 < value < float("inf") for value in values):
        raise UsageError(
            f"--sizes {text}: give three positive numbers, the shares of train, valid and test, "
            "such as 80,10,10"
        )
    return tuple(value / sum(values) for value in values)


def _positives(frame: pd.DataFrame, labels: list[str], policy: str) -> NDArray[np.bool_]:
    targets, _ = targets_and_mask(frame[labels].to_numpy(dtype=float), labels, policy)
    positive: NDArray[np.bool_] = targets == 1
    return positive


def _divide(
    frame: pd.DataFrame,
    positives: list[NDArray[np.bool_]],
    by: str,
    shares: tuple[float, ...],
    seed: int,
) -> NDArray[np.int64]:
    paths = frame["path"].to_numpy(dtype=str)
    if by == "patient":
        patients = frame["patient_id"].to_numpy(dtype=str)
        return split_by_patient(positives, patients, sizes=shares, seed=seed)
    return split_by_image(positives, sizes=shares, seed=seed, keys=paths)


def _describe(
    written: pd.DataFrame,
    inside: NDArray[np.bool_],
    folds: NDArray[np.int64],
    positives: dict[str, NDArray[np.bool_]],
    labels: list[str],
    started: float,
) -> SplitResult:
    sizes = {str(name): int(n) for name, n in written["split"].value_counts(sort=False).items()}
    sizes = {name: sizes[name] for name in (*PARTS, "expert") if name in sizes}
    patients = written.groupby("split")["patient_id"].nunique()
    parts = written["split"].to_numpy()[inside]
    prevalences = {
        label: {part: float(positives["ones"][parts == part, column].mean()) for part in PARTS}
        for column, label in enumerate(labels)
    }
    total = int(inside.sum())
    return SplitResult(
        sizes=sizes,
        fractions={part: sizes.get(part, 0) / total for part in PARTS},
        patients={name: int(patients[name]) for name in sizes},
        prevalences=prevalences,
        patients_in_two_splits=patients_in_two_splits(written),
        ld={p: label_distribution(y, folds, len(PARTS)) for p, y in positives.items()},
        lpd={p: label_pair_distribution(y, folds, len(PARTS)) for p, y in positives.items()},
        seconds=time.perf_counter() - started,
    )
