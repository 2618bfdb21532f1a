"""`xray_block`: a fastai DataBlock of chest X-rays, whose loaders read a whole batch at once."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cxrtool.core.config import TrainConfig, worker_count
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, UsageError, counted, first_few, unknown_name
from cxrtool.core.processes import ALONE, Processes
from cxrtool.core.workspace import Workspace
from cxrtool.images.cache import ImageCache
from cxrtool.images.errors import ImageError
from cxrtool.training.augmentation import Affine, DrawTargets, Normalise
from cxrtool.training.data import TrainingData, read_training_data
from cxrtool.training.dataloaders import XRayLoader
from cxrtool.training.fastai_parts import (
    ColReader,
    ColSplitter,
    DataBlock,
    DataLoaders,
    IntToFloatTensor,
    TransformBlock,
    default_device,
)
from cxrtool.training.reading import NamedFindings, ReadTargets, ReadXRay
from cxrtool.training.sampling import plan_sampling
from cxrtool.training.targets import Targets, targets_of

UNIFORM, WEIGHTED = "uniform", "weighted"
MEASURED = 128
"""Training images from which mean and deviation are taken where nobody says them."""
VALID_SHARE = 0.2
"""Of the patients, where a table does not say which rows are valid."""


class XRayBlock(DataBlock):  # type: ignore[misc]
    """What `xray_block` makes: a DataBlock that knows the table that it was made of."""

    def __init__(
        self,
        table: pd.DataFrame,
        targets: Targets,
        images: ReadXRay,
        mean: float,
        std: float,
        seed: int | None,
    ) -> None:
        self.table, self.targets, self.images, self.seed = table, targets, images, seed
        augmented = [Affine(images.image_size), DrawTargets()] if images.augmented else []
        super().__init__(
            blocks=(
                TransformBlock(type_tfms=[images], batch_tfms=[IntToFloatTensor()]),
                TransformBlock(type_tfms=[NamedFindings(list(targets.labels))]),
            ),
            dl_type=XRayLoader,
            get_items=self._rows,
            get_x=ColReader("path"),
            get_y=ReadTargets(targets),
            splitter=ColSplitter("is_valid"),
            batch_tfms=[*augmented, Normalise(mean, std)],
        )

    def _rows(self, source: pd.DataFrame | None) -> pd.DataFrame:
        return self.table if source is None else _with_parts(source, self.seed)

    def dataloaders(
        self,
        source: pd.DataFrame | None = None,
        path: str | Path = ".",
        verbose: bool = False,
        *,
        bs: int = 32,
        sampling: str | NDArray[np.float64] = UNIFORM,
        num_workers: int | None = None,
        device: torch.device | None = None,
        processes: Processes = ALONE,
        **kwargs: Any,
    ) -> DataLoaders:
        """Training and validation loaders of float batches (n, 3, image_size, image_size) and
        targets (n, labels), NaN where masked.

        Args:
            source: a table like the block's; None: the block's own.
            path: where a Learner keeps its files.
            verbose: fastai's, which then says how the loaders are made.
            bs: images in a batch, over all processes.
            sampling: `uniform`, each image once an epoch; `weighted`, rare labels more often; or
                a weight above 0 for each training row, in the table's order.
            num_workers: processes that decode; None: one a core, at most 8.
            device: where batches go; None: fastai's default device.
            processes: those that train together; each loads its share of a batch.
            kwargs: more of fastai's own, for its `TfmdDL`.

        Raises:
            DataError: a column is missing, a label has an unknown value, or a part is empty.
        """
        device = default_device() if device is None else torch.device(device)
        block = copy.copy(self)
        block.batch_tfms = self.batch_tfms.map(copy.copy)  # each draws by a generator of its own
        datasets = DataBlock.datasets(block, source, verbose=verbose)
        weights = self._weights(datasets.train.items, sampling)
        dls: DataLoaders = datasets.dataloaders(
            path=path,
            verbose=verbose,
            after_item=block.item_tfms,
            after_batch=block.batch_tfms,
            bs=bs,
            num_workers=worker_count(num_workers),
            device=device,
            pin_memory=device.type == "cuda",
            processes=processes,
            dl_kwargs=[{"weights": weights, "seed": self.seed}, {"seed": self.seed}],
            **kwargs,
        )
        if self.seed is not None:
            generator = torch.Generator(device)
            generator.manual_seed(self.seed + processes.rank)
            for transform in dls.train.after_batch.fs:
                if isinstance(transform, Affine | DrawTargets):
                    transform.generator = generator
            dls.train.augmentation = generator
        return dls

    def _weights(
        self, rows: pd.DataFrame, sampling: str | NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        if not isinstance(sampling, str):
            return sampling
        if sampling not in (UNIFORM, WEIGHTED):
            raise UsageError(unknown_name("sampling", sampling, (UNIFORM, WEIGHTED)))
        targets, labels = self.targets.middle(rows), self.targets.labels
        return plan_sampling(targets, labels, weighted=sampling == WEIGHTED).weights


def xray_block(
    source: pd.DataFrame | Workspace | Path | str,
    labels: Sequence[str] | None = None,
    *,
    image_size: int = 224,
    uncertainty: str = "ones",
    blank: str = "zeros",
    folder: Path | str = ".",
    cache: ImageCache | None = None,
    mean: float | None = None,
    std: float | None = None,
    augment: bool = True,
    seed: int | None = None,
    every_label: Sequence[str] | None = None,
) -> XRayBlock:
    """A fastai DataBlock of chest X-rays: `xray_block("cxr").dataloaders(bs=32)`.

    Args:
        source: a workspace after `prepare` and `split`, or its manifest.csv: then folder, cache,
            mean and deviation are known. Or a table with a `path` column and a column for each
            label, of 1, 0, -1 (uncertain) and NaN (not mentioned), or, if `labels` names it, of
            shares of readers in 0..1, which are targets as they are. Its `is_valid` column, or its
            `split` column, says what is valid; without either, a fifth of the patients is
            (`patient_id`, or each image for itself).
        labels: those to train on, in the order of the network's logits (of a workspace, in the
            manifest's); None: all that there are (of a table, all columns of numbers).
        image_size: side of the network's square input, in pixels.
        uncertainty: what an uncertain label becomes, as `train --uncertainty` has it.
        blank: what a label becomes that is not mentioned: `zeros` or `ignore`.
        folder: where a table's paths start.
        cache: a table's images, decoded already.
        mean: pixel mean of a table's training images, 0..1; None: measured on some of them.
        std: their standard deviation, 0..1.
        augment: rotate, scale, shear and shift training images, as `train` does.
        seed: of the split, the sampler and the augmentation; None: as fastai's `set_seed` says.
        every_label: all label columns of a table, where `labels` are some of them: under U-Zeros
            what No Finding becomes depends on all.

    Raises:
        DataError: no manifest or split, no `path` column, unknown label values, or no image.
        UsageError: a label or policy that is unknown.
    """
    if not isinstance(source, pd.DataFrame):
        config = TrainConfig(
            labels=None if labels is None else ",".join(labels),
            image_size=image_size,
            uncertainty=uncertainty,
            blank=blank,
        )
        data = read_training_data(config, _workspace(source), 0, Reporter())
        return block_of(data, image_size, augment=augment, seed=seed)
    table = _with_parts(source, seed)
    targets = targets_of(table, labels, every_label, uncertainty, blank)
    images = ReadXRay(Path(folder), image_size, cache, augmented=augment)
    if mean is None or std is None:
        mean, std = _measured(table, images)
    return XRayBlock(table, targets, images, mean, std, seed)


def block_of(
    data: TrainingData, image_size: int, *, augment: bool = True, seed: int | None = None
) -> XRayBlock:
    """The block of what `train` reads from a workspace."""
    images = ReadXRay(data.folder, image_size, data.cache, augmented=augment)
    return XRayBlock(data.frame, data.policy, images, data.mean, data.std, seed)


def _workspace(source: Workspace | Path | str) -> Workspace:
    if isinstance(source, Workspace):
        return source
    path = Path(source)
    if path.is_file():
        workspace = Workspace(path.parent)
        if path.name == workspace.manifest.name and workspace.data_info.is_file():
            return workspace
        raise UsageError(
            f"{path} is not a workspace's manifest.csv: read it with pandas, and pass the table "
            "(and the folder where its paths start: folder=...)"
        )
    return Workspace(path)


def _with_parts(table: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    """The training and validation rows of a table, with `is_valid`.

    Raises:
        DataError: there is no `path`, or one of the two parts is empty.
    """
    if "path" not in table.columns:
        raise DataError(
            f"the table has no column path: its columns are {first_few(list(table.columns), 14)}; "
            "rename the one that says where the images are"
        )
    table = table.reset_index(drop=True)
    if "is_valid" in table.columns:
        valid = table["is_valid"].astype(bool)
    elif "split" in table.columns:
        table = table[table["split"].isin(("train", "valid"))].reset_index(drop=True)
        valid = table["split"] == "valid"
    else:
        people = table["patient_id" if "patient_id" in table.columns else "path"]
        names = pd.Series(people.unique())
        valid = people.isin(names.sample(frac=VALID_SHARE, random_state=seed))
    for name, count in (("train", int((~valid).sum())), ("valid", int(valid.sum()))):
        if count < 2:
            raise DataError(
                f"{name} has {counted(count, 'image')}, at least 2 are needed: say which rows are "
                "valid in a column is_valid (True or False), or split (train or valid)"
            )
    return table.assign(is_valid=valid)


def _measured(table: pd.DataFrame, images: ReadXRay) -> tuple[float, float]:
    """Pixel mean and standard deviation, 0..1, of training images that are evenly spread."""
    paths = table.loc[~table["is_valid"], "path"].tolist()
    rows = np.unique(np.linspace(0, len(paths) - 1, MEASURED).astype(int))
    try:
        pixels = images.reader(paths, training=False)(rows.tolist()) / 255
    except ImageError as error:
        raise DataError(
            f"{error}: the table's paths start at {images.folder.absolute()} (folder=... says "
            "where they start)"
        ) from None
    # Images without contrast have no deviation, and would be divided by it.
    return float(pixels.mean()), max(float(pixels.std()), 1e-6)
