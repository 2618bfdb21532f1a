"""`demo`: the whole chain on drawn X-rays, and a linear model on thumbnails beside it."""

import os
import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrtool.core.config import (
    DemoConfig,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    SplitConfig,
    TrainConfig,
)
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import DataError
from cxrtool.core.json_files import JsonResult, write_json
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import NO_FINDING, majority, targets_and_mask
from cxrtool.data.manifest import label_columns, read_manifest, read_split
from cxrtool.data.phantoms import DrawnDataset, draw_dataset
from cxrtool.evaluation.metrics import auroc_per_label, mean_defined
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.work import PredictResult
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.predict import predict_images
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model

NETWORK = TrainConfig(
    arch="resnet18",
    weights="none",
    image_size=80,
    epochs=7,
    lr=5e-4,
    workers=0,
    name="demo",
)
"""What the demo trains, by the report's recipe otherwise: small enough for two cores, which are
faster without processes beside them."""
MARKER = "demo.json"
"""Says that a folder is a demo's, which --force may replace."""
THUMBNAIL = 16
EXPECTED_PER_PATIENT = 2.6
"""Images a patient, for the length of the drawing's progress bar."""


@dataclass(frozen=True)
class DemoResult(JsonResult):
    """What the chain came to on the drawings."""

    workspace: Path
    evaluate: EvaluationResult
    predict: PredictResult
    findings: tuple[str, ...]
    """What the table says of the image that is predicted."""
    linear_mean_auroc: float
    seconds: float


def draw_only(config: DemoConfig, *, seed: int, reporter: Reporter = SILENT) -> DrawnDataset:
    """Draw the data set into `config.only_data`.

    Raises:
        DataError: the folder holds one already, and `force` is not given.
    """
    if config.only_data is None:
        raise DataError("--only-data DIR says where to draw")
    return _draw(config.only_data, config, seed, reporter)


def run_demo(config: DemoConfig, *, seed: int, reporter: Reporter = SILENT) -> DemoResult:
    """Draw a data set, then prepare, split, train, evaluate and predict on it.

    Raises:
        DataError: the workspace exists, and `force` is not given.
    """
    started = time.perf_counter()
    _make_room(config)
    write_json(config.workspace / MARKER, {"seed": seed, "patients": config.patients})
    reporter.note("This is a drawing: invented patients, no download, nothing leaves the machine.")
    drawn = _draw(config.workspace / "data", config, seed, reporter)
    workspace = Workspace(config.workspace)
    reporter.note("--- prepare")
    prepared = prepare_manifest(
        PrepareConfig(data=drawn.folder, cache_size=NETWORK.image_size), workspace, reporter
    )
    reporter.note(f"{prepared.images:,} frontal images of {prepared.patients:,} patients")
    reporter.note("--- split")
    parts = split_manifest(SplitConfig(), workspace, seed=seed, reporter=reporter)
    reporter.note(", ".join(f"{part} {size:,}" for part, size in parts.sizes.items()))
    reporter.note("--- train")
    train_model(NETWORK, workspace, seed=seed, reporter=reporter)
    reporter.note("--- evaluate, predict")
    scores = evaluate_run(EvaluateConfig(), workspace, seed=seed, reporter=reporter)
    image, findings = _a_test_image(workspace)
    prediction = predict_images(PredictConfig(), [str(drawn.folder / image)], workspace, reporter)
    with reporter.busy("logistic regression on thumbnails"):
        linear = thumbnail_auroc(workspace, drawn.folder)
    return DemoResult(
        workspace=config.workspace,
        evaluate=scores,
        predict=prediction,
        findings=findings,
        linear_mean_auroc=linear,
        seconds=time.perf_counter() - started,
    )


def _make_room(config: DemoConfig) -> None:
    """Remove an earlier demo, if asked, and never anything else."""
    folder = config.workspace
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MARKER).is_file():
        raise DataError(f"{folder} is not an earlier demo: it is left alone, -w names another")
    if not config.force:
        raise DataError(f"{folder} exists: --force replaces it, -w names another folder")
    shutil.rmtree(folder)


def _draw(folder: Path, config: DemoConfig, seed: int, reporter: Reporter) -> DrawnDataset:
    target = folder / "CheXpert-v1.0-small"
    if config.force and (target / "boxes.csv").is_file():
        shutil.rmtree(target)
    about = int(config.patients * EXPECTED_PER_PATIENT)
    with reporter.steps("drawing", about) as advance:
        return draw_dataset(
            folder,
            patients=config.patients,
            seed=seed,
            rates=config.rates,
            workers=os.cpu_count() or 1,
            on_image=advance,
        )


def _a_test_image(workspace: Workspace) -> tuple[str, tuple[str, ...]]:
    """The first test image with a finding, and its positive labels."""
    manifest = read_manifest(workspace.manifest)
    test = manifest[read_split(workspace.split, manifest) == "test"]
    labels = [label for label in label_columns(manifest) if label != NO_FINDING]
    positive, _ = majority(test[labels].to_numpy(dtype=float))
    at = int(np.flatnonzero(positive.any(axis=1))[0])
    found = zip(labels, positive[at], strict=True)
    return str(test["path"].iloc[at]), tuple(label for label, is_there in found if is_there)


def thumbnail_auroc(workspace: Workspace, folder: Path) -> float:
    """Mean test AUROC of logistic regressions on 16x16 thumbnails, a label each.

    What can be had without a network: the demo's own score means something above this.
    """
    manifest = read_manifest(workspace.manifest)
    split = read_split(workspace.split, manifest)
    labels = label_columns(manifest)
    targets, mask = targets_and_mask(
        manifest[labels].to_numpy(dtype=float), labels, NETWORK.uncertainty
    )
    thumbnails = np.stack(
        [load_pixels(folder / path, THUMBNAIL).ravel() for path in manifest["path"]]
    )
    train, test = (split.isin(parts).to_numpy() for parts in (("train", "valid"), ("test",)))
    scores = _linear_scores(thumbnails / 255.0, targets, train, test)
    aurocs = auroc_per_label(targets[test] == 1, scores, mask[test])
    return mean_defined([float(value) for value in aurocs])[0]


def _linear_scores(
    features: NDArray[np.float64],
    targets: NDArray[np.float32],
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(test images, labels) probabilities; 0 for a label that train has in one class alone."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros((int(test.sum()), targets.shape[1]))
    for column in range(targets.shape[1]):
        target = targets[train, column]
        if target.min() == target.max():
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], target)
        scores[:, column] = model.predict_proba(features[test])[:, 1]
    return scores
