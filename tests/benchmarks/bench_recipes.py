"""The recipes side by side on a small data set: patient folds, several seeds, from random weights.

    python tests/benchmarks/bench_recipes.py DATA [--seeds 3] [--folds 5] [--arch resnet18]
        [--only NAME ...]

For each seed the patients are dealt to folds; each fold is the test part once, the next one is
valid, the others are train, so that no image's score had a say in choosing an epoch. The folds'
test predictions are pooled, and a label counts if it has ten positives or more in all of the data.
The report here is the letter of it, with a frozen body, although the weights are random; `strong`
sees images larger by its own factor of 320 to 224. A table of mean AUROCs is printed: one column a
seed, then their mean, and how far they lie apart.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cxrtool.core.config import EvaluateConfig, PrepareConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.manifest import label_columns, read_manifest
from cxrtool.data.prediction_tables import read_predictions
from cxrtool.data.stratification import split_by_patient
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.workflows.evaluate import evaluate_run
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.train import train_model

LEAST_POSITIVES = 10
LETTER = {"freeze_epochs": 3, "unfreeze": "top"}


def recipes(side, **common):
    """The trainings that are compared."""
    report = TrainConfig(**LETTER, image_size=side, **common)
    larger = round(side * 320 / 224 / 8) * 8
    return {
        "report": report,
        "strong": TrainConfig.of_recipe("strong", **{**common, "image_size": larger}),
        "report, uniform sampling": replace(report, sampling="uniform"),
        "report, sampling cap 3": replace(report, sampling_cap=3),
        "report, sampling cap 1.5": replace(report, sampling_cap=1.5),
        "report, everything trained": replace(report, freeze_epochs=0, unfreeze="all"),
        "report, one-cycle": replace(report, schedule="one-cycle"),
    }


def pooled(config, workspace, manifest, folds, seed, name):
    """Test scores of all images, each by the network that had its fold as test part."""
    scores = []
    for fold in range(folds.max() + 1):
        parts = np.where(folds == fold, "test", "train")
        parts[folds == (fold + 1) % (folds.max() + 1)] = "valid"
        table = manifest[["path", "patient_id"]].assign(split=parts)
        table.to_csv(workspace.split, index=False)
        train_model(replace(config, name=name, force=True), workspace, seed=seed)
        asked = EvaluateConfig(run=name, bootstrap=0, workers=0, report=False)
        evaluate_run(asked, workspace, seed=seed)
        labels = label_columns(manifest)
        scores.append(
            read_predictions(workspace.runs / name / "predictions" / "test.csv", labels).scores
        )
    return pd.concat(scores).loc[manifest["path"]].to_numpy(dtype=float)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--only", action="append", help="a training's name; may be repeated")
    asked = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "cxr")
        common = {"arch": asked.arch, "weights": "none", "workers": 0}
        chosen = recipes(asked.image_size, **common)
        if asked.only:
            chosen = {name: chosen[name] for name in asked.only}
        largest = max(config.image_size for config in chosen.values())
        prepare_manifest(PrepareConfig(data=asked.data, cache_size=largest), workspace)
        manifest = read_manifest(workspace.manifest)
        labels = label_columns(manifest)
        raw = manifest[labels].to_numpy(dtype=float)
        targets = targets_and_mask(raw, labels, "ones")[0] == 1
        counted = targets.sum(axis=0) >= LEAST_POSITIVES
        names = [label for label, is_counted in zip(labels, counted, strict=True) if is_counted]
        print(f"{len(manifest)} images, {asked.arch}, {len(names)} labels: {', '.join(names)}")
        patients = manifest["patient_id"].to_numpy(dtype=str)
        for seed in range(asked.seeds):
            shares = [1 / asked.folds] * asked.folds
            folds = split_by_patient(targets, patients, sizes=shares, seed=seed)
            for name, config in chosen.items():
                scores = pooled(config, workspace, manifest, folds, seed, "run")
                aurocs = auroc_per_label(targets, scores, np.ones_like(targets))[counted]
                found.setdefault(name, []).append(float(np.mean(aurocs)))
                print(f"seed {seed}, {name}: {found[name][-1]:.3f}", flush=True)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, means in found.items():
        each = "  ".join(f"{mean:.3f}" for mean in means)
        spread = max(means) - min(means)
        print(f"{name:28} {each}   mean {np.mean(means):.3f}   spread {spread:.3f}")


if __name__ == "__main__":
    main()
