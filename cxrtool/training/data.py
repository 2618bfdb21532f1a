"""The images that `train` sees: rows, targets under the policy, pixel statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import ROOM, TrainConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.workspace import DataInfo, Workspace
from cxrtool.data.labels import named_ones, target_ranges, targets_and_mask
from cxrtool.data.manifest import (
    label_columns,
    mean_and_deviation,
    patients_in_two_splits,
    read_manifest,
    read_pixels,
    read_split,
)
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.images.cache import ImageCache


@dataclass(frozen=True)
class TrainingData:
    """The images that a training sees."""

    folder: Path
    labels: tuple[str, ...]
    frame: pd.DataFrame
    """`path`, `patient_id`, `is_valid`, and the targets: 0..1, NaN where masked; of training
    targets that are drawn, the middle."""
    mean: float
    std: float
    cache: ImageCache | None
    """Where the images are read from; None: from their files."""
    info: DataInfo
    """Of the data set: where its images are from, and who labelled them."""
    ranges: NDArray[np.float32] | None = None
    """(training rows, labels, 2) what targets are drawn from; None: the frame's are fixed."""

    def image_sizes(self, image_size: int) -> tuple[int, ...]:
        """The squares that an image is squished to in turn before the network sees it."""
        if self.cache is None or self.cache.image_size == image_size:
            return (image_size,)
        return (self.cache.image_size, image_size)

    def part(self, *, valid: bool) -> pd.DataFrame:
        """The training or the validation rows."""
        return self.frame[self.frame["is_valid"] == valid]

    def targets(self, *, valid: bool) -> NDArray[np.float32]:
        """Targets (n, labels) of the training or the validation rows."""
        return self.part(valid=valid)[list(self.labels)].to_numpy(dtype=np.float32)


def read_training_data(
    config: TrainConfig, workspace: Workspace, seed: int, reporter: Reporter, world: int = 1
) -> TrainingData:
    """The training and validation rows, their targets under the policy, their pixel statistics.

    Raises:
        DataError: no manifest or split, a part is empty, or no label can be scored on valid.
        UsageError: a label or policy that is not known, or a batch size that cannot be.
    """
    manifest = read_manifest(workspace.need(workspace.manifest, "prepare"))
    split = read_split(workspace.need(workspace.split, "split"), manifest, config.fold)
    info = workspace.read_data_info()
    shared = patients_in_two_splits(manifest[["patient_id"]].assign(split=split))
    if shared:
        reporter.warn(
            f"{shared:,} patients are in more than one part of {workspace.split} (split by image, "
            "or edited): scores on valid and test will be too good"
        )
    chosen = split.isin(("train", "valid"))
    rows = manifest[chosen].assign(is_valid=split[chosen].eq("valid"))
    if config.limit is not None:
        rows = _limited(rows, config.limit, seed)
    labels = chosen_labels(config.labels, label_columns(manifest))
    frame, ranges = _with_targets(rows, labels, label_columns(manifest), config)
    if not workspace.pixels.is_file():
        raise DataError(
            f"{workspace.pixels} is missing, so the images' mean is not known: run "
            "`cxrtool prepare --check-images full` first"
        )
    pixels = read_pixels(workspace.pixels, rows[~rows["is_valid"]])
    cache = find_cache(config.image_size, workspace, reporter)
    mean, std = mean_and_deviation(pixels)
    data = TrainingData(info.folder, labels, frame, mean, std, cache, info, ranges)
    _refuse_too_little(data, workspace, config)
    _refuse_batch_size(data, config, world)
    return data


def chosen_labels(asked: str | None, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels to train on, in the manifest's order: those asked for, or all.

    Raises:
        UsageError: one that the manifest does not have, or none.
    """
    if asked is None:
        return tuple(labels)
    names = named_ones("--labels", asked, labels)
    return tuple(label for label in labels if label in names)


def _with_targets(
    rows: pd.DataFrame, labels: tuple[str, ...], every: list[str], config: TrainConfig
) -> tuple[pd.DataFrame, NDArray[np.float32] | None]:
    """The rows with their targets, and what training targets are drawn from, where they are."""
    # Under U-Zeros what No Finding becomes depends on every label, also those not trained on.
    raw = rows[every].to_numpy(dtype=float)
    truth, mask = targets_and_mask(raw, every, config.uncertainty, config.blank)
    ranges = target_ranges(raw, every, config.uncertainty, config.blank)
    valid = rows["is_valid"].to_numpy(dtype=bool)
    targets = np.where(
        valid[:, None], np.where(mask, truth, np.float32(np.nan)), ranges.mean(axis=-1)
    )
    columns = [every.index(label) for label in labels]
    frame = rows[["path", "patient_id", "is_valid"]].reset_index(drop=True)
    frame[list(labels)] = targets[:, columns].astype(np.float32)
    drawn = ranges[~valid][:, columns]
    fixed = np.isnan(drawn[..., 0]) | (drawn[..., 0] == drawn[..., 1])
    return frame, None if fixed.all() else drawn


def find_cache(image_size: int, workspace: Workspace, reporter: Reporter) -> ImageCache | None:
    """The workspace's cache, if images of this size can be made of it; why not is told."""
    instead = "decoding the files for each epoch, which is slower"
    if not workspace.cache.is_dir():
        reporter.note(f"no image cache: {instead} (`cxrtool prepare` makes one)")
        return None
    try:
        cache = ImageCache(workspace.cache)
    except DataError as error:
        reporter.warn(f"{error}; {instead}")
        return None
    if cache.fingerprint != sha256(workspace.pixels):
        reporter.warn(
            f"{workspace.cache} is older than {workspace.pixels}: {instead}; "
            "`cxrtool prepare` makes it anew"
        )
        return None
    if cache.image_size < image_size:
        reporter.warn(
            f"{workspace.cache} holds {cache.image_size} px, --image-size {image_size} is more: "
            f"{instead}; `cxrtool prepare --cache-size {round(image_size * ROOM)}` makes it anew"
        )
        return None
    return cache


def _limited(rows: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """At most `limit` training and `limit` validation rows, drawn by seed, in their order."""
    parts = [
        part.sample(min(limit, len(part)), random_state=seed)
        for _, part in rows.groupby("is_valid", sort=True)
    ]
    return pd.concat(parts).sort_index()


def _refuse_batch_size(data: TrainingData, config: TrainConfig, world: int) -> None:
    size, images = config.batch_size, len(data.part(valid=False))
    if size > images:
        raise UsageError(
            f"--batch-size {size} is more than the {images} training images: "
            f"--batch-size {images // world * world} is the most"
        )
    if size % world:
        raise UsageError(
            f"--batch-size {size} is over all processes: {world} cannot share it evenly; "
            f"try {-(-size // world) * world}"
        )
    if size // world < 2:
        each = "" if world == 1 else f" for {world} processes"
        raise UsageError(
            f"--batch-size {size}{each}: batch normalisation needs two images or more in each"
        )


def _refuse_too_little(data: TrainingData, workspace: Workspace, config: TrainConfig) -> None:
    images = {name: len(data.part(valid=name == "valid")) for name in ("train", "valid")}
    for name, count in images.items():
        if count < 2:
            raise DataError(f"{workspace.split}: {name} has {count} images, 2 are the least")
    targets = data.targets(valid=True)
    mask = ~np.isnan(targets)
    aurocs = auroc_per_label(targets > 0.5, np.zeros_like(targets), mask)
    if np.isnan(aurocs).all():
        chosen = "of --labels " if config.labels else ""
        limited = f"--limit {config.limit} leaves" if config.limit else "there are"
        advice = "a larger --limit" if config.limit else "`cxrtool split --sizes --force`"
        raise DataError(
            f"{workspace.split}: valid has no label {chosen}with both a positive and a negative "
            f"image ({limited} {images['valid']} images in it), so no epoch could be called "
            f"better: enlarge it ({advice})"
        )
    if data.cache is None and not data.folder.is_dir():
        raise DataError(
            f"the images are not at {data.folder} any more: run `cxrtool prepare DATA` again"
        )
