"""The images that `train` sees: rows, targets under the policy, pixel statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrtool.core.config import ROOM, TrainConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.files import sha256
from cxrtool.core.workspace import DataInfo, Workspace
from cxrtool.data.labels import majority, named_ones
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
from cxrtool.networks.start_pixels import pixels_of_start
from cxrtool.training.targets import Targets

TRAINING_IMAGES = "the training images"


@dataclass(frozen=True)
class TrainingData:
    """The images that a training sees."""

    folder: Path
    frame: pd.DataFrame
    """`path`, `patient_id`, `is_valid`, and all raw labels of the manifest."""
    policy: Targets
    """Which of the labels are trained on, and what their raw values become."""
    mean: float
    std: float
    cache: ImageCache | None
    """Where the images are read from; None: from their files."""
    info: DataInfo
    """Of the data set: where its images are from, and who labelled them."""
    pixels_of: str = TRAINING_IMAGES
    """Whose mean and deviation those are, in words."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the network's logits."""
        return self.policy.labels

    def image_sizes(self, image_size: int) -> tuple[int, ...]:
        """The squares that an image is squished to in turn before the network sees it."""
        if self.cache is None or self.cache.image_size == image_size:
            return (image_size,)
        return (self.cache.image_size, image_size)

    def part(self, *, valid: bool) -> pd.DataFrame:
        """The training or the validation rows."""
        return self.frame[self.frame["is_valid"] == valid]

    def targets(self, *, valid: bool) -> NDArray[np.float32]:
        """Targets (n, labels) of the training or the validation rows, NaN where masked.

        Of training targets that are drawn, the middle.
        """
        return self._valid_targets if valid else self._training_targets

    @cached_property
    def _training_targets(self) -> NDArray[np.float32]:
        return self.policy.middle(self.part(valid=False))

    @cached_property
    def _valid_targets(self) -> NDArray[np.float32]:
        return self.policy.scored(self.part(valid=True))


def read_training_data(
    config: TrainConfig, workspace: Workspace, seed: int, reporter: Reporter
) -> TrainingData:
    """The training and validation rows, their targets under the policy, their pixel statistics.

    Raises:
        DataError: no manifest or split, a part is empty, or no label can be scored on valid.
        UsageError: a label or policy that is not known.
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
    every = label_columns(manifest)
    policy = Targets(
        labels=chosen_labels(config.labels, every),
        every=tuple(every),
        uncertainty=config.uncertainty,
        blank=config.blank,
    )
    frame = rows[["path", "patient_id", "is_valid", *every]].reset_index(drop=True)
    if not workspace.pixels.is_file():
        raise DataError(
            f"{workspace.pixels} is missing, so the images' mean is not known: run "
            "`cxrtool prepare --check-images full` first"
        )
    pixels = read_pixels(workspace.pixels, rows[~rows["is_valid"]])
    cache = find_cache(config.image_size, workspace, reporter)
    mean, std, whose = _pixel_statistics(config, mean_and_deviation(pixels))
    if cache is not None:
        cache.rows_of(frame["path"])  # all of them, or the cache is another manifest's
    data = TrainingData(info.folder, frame, policy, mean, std, cache, info, whose)
    _refuse_too_little(data, workspace, config)
    return data


def _pixel_statistics(
    config: TrainConfig, measured: tuple[float, float]
) -> tuple[float, float, str]:
    """The mean and deviation that pixels are scaled by, and in words whose they are.

    A network that has seen chest X-rays knows them as its own training scaled them; one of
    photographs gets the data's own, as in the report.

    Raises:
        UsageError: the start's are asked for, and it has none.
    """
    start = None
    if config.normalise != "data":
        start = pixels_of_start(config.arch, config.weights)
    if config.normalise == "start" and start is None:
        raise UsageError(
            f"--normalise start: --weights {config.weights} does not say how its pixels were "
            "scaled; only starts and imagenet do. Pass --normalise data"
        )
    if start is None or (config.normalise == "auto" and not start.chest):
        return *measured, TRAINING_IMAGES
    return start.mean, start.std, f"the start's own training ({config.weights})"


def chosen_labels(asked: str | None, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels to train on, in the manifest's order: those asked for, or all.

    Raises:
        UsageError: one that the manifest does not have, or none.
    """
    if asked is None:
        return tuple(labels)
    names = named_ones("--labels", asked, labels)
    return tuple(label for label in labels if label in names)


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
            "`cxrtool prepare` rebuilds it"
        )
        return None
    if cache.image_size < image_size:
        reporter.warn(
            f"{workspace.cache} holds images of {cache.image_size} px, less than --image-size "
            f"{image_size}: {instead}; `cxrtool prepare --cache-size "
            f"{round(image_size * ROOM)}` rebuilds it"
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


def refuse_batch_size(data: TrainingData, config: TrainConfig, world: int) -> None:
    """Refuse a batch that the training images, or so many processes, cannot fill or share.

    Raises:
        UsageError: with the nearest size that works.
    """
    size, images = config.batch_size, len(data.part(valid=False))
    if size > images:
        raise UsageError(
            f"--batch-size {size} is more than the {images} training images: "
            f"--batch-size {images // world * world} is the largest possible"
        )
    if size % world:
        raise UsageError(
            f"--batch-size {size} counts the images of all processes: {world} cannot share it "
            f"evenly; try {-(-size // world) * world}"
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
            raise DataError(
                f"{workspace.split}: {name} has {count} images, and at least 2 are needed"
            )
    targets = data.targets(valid=True)
    positive, mask = majority(targets)
    aurocs = auroc_per_label(positive, np.zeros_like(targets), mask)
    if np.isnan(aurocs).all():
        chosen = "of --labels " if config.labels else ""
        limited = f"--limit {config.limit} leaves" if config.limit else "there are"
        advice = "a larger --limit" if config.limit else "`cxrtool split --sizes --force`"
        raise DataError(
            f"{workspace.split}: valid has no label {chosen}with both a positive and a negative "
            f"image ({limited} {images['valid']} images in it), so no epoch could be chosen "
            f"as the best: enlarge it ({advice})"
        )
    if data.cache is None and not data.folder.is_dir():
        raise DataError(
            f"the images are no longer at {data.folder}: run `cxrtool prepare DATA` again"
        )
