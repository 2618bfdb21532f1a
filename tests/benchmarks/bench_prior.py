"""Prior shift on drawn data: Brier score and calibration intercept before and after, ranks.

python tests/benchmarks/bench_prior.py [--seeds 1 2 3] [--patients 500] [--rates chexpert]
    [--trainings probe weighted balanced uniform] [--folder DIR]

For each seed a data set of drawn X-rays, and on it a small ResNet by weighted sampling (the
report's recipe), with `--pos-weight balanced`, and plainly; `probe` fits the last layer alone, to
features of random weights, by weighted sampling: a training whose loss reached its end. Each run is
scored on test with `--calibrate none`, `prior` and `platt`. Printed, as means over the labels with
five or more test positives: Brier score, the size of the calibration intercept, its slope, and
whether AUROCs stayed what they were to the last bit. `--folder` keeps what was trained, and goes on
there.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrtool.core.config import EvaluateConfig, PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.evaluation.result import EvaluationResult
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model

ENOUGH = 5
NETWORK = TrainConfig(
    arch="resnet18", weights="none", image_size=64, epochs=8, lr=5e-4, workers=0, device="cpu"
)
TRAININGS = {
    "weighted": NETWORK,
    "balanced": replace(NETWORK, sampling="uniform", pos_weight="balanced"),
    "uniform": replace(NETWORK, sampling="uniform"),
    "probe": replace(NETWORK, probe="only"),
}
METHODS = ("none", "prior", "platt")


def prepared(folder: Path, seed: int, patients: int, rates: str) -> Workspace:
    """A workspace of drawn X-rays, made unless it is there."""
    workspace = Workspace(folder / f"seed-{seed}")
    if not workspace.split.is_file():
        data = draw_dataset(folder / f"data-{seed}", patients=patients, seed=seed, rates=rates)
        prepare = PrepareConfig(data=data.folder, cache_size=NETWORK.image_size)
        prepare_manifest(prepare, workspace)
        split_manifest(SplitConfig(), workspace, seed=seed)
    return workspace


def trained(workspace: Workspace, seed: int, name: str) -> None:
    """A training, unless it is there."""
    if not (workspace.runs / name / "model.json").is_file():
        train_model(replace(TRAININGS[name], name=name, force=True), workspace, seed=seed)


def scored(workspace: Workspace, seed: int, name: str, method: str) -> EvaluationResult:
    """The run on test, with its probabilities calibrated by a method."""
    config = EvaluateConfig(run=name, calibrate=method, report=False, by="none")
    return evaluate_run(config, workspace, seed=seed)


def figures(result: EvaluationResult) -> tuple[float, float, float]:
    """Mean Brier score, size of the intercept and slope, over the labels with enough positives."""
    kept = [one for one in result.labels.values() if one.positives >= ENOUGH]
    slopes = [one.calibration_slope.value for one in kept]
    return (
        float(np.mean([one.brier for one in kept])),
        float(np.mean([abs(one.calibration_intercept.value) for one in kept])),
        float(np.mean([slope for slope in slopes if slope is not None])),
    )


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--rates", choices=("demo", "chexpert"), default="chexpert")
    parser.add_argument("--trainings", choices=tuple(TRAININGS), nargs="+", default=[*TRAININGS])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only-train", action="store_true")
    given = parser.parse_args()
    headings = ("seed", "training", "calibrate", "Brier", "|intercept|", "slope", "ranks")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        print("  ".join(f"{heading:>11}" for heading in headings))
        for seed in given.seeds:
            workspace = prepared(folder, seed, given.patients, given.rates)
            for name in given.trainings:
                trained(workspace, seed, name)
                if given.only_train:
                    print(seed, name, flush=True)
                    continue
                found = {method: scored(workspace, seed, name, method) for method in METHODS}
                plain = [one.auroc for one in found["none"].labels.values()]
                for method, result in found.items():
                    same = plain == [one.auroc for one in result.labels.values()]
                    numbers = (f"{number:.4f}" for number in figures(result))
                    cells = (seed, name, method, *numbers, "the same" if same else "moved")
                    print("  ".join(f"{cell:>11}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
