"""`features`: what a frozen network makes of all images of a training, computed once and kept."""

from dataclasses import dataclass
from pathlib import Path

from cxrtool.core.config import FeaturesConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.json_files import JsonResult
from cxrtool.core.workspace import Workspace
from cxrtool.training.probing import features_for
from cxrtool.training.setup import tried


@dataclass(frozen=True)
class FeaturesResult(JsonResult):
    """The features of a network."""

    folder: Path
    images: int
    views: int
    """Augmented ones, besides the plain one."""
    width: int
    """Of the features of an image."""
    bytes: int
    images_per_second: float | None
    """None where they were there."""


def keep_features(
    config: FeaturesConfig, workspace: Workspace, *, seed: int, reporter: Reporter = SILENT
) -> FeaturesResult:
    """Compute the features of all training and validation images, or find that they are there.

    Raises:
        DataError: no manifest or split, or an image that cannot be read any more.
        UsageError: an unknown architecture or device, or a size that it cannot take.
        WeightsError: the weights are not here or do not fit.
    """
    training = config.training()
    with tried(training, workspace, "features", seed=seed, reporter=reporter) as setup:
        reporter.note(f"{setup.config.arch}: {setup.loaded.detail}")
        found = features_for(setup, workspace, reporter)
    return FeaturesResult(
        folder=found.folder.path,
        images=found.facts.images,
        views=found.facts.views,
        width=found.facts.width,
        bytes=found.folder.array.stat().st_size,
        images_per_second=found.images_per_second,
    )
