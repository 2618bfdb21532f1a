"""Training throughput: `train` beside a bare loop of the same step, and the plain fastai way.

    python tests/benchmarks/bench_train.py [--arch densenet121 --arch resnet101] [--rounds 3]
    python tests/benchmarks/bench_train.py --device cuda --batch-size 128 --workers 8 --batches 60

Draws X-rays of CheXpert-small's size, prepares them with a cache, and then, in turns:
- `train` itself, all blocks trained: its own count of images a second;
- the bare loop: forward, loss, backward, AdamW on one random batch that lies on the device, in the
  same precision and memory layout: the limit, with no images read and nothing augmented;
- plain fastai: ImageBlock, Resize, aug_transforms, vision_learner, fit, in fp32 from the JPEGs.
Medians over the rounds, and the medians of each round's ratios.
"""

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch
import torch.nn.functional as F

from cxrtool.core.config import PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.manifest import label_columns, read_manifest
from cxrtool.data.phantoms import draw_dataset
from cxrtool.networks.architectures import build_network
from cxrtool.networks.devices import autocast, choose_device, choose_precision
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model

warnings.filterwarnings("ignore")
SIZE = 224
EPOCH = 153_000


def bare(arch, device, precision, batch_size, batches, n_labels):
    """Images a second of the step alone; the first one is not counted, as in `train`."""
    torch.manual_seed(0)
    network = build_network(arch, n_labels).to(device).to(memory_format=torch.channels_last)
    network.train()
    images = torch.randn(batch_size, 3, SIZE, SIZE, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = (torch.rand(batch_size, n_labels, device=device) > 0.8).float()
    fused = device.type in ("cpu", "cuda")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=fused)

    def step():
        with autocast(device, precision):
            logits = network(images)
        F.binary_cross_entropy_with_logits(logits.float(), targets).backward()
        optimiser.step()
        optimiser.zero_grad()

    step()
    return timed(step, batches - 1, device) * batch_size


def timed(step, times, device):
    """Steps a second."""
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    started = time.perf_counter()
    for _ in range(times):
        step()
    finish()
    return times / (time.perf_counter() - started)


def plain_fastai(arch, frame, labels, folder, device, batch_size, batches, workers):
    """Images a second of fastai as its documentation has it, without the first batch."""
    from fastai.vision import all as fv
    from torchvision import models

    block = fv.DataBlock(
        blocks=(fv.ImageBlock, fv.MultiCategoryBlock(encoded=True, vocab=labels)),
        get_x=fv.ColReader("path", pref=f"{folder}/"),
        get_y=fv.ColReader(labels),
        splitter=fv.RandomSplitter(0.1, seed=0),
        item_tfms=fv.Resize(SIZE),
        batch_tfms=fv.aug_transforms(),
    )
    dls = block.dataloaders(frame, bs=batch_size, num_workers=workers, device=device)

    class Count(fv.Callback):
        def after_batch(self):
            if device.type == "cuda":
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())
            if len(self.times) == batches:
                raise fv.CancelFitException("enough")

    count = Count()
    count.times = []
    learner = fv.vision_learner(dls, getattr(models, arch), pretrained=False, n_out=len(labels))
    learner.unfreeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit(9, 1e-4, cbs=count)
    return (len(count.times) - 1) * batch_size / (count.times[-1] - count.times[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--skip-fastai", action="store_true")
    asked = parser.parse_args()
    device = choose_device(asked.device)
    precision = choose_precision("auto", device)
    limit = asked.batch_size * asked.batches
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "cxr")
        drawn = draw_dataset(Path(folder) / "data", patients=max(limit // 2, 60), seed=1)
        prepare_manifest(PrepareConfig(data=drawn.folder), workspace)
        split_manifest(SplitConfig(), workspace, seed=0)
        manifest = read_manifest(workspace.manifest)
        labels = label_columns(manifest)
        frame = pd.concat([manifest] * 4, ignore_index=True)
        frame[labels] = (frame[labels] == 1).astype("float32")
        print(
            f"{device}, {precision}, {torch.get_num_threads()} threads, {SIZE} px, "
            f"batches of {asked.batch_size}, {asked.rounds} rounds of {asked.batches}"
        )
        for arch in asked.arch or ("densenet121", "resnet101"):
            config = TrainConfig(arch=arch, weights="none", epochs=1, batch_size=asked.batch_size)
            config = replace(config, limit=limit, name="bench", force=True, workers=asked.workers)
            config = replace(config, device=asked.device)
            ours, limits, others = [], [], []
            for _ in range(asked.rounds):
                ours.append(train_model(config, workspace, seed=0).images_per_second)
                options = (asked.batch_size, asked.batches)
                limits.append(bare(arch, device, precision, *options, len(labels)))
                if not asked.skip_fastai:
                    workers = 2 if asked.workers is None else asked.workers
                    where = (frame, labels, drawn.folder, device)
                    others.append(plain_fastai(arch, *where, *options, workers))
            report(arch, ours, limits, others)


def report(arch, ours, limits, others):
    """The lines of one network."""
    print(f"{arch}: train {median(ours):.1f} images/s; epoch of {EPOCH:,}: ", end="")
    print(f"{EPOCH / median(ours) / 60:,.0f} min")
    ratio = median(one / limit for one, limit in zip(ours, limits, strict=True))
    print(f"  bare loop {median(limits):.1f}: train reaches {ratio:.3f} of it")
    if others:
        ratio = median(one / other for one, other in zip(ours, others, strict=True))
        print(f"  plain fastai, fp32, {median(others):.1f}: train is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
