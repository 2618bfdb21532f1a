"""Features once: computing them beside the bare forward pass, and fitting a last layer to many.

    python tests/benchmarks/bench_features.py [--arch densenet121] [--images 512] [--rounds 5]
        [--rows 191027] [--width 1024]

The first part draws X-rays, prepares them with a cache of the network's size and computes their
features, in turn with the bare network on one batch that lies in memory: the limit. Medians, and
the median of the rounds' ratios. The second fits 14 labels to that many rows of drawn features
(CheXpert's training images, DenseNet-121's width), whose labels they tell as well as a network's
do (AUROC about 0.85): seconds, passes, and the most memory of the process.
"""

import argparse
import resource
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import torch

from cxrtool.core.config import PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.console import SILENT
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.networks.devices import autocast
from cxrtool.training.choices import resolve
from cxrtool.training.features import BATCH
from cxrtool.training.probe import ProbeData, cell_weights, fit_probe
from cxrtool.training.probing import features_for
from cxrtool.training.setup import set_up
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest

warnings.filterwarnings("ignore")
LABELS = 14
ROWS = 8_192


def bare(network, image_size, precision, images):
    """Images a second of the network alone."""
    batch = torch.randn(BATCH, 3, image_size, image_size)
    batch = batch.contiguous(memory_format=torch.channels_last)
    network.eval()
    with torch.inference_mode(), autocast(torch.device("cpu"), precision):
        network(batch)
        began = time.perf_counter()
        for _ in range(images // BATCH):
            network(batch)
    return images // BATCH * BATCH / (time.perf_counter() - began)


def speed(arch, images, rounds, image_size=224):
    """Print the two speeds, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw_dataset(Path(folder) / "xr", patients=images // 2, seed=0)
        workspace = Workspace(Path(folder) / "cxr")
        prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=image_size), workspace)
        split_manifest(SplitConfig(), workspace, seed=0)
        config = TrainConfig(arch=arch, weights="none", probe="only", limit=images)
        config, device = resolve(config)
        setup = set_up(config, device, workspace, seed=0, reporter=SILENT)
        found = []
        for _ in range(rounds):
            limit = bare(setup.network, image_size, config.precision, images)
            shutil.rmtree(workspace.features, ignore_errors=True)
            ours = features_for(setup, workspace, SILENT).images_per_second
            found.append((ours, limit))
            print(f"features {ours:.1f}, bare {limit:.1f} images/s: {ours / limit:.3f}", flush=True)
    ratio = median(ours / limit for ours, limit in found)
    print(f"{arch}, {config.precision}, {torch.get_num_threads()} threads: ratio {ratio:.3f}")


def fit(rows, width):
    """Print what fitting to so many rows takes."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(width, width, generator=generator) / width**0.5
    scales = torch.logspace(0, -2, width)
    tell = torch.randn(width, LABELS, generator=generator) * 0.08
    features = torch.empty(rows, width)
    targets = np.empty((rows, LABELS), np.float32)
    for start in range(0, rows, ROWS):
        part = slice(start, min(start + ROWS, rows))
        drawn = torch.randn(part.stop - start, width, generator=generator) * scales
        features[part] = drawn @ mixed + 1
        shares = torch.sigmoid((features[part] - 1) @ tell - 2)
        targets[part] = torch.bernoulli(shares, generator=generator).numpy()
    targets[np.random.default_rng(0).random(targets.shape) < 0.1] = np.nan
    valid = rows // 40
    passes = 0

    def batches():
        nonlocal passes
        passes += 1
        for start in range(valid, rows, ROWS):
            end = min(start + ROWS, rows)
            yield features[start:end], slice(start - valid, end - valid)

    data = ProbeData(
        batches=batches,
        width=width,
        targets=torch.from_numpy(targets[valid:]),
        weights=cell_weights(targets[valid:]),
        valid=features[:valid],
        valid_targets=targets[:valid],
    )
    began, used = time.perf_counter(), time.process_time()
    probe = fit_probe(data)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    best = probe.steps[probe.best]
    print(
        f"{rows:,} x {width:,}, {LABELS} labels: {seconds:.0f} s ({used:.0f} s of processors), "
        f"{passes} passes, {len(probe.steps)} strengths, l2 {probe.l2:g}, valid AUROC "
        f"{best.valid_mean_auroc:.3f}, {memory:.2f} GiB"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="densenet121")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=191_027)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--only", choices=("speed", "fit"))
    asked = parser.parse_args()
    if asked.only != "speed":
        fit(asked.rows, asked.width)
    if asked.only != "fit":
        speed(asked.arch, asked.images, asked.rounds)


if __name__ == "__main__":
    main()
