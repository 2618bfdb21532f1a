"""`predict`: images and a run to a row of probabilities and decisions an image. No fastai."""

import glob
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cxrtool.config import PredictConfig, worker_count
from cxrtool.devices import choose_device, choose_precision
from cxrtool.errors import DataError, RunError, UsageError
from cxrtool.files import check_writable, refuse_existing
from cxrtool.images import SUFFIXES, ImageError, read_grey, shape_warning, squish
from cxrtool.networks import build_network, score_batch
from cxrtool.points import Calibration, stored_calibration, stored_point
from cxrtool.predictions import format_scores, prediction_frame
from cxrtool.report import SILENT, Reporter, or_none
from cxrtool.runs import RunCard, RunFolder, find_run, read_card
from cxrtool.tables import read_table, write_table
from cxrtool.workspace import Workspace

ONE_PROCESS = 64
"""Up to as many images are decoded in this process: starting others would take longer."""


@dataclass(frozen=True)
class PredictResult:
    """A table of predictions, and how the making went."""

    run: RunFolder
    card: RunCard
    thresholds: dict[str, float | None]
    """On the scale of the table's probabilities."""
    table: pd.DataFrame
    images: int
    failed: int
    seconds: float
    images_per_second: float
    output: Path | None

    def csv(self) -> str:
        """The table as CSV text."""
        return str(format_scores(self.table, self.card.labels).to_csv(index=False))

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it; with the rows, where no file holds them."""
        values: dict[str, Any] = {
            "run": self.run.name,
            "images": self.images,
            "failed": self.failed,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "output": str(self.output) if self.output else None,
        }
        if self.output is None:
            rows = self.table.astype(object).where(self.table.notna(), None)
            values["predictions"] = rows.to_dict("records")
        return values


@dataclass(frozen=True)
class Scorer:
    """A run's network, ready to score."""

    card: RunCard
    network: nn.Module
    device: torch.device
    precision: str
    calibration: Calibration | None = None
    """What is made of the probabilities before anybody sees them."""

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Each label's, on the scale of the probabilities that are shown."""
        if self.calibration is None:
            return self.card.thresholds
        labels = self.card.labels
        shown = self.calibration.of_thresholds(labels, stored_point(self.card).thresholds)
        return {label: or_none(float(limit)) for label, limit in zip(labels, shown, strict=True)}

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, labels) of grey images (n, size, size)."""
        return score_batch(
            self.network,
            pixels,
            mean=self.card.pixel_mean,
            std=self.card.pixel_std,
            device=self.device,
            precision=self.precision,
        )


def predict_images(
    config: PredictConfig,
    inputs: Sequence[str],
    workspace: Workspace,
    reporter: Reporter = SILENT,
) -> PredictResult:
    """Score images, folders, globs or the paths in a CSV with a run.

    Every input gets a row, in order; what cannot be read gets one with the reason.

    Raises:
        DataError: an input that is nothing at all, or an output that exists.
        RunError: no such run, or it is incomplete or altered.
    """
    run = find_run(workspace.runs, config.run)
    if config.output is not None:
        refuse_existing(config.output, force=config.force, what="it")
        check_writable(config.output)
    images = list_images(inputs)
    scorer = load_scorer(run, config.device, config.precision)
    reporter.note(f"scoring with {run.name} on {scorer.device}, {scorer.precision}")
    reporter.detail(
        f"{run.path}: {scorer.card.arch} at {scorer.card.image_size} px; "
        f"{len(images):,} images in batches of {config.batch_size}"
    )
    started = time.perf_counter()
    names, files = [name for name, _ in images], [file for _, file in images]
    table = score_files(
        scorer,
        names,
        files,
        batch_size=config.batch_size,
        workers=config.workers,
        reporter=reporter,
    )
    seconds = time.perf_counter() - started
    if config.output is not None:
        write_table(format_scores(table, scorer.card.labels), config.output)
    return PredictResult(
        run=run,
        card=scorer.card,
        thresholds=scorer.thresholds,
        table=table,
        images=len(table),
        failed=int((table["error"] != "").sum()),
        seconds=seconds,
        images_per_second=len(table) / seconds,
        output=config.output,
    )


def load_scorer(run: RunFolder, device: str, precision: str) -> Scorer:
    """Build a run's network and load its weights.

    Raises:
        RunError: a file of the run is missing or altered, or its weights do not fit.
        UsageError: this machine has no such device.
    """
    card = read_card(run)
    chosen = choose_device(device)
    network = build_network(card.arch, len(card.labels), drop_rate=card.drop_rate)
    try:
        network.load_state_dict(load_file(run.weights))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{run.weights} does not fit {run.model.name}: {reason}") from None
    network = network.to(chosen).to(memory_format=torch.channels_last).eval()
    return Scorer(
        card, network, chosen, choose_precision(precision, chosen), stored_calibration(card)
    )


def list_images(inputs: Sequence[str]) -> list[tuple[str, Path]]:
    """The images that the inputs stand for: (as the row names it, where it is).

    A folder stands for the images in it and below, a glob for the images it matches, a CSV for
    its `path` (or `Path`) column. A file that is named is taken whatever it is called.

    Raises:
        DataError: an input that stands for no image.
        UsageError: an empty input.
    """
    images: list[tuple[str, Path]] = []
    for text in inputs:
        if not text.strip():
            raise UsageError("an input is empty: name an image, a folder or a table")
        found = _expand(text)
        if not found:
            raise DataError(f"{text}: no images ({', '.join(SUFFIXES)}) are there")
        images += found
    return images


def _expand(text: str) -> list[tuple[str, Path]]:
    path = Path(text)
    if path.is_dir():
        return [(str(file), file) for file in sorted(path.rglob("*")) if _is_image(file)]
    if path.suffix.lower() == ".csv" and path.is_file():
        return _paths_of_table(path)
    if not path.exists() and glob.has_magic(text):
        # Path.glob cannot take an absolute pattern.
        names = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        return [(name, Path(name)) for name in names if _is_image(Path(name))]
    return [(text, path)]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _paths_of_table(path: Path) -> list[tuple[str, Path]]:
    frame = read_table(path, ())
    column = next((name for name in ("path", "Path") if name in frame.columns), None)
    if column is None:
        raise DataError(f"{path} has no column path: its columns are {', '.join(frame.columns)}")
    base = _base_of_table(path, frame[column].iloc[0])
    return [(name, base / name) for name in frame[column]]


def _base_of_table(path: Path, first: str) -> Path:
    """What a table's paths are relative to: the first place where its first image is.

    Its own folder; the one above, as in CheXpert's tables; for a manifest, the data folder; or
    where the user is.
    """
    places = [path.parent, path.parent.parent]
    workspace = Workspace(path.parent)
    if workspace.data_info.is_file():
        places.append(workspace.read_data_info().folder)
    places.append(Path())
    return next((place for place in places if (place / first).is_file()), path.parent)


def score_files(
    scorer: Scorer,
    names: Sequence[str],
    files: Sequence[Path],
    *,
    batch_size: int,
    workers: int | None,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """A table of predictions for image files, in their order; decoding runs beside scoring."""
    labels = scorer.card.labels
    scores = np.full((len(files), len(labels)), np.nan, dtype=np.float32)
    warnings, errors = [""] * len(files), [""] * len(files)
    with reporter.steps("scoring", len(files)) as advance:
        for batch in _decoded_batches(files, scorer.card.squish, batch_size, workers):
            for row, _, warning, error in batch:
                warnings[row], errors[row] = warning, error
            good = [(row, pixels) for row, pixels, _, _ in batch if pixels is not None]
            if good:
                scores[[row for row, _ in good]] = scorer(np.stack([pixels for _, pixels in good]))
            advance(len(batch))
    shown: NDArray[np.floating] = scores
    if scorer.calibration is not None:
        shown = scorer.calibration.of_scores(labels, scores.astype(np.float64))
    return prediction_frame(
        names, shown, labels, scorer.thresholds, warnings=warnings, errors=errors
    )


Decoded = tuple[int, NDArray[np.uint8] | None, str, str]
"""Row, pixels, warning, error."""


class _Decoding(Dataset[Decoded]):
    def __init__(self, files: Sequence[Path], sides: tuple[int, ...]) -> None:
        self.files, self.sides = files, sides

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Decoded:
        try:
            grey = read_grey(self.files[row])
        except ImageError as error:
            return row, None, "", str(error).removeprefix(f"{self.files[row]}: ")
        return row, squish(grey, *self.sides), shape_warning(*grey.size), ""


def _decoded_batches(
    files: Sequence[Path], sides: tuple[int, ...], batch_size: int, workers: int | None
) -> Iterator[list[Decoded]]:
    few = workers is None and len(files) <= ONE_PROCESS
    yield from DataLoader(
        _Decoding(files, sides),
        batch_size=batch_size,
        num_workers=0 if few else worker_count(workers),
        collate_fn=list,
    )
