"""Features of a frozen network for all images of a training, computed once and kept.

What a last layer sees does not change while the rest of the network is frozen, so it need not be
computed anew in every epoch, nor for every fold, policy or penalty. Without augmentation that is
exact; augmented views are a few that stay the same, not new ones in each epoch.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, RunError, counted
from cxrtool.core.files import sha256, whole_file
from cxrtool.core.json_files import write_json
from cxrtool.core.schemas import Count, ImageSizes, Record, Sha256, Share, Word, read_as
from cxrtool.core.workspace import Inside, NamedFolder, Workspace
from cxrtool.networks.architectures import head_name, head_of, normalise
from cxrtool.networks.devices import autocast
from cxrtool.training.augmentation import Affine
from cxrtool.training.data import TrainingData
from cxrtool.training.fastai_parts import TensorImageBW
from cxrtool.training.reading import FromCache, ReadXRay

BATCH = 64
"""Images of 224 pixels that pass through the network at once; of larger ones, as many fewer."""
ROWS = 8_192
"""Rows of features that are read at once."""
IN_MEMORY = 2**30
"""Bytes of features up to which they are read once."""


class FeatureFacts(Record):
    """features.json: all that the features depend on, and nothing else."""

    INSTEAD: ClassVar[str] = "remove the folder; `cxrtool features` computes it again"
    arch: Word
    weights_sha256: Sha256
    """Of all but the last layer."""
    image_size: Count
    squish: ImageSizes
    pixel_mean: Share
    pixel_std: Share
    precision: Word
    views: Count
    """Augmented ones, besides the plain one."""
    seed: int | None
    """Of the augmentation; None without."""
    dtype: Word
    images: Count
    images_sha256: Sha256
    """Of the images' paths, in order, and their pixels."""
    width: Count

    @property
    def fingerprint(self) -> str:
        """The name of their folder."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FeaturesFolder(NamedFolder):
    """A folder of features."""

    facts = Inside("features.json")
    array = Inside("features.npy")
    """(1 + views, images, width): the plain view, and augmented ones."""


@dataclass(frozen=True)
class Features:
    """Features of all training and validation images."""

    folder: FeaturesFolder
    facts: FeatureFacts
    array: NDArray[np.floating]
    """(1 + views, images, width), in the file."""
    images_per_second: float | None
    """Of computing them; None where they were there."""

    def valid(self, is_valid: NDArray[np.bool_]) -> Tensor:
        """The plain view of the validation images, (n, width), float32."""
        return torch.from_numpy(self.array[0][is_valid].astype(np.float32))

    def training(self, is_valid: NDArray[np.bool_]) -> "TrainingFeatures":
        """The training images: the augmented views where there are any, or else the plain one."""
        first = 1 if self.facts.views else 0
        return TrainingFeatures(self.array[first:], np.flatnonzero(~is_valid))


class TrainingFeatures:
    """The features of the training images, view after view, a few thousand rows at a time."""

    def __init__(self, views: NDArray[np.floating], rows: NDArray[np.intp]) -> None:
        self._views, self._rows = views, rows
        wanted = len(views) * len(rows) * views.shape[-1] * views.itemsize
        self._kept = [torch.from_numpy(view[rows]) for view in views] if wanted <= IN_MEMORY else []

    @property
    def times(self) -> int:
        """How often each image is among the rows."""
        return len(self._views)

    def batches(self) -> Iterator[tuple[Tensor, slice]]:
        """All rows once: (rows, width), and which of `times` times the images they are."""
        for number, view in enumerate(self._views):
            before = number * len(self._rows)
            for start in range(0, len(self._rows), ROWS):
                end = min(start + ROWS, len(self._rows))
                part = (
                    self._kept[number][start:end]
                    if self._kept
                    else torch.from_numpy(view[self._rows[start:end]])
                )
                yield part, slice(before + start, before + end)


def facts_of(
    network: nn.Module,
    data: TrainingData,
    workspace: Workspace,
    *,
    arch: str,
    image_size: int,
    precision: str,
    views: int,
    seed: int,
    half: bool,
) -> FeatureFacts:
    """What the features of a network and of a training's images depend on."""
    return FeatureFacts(
        arch=arch,
        weights_sha256=_digest(network),
        image_size=image_size,
        squish=data.image_sizes(image_size),
        pixel_mean=data.mean,
        pixel_std=data.std,
        precision=precision,
        views=views,
        seed=seed if views else None,
        dtype="float16" if half else "float32",
        images=len(data.frame),
        images_sha256=_images_digest(data, workspace),
        width=head_of(network).in_features,
    )


def _digest(network: nn.Module) -> str:
    digest, head = hashlib.sha256(), head_name(network) + "."
    for name, value in sorted(network.state_dict().items()):
        if not name.startswith(head):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _images_digest(data: TrainingData, workspace: Workspace) -> str:
    digest = hashlib.sha256(sha256(workspace.pixels).encode())
    digest.update("\n".join(data.frame["path"]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def find_features(workspace: Workspace, facts: FeatureFacts) -> Features | None:
    """The features of these weights and images in the workspace, if they were computed.

    Raises:
        RunError: they are there, and damaged.
    """
    folder = FeaturesFolder(workspace.features / facts.fingerprint)
    return open_features(folder, facts) if folder.facts.is_file() else None


def open_features(folder: FeaturesFolder, facts: FeatureFacts) -> Features:
    """Features that somebody names, which have to be of these weights and images.

    Raises:
        DataError: they are of others; the message says in what they differ.
        RunError: the folder is none of features, or damaged.
    """
    if not folder.facts.is_file():
        raise DataError(
            f"{folder.path} is no folder of features ({folder.facts.name} is missing): "
            "`cxrtool features` makes one"
        )
    found = read_as(folder.facts, FeatureFacts)
    wanted, there = facts.model_dump(), found.model_dump()
    differing = [
        f"{name}: {there[name]}, not {one}" for name, one in wanted.items() if there[name] != one
    ]
    if differing:
        raise DataError(
            f"{folder.path} has features of another network or other images ({'; '.join(differing)}"
            "): leave --features out, and they are computed"
        )
    shape = (1 + facts.views, facts.images, facts.width)
    try:
        array = np.load(folder.array, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"{folder.array} cannot be read ({error}): {FeatureFacts.INSTEAD}") from None
    if array.shape != shape or str(array.dtype) != facts.dtype:
        raise RunError(
            f"{folder.array} is {array.dtype} of {array.shape}, not {facts.dtype} of {shape}: "
            f"{FeatureFacts.INSTEAD}"
        )
    return Features(folder, found, array, None)


def compute_features(
    network: nn.Module,
    data: TrainingData,
    workspace: Workspace,
    facts: FeatureFacts,
    *,
    device: torch.device,
    workers: int,
    reporter: Reporter,
    clock: Callable[[], float],
) -> Features:
    """Compute the features of all images and keep them, whole or not at all.

    Args:
        network: on `device`; what is before its last layer is used, in eval mode.
        data: the images.
        workspace: which keeps them.
        facts: of `facts_of`.
        device: that computes.
        workers: threads that decode.
        reporter: shows how far it is.
        clock: seconds.

    Raises:
        ImageError: an image cannot be read any more.
        OSError: the disk is full.
    """
    folder = FeaturesFolder(workspace.features / facts.fingerprint)
    shape = (1 + facts.views, facts.images, facts.width)
    began = clock()
    with whole_file(folder.array) as path:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=facts.dtype, shape=shape)
        title = f"features of {counted(facts.images, 'image')}"
        with (
            reporter.steps(title, shape[0] * shape[1]) as advance,
            _backbone(network) as backbone,
        ):
            for view in range(shape[0]):
                for rows, pixels in _pixels(data, facts, view, workers):
                    given = _augmented(pixels, facts, view, rows.start, device)
                    array[view, rows] = _through(backbone, given, facts, device)
                    advance(len(pixels))
        array.flush()
        del array
    rate = shape[0] * shape[1] / max(clock() - began, 1e-9)
    write_json(folder.facts, facts.model_dump(mode="json"))
    found = open_features(folder, facts)
    return Features(folder, facts, found.array, rate)


@contextmanager
def _backbone(network: nn.Module) -> Iterator[nn.Module]:
    """The network without its last layer, while the block runs."""
    name, head = head_name(network), head_of(network)
    modes = {module: module.training for module in network.modules()}
    network.set_submodule(name, nn.Identity())
    try:
        yield network.eval()
    finally:
        network.set_submodule(name, head)
        for module, mode in modes.items():
            module.training = mode


def _pixels(
    data: TrainingData, facts: FeatureFacts, view: int, workers: int
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Grey bytes (n, side, side), batch after batch, the next ones read meanwhile."""
    images = ReadXRay(data.folder, facts.image_size, data.cache, augmented=view > 0)
    reader = images.reader(data.frame["path"].tolist(), training=view > 0)
    size = batch_size(facts.image_size)
    parts = [
        slice(start, min(start + size, facts.images)) for start in range(0, facts.images, size)
    ]
    with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(max(workers, 1)) as pool:

        def read(part: slice) -> NDArray[np.uint8]:
            rows = range(part.start, part.stop)
            if isinstance(reader, FromCache):
                return reader(rows)
            return np.concatenate(list(pool.map(lambda row: reader([row]), rows)))

        coming = ahead.submit(read, parts[0])
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            pixels = coming.result()
            if following is not None:
                coming = ahead.submit(read, following)
            yield part, pixels


def batch_size(image_size: int) -> int:
    """How many images at once need about the memory of `BATCH` of 224 pixels."""
    return max(1, min(BATCH, BATCH * 224**2 // image_size**2))


def _augmented(
    pixels: NDArray[np.uint8], facts: FeatureFacts, view: int, start: int, device: torch.device
) -> Tensor:
    """Grey floats (n, 1, image_size, image_size) in 0..1: of a view above 0, augmented."""
    grey = torch.from_numpy(pixels).to(device).unsqueeze(1).float() / 255
    if not view:
        return grey
    generator = torch.Generator(device)
    # Each batch of each view has a seed of its own, so that none depends on those before.
    generator.manual_seed(hash_of(facts.seed or 0, view, start))
    affine = Affine(facts.image_size, generator=generator)
    moved: Tensor = affine.encodes(TensorImageBW(grey)).as_subclass(Tensor)
    return moved


def hash_of(*numbers: int) -> int:
    """A seed of several numbers, the same everywhere."""
    digest = hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@torch.inference_mode()
def _through(
    backbone: nn.Module, grey: Tensor, facts: FeatureFacts, device: torch.device
) -> NDArray[np.float32]:
    scaled = normalise(grey, facts.pixel_mean, facts.pixel_std)
    with autocast(device, facts.precision):
        features: Tensor = backbone(scaled.contiguous(memory_format=torch.channels_last))
    return features.float().cpu().numpy()
