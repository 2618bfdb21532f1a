"""Pretrained weights against none, under every recipe, on a small data set: patient folds, seeds.

    python tests/benchmarks/bench_starts.py DATA WEIGHTS [--arch timm/tf_efficientnet_lite0]
        [--image-size 224] [--seeds 3] [--folds 5] [--only NAME ...] [--keep FOLDER]

The folds are dealt as in bench_recipes.py: each is the test part once, the next one is valid, the
others are train; the folds' test scores are pooled, and a label counts if it has ten positives or
more. Each line is a recipe from one start: the mean AUROC over the labels and the seeds, with a
95 % interval over patients (bootstrap of the pooled scores, the same draws for all lines), and the
difference that the weights make, with its own. Beside them stands a logistic regression on
thumbnails of 16 by 16 pixels, fitted as `probe` fits a last layer. With `--keep` the pooled scores
of each line are kept in a folder and read from it next time: a long table can be made in parts.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np
import torch
from bench_recipes import LEAST_POSITIVES, pooled
from PIL import Image

from cxrtool.core.config import PrepareConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.labels import targets_and_mask
from cxrtool.data.manifest import label_columns, read_manifest
from cxrtool.data.stratification import split_by_patient
from cxrtool.evaluation.metrics import auroc_per_label
from cxrtool.images.cache import ImageCache
from cxrtool.training.probe import ProbeData, cell_weights, fit_probe
from cxrtool.workflows.prepare import prepare_manifest

THUMBNAIL = 16
DRAWS = 2000


def recipes(weights, **common):
    """The trainings from one start."""
    given = {**common, "weights": weights}
    return {
        "report": TrainConfig(**given),
        "strong": TrainConfig.of_recipe("strong", **given),
        "probe": TrainConfig.of_recipe("probe", **given),
        "lp-ft": TrainConfig.of_recipe("lp-ft", **given),
        "whole": TrainConfig(**given, freeze_epochs=0, unfreeze="all"),
    }


def thumbnails(workspace, manifest, targets, folds):
    """Test scores of all images by a logistic regression on thumbnails."""
    cache = ImageCache(workspace.cache)
    pixels = cache.read(cache.rows_of(manifest["path"].tolist()))
    side = (THUMBNAIL, THUMBNAIL)
    small = np.stack([np.asarray(Image.fromarray(one).resize(side)).ravel() for one in pixels])
    features = torch.from_numpy(small.astype(np.float32) / 255)
    known = targets.astype(np.float32)
    scores = np.zeros(known.shape)
    for fold in range(folds.max() + 1):
        valid = folds == (fold + 1) % (folds.max() + 1)
        train = ~valid & (folds != fold)
        given = features[train]
        data = ProbeData(
            batches=lambda given=given: iter([(given, slice(0, len(given)))]),
            width=features.shape[1],
            targets=torch.from_numpy(known[train]),
            weights=cell_weights(known[train]),
            valid=features[valid],
            valid_targets=known[valid],
        )
        probe = fit_probe(data)
        scores[folds == fold] = features[folds == fold].numpy() @ probe.weight.T + probe.bias
    return scores


def resampled(targets, scores, patients):
    """The mean AUROC of each draw of patients; scores is a list, one for each seed."""
    names, place = np.unique(patients, return_inverse=True)
    rows = [np.flatnonzero(place == number) for number in range(len(names))]
    rng, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        chosen = np.concatenate([rows[one] for one in rng.integers(0, len(names), len(names))])
        mask = np.ones((len(chosen), targets.shape[1]), bool)
        each = [np.nanmean(auroc_per_label(targets[chosen], one[chosen], mask)) for one in scores]
        found.append(np.mean(each))
    return np.array(found)


def interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return f"({low:.3f} to {high:.3f})"


def kept(file, make):
    """The array in a file, which is made and kept there if it is missing; None keeps nothing."""
    if file is None:
        return make()
    if not file.exists():
        np.save(file, make())
    return np.load(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--arch", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", action="append", help="a recipe; may be repeated")
    parser.add_argument("--keep", type=Path, help="a folder for the scores of these options")
    asked = parser.parse_args()
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "cxr")
        prepare_manifest(PrepareConfig(data=asked.data, cache_size=asked.image_size), workspace)
        manifest = read_manifest(workspace.manifest)
        labels = label_columns(manifest)
        raw = manifest[labels].to_numpy(dtype=float)
        targets = targets_and_mask(raw, labels, "ones")[0] == 1
        counted = targets.sum(axis=0) >= LEAST_POSITIVES
        print(f"{len(manifest)} images, {asked.arch}, {int(counted.sum())} labels", flush=True)
        patients = manifest["patient_id"].to_numpy(dtype=str)
        common = {"arch": asked.arch, "image_size": asked.image_size, "workers": 0}
        starts = {"given": str(asked.weights.resolve()), "none": "none"}
        scores = {}
        for seed in range(asked.seeds):
            shares = [1 / asked.folds] * asked.folds
            folds = split_by_patient(targets, patients, sizes=shares, seed=seed)
            thumbs = thumbnails(workspace, manifest, targets, folds)[:, counted]
            scores.setdefault(("thumbnails", ""), []).append(thumbs)
            for start, weights in starts.items():
                for name, config in recipes(weights, **common).items():
                    if asked.only and name not in asked.only:
                        continue
                    began = time.perf_counter()
                    shown = replace(config, name="run")
                    file = asked.keep and asked.keep / f"{seed}-{name}-{start}.npy"
                    make = partial(pooled, shown, workspace, manifest, folds, seed, "run")
                    found = kept(file, make)[:, counted]
                    scores.setdefault((name, start), []).append(found)
                    each = auroc_per_label(targets[:, counted], found, np.ones_like(found, bool))
                    seconds = time.perf_counter() - began
                    print(
                        f"seed {seed} {name} {start}: {np.mean(each):.3f} ({seconds:.0f} s)",
                        flush=True,
                    )
        report(scores, targets[:, counted], patients)


def report(scores, targets, patients):
    """Print a line for each recipe and start, and the differences that the weights make."""
    mask = np.ones(targets.shape, bool)
    draws = {key: resampled(targets, each, patients) for key, each in scores.items()}
    for key, each in scores.items():
        means = [float(np.mean(auroc_per_label(targets, one, mask))) for one in each]
        seeds = ", ".join(f"{mean:.3f}" for mean in means)
        print(f"{' '.join(key):20} {np.mean(means):.3f} {interval(draws[key])}   seeds {seeds}")
    for name in dict.fromkeys(name for name, start in scores if start):
        difference = draws[name, "given"] - draws[name, "none"]
        print(f"{name}: given - none {difference.mean():+.3f} {interval(difference)}")


if __name__ == "__main__":
    main()
