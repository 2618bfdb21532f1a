"""Heat maps beside the bare forward pass, and how long a picture takes.

    python tests/benchmarks/bench_heatmaps.py [--arch densenet121 --arch resnet101] [--rounds 5]

In turns, in fp32 and with the same network, one image at a time:
- the bare forward pass, in inference mode: what an image costs that nobody asks about;
- `Explainer.maps` of one label and of fourteen, by Grad-CAM and by the class activation map.
Then `save_heatmap` for images of several sizes. Medians over the rounds, and the medians of each
round's ratios.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from cxrtool.core.config import HEATMAPS
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.inference.heatmap_figures import save_heatmap
from cxrtool.networks.architectures import build_network
from cxrtool.networks.class_activation import Explainer
from cxrtool.networks.devices import choose_device

SIZE = 224
SHAPES = ((390, 320), (60, 60), (3000, 2500))


def explainer_of(arch, device):
    torch.manual_seed(0)
    network = build_network(arch, len(CHEXPERT_LABELS)).to(device)
    network = network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    options = {"labels": CHEXPERT_LABELS, "image_size": SIZE, "device": device}
    return Explainer(network=network, pixel_mean=0.5, pixel_std=0.25, **options)


def bare(explainer, images):
    """The forward pass alone, on an input that is ready."""
    device = explainer.device
    ready = torch.randn(1, 3, SIZE, SIZE, device=device)
    ready = ready.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in images:
            explainer.network(ready).cpu()


def maps(labels, method):
    """A task that explains labels of each image."""

    def explain(explainer, images):
        for image in images:
            explainer.maps(image, labels, method)

    return explain


def speed(task, explainer, images):
    """Images a second."""
    started = time.perf_counter()
    task(explainer, images)
    return len(images) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    device = choose_device(asked.device)
    images = np.random.default_rng(0).integers(0, 256, (asked.images, SIZE, SIZE), np.uint8)
    tasks = {"bare forward pass": bare}
    for method in HEATMAPS:
        tasks[f"{method}, 1 label"] = maps(CHEXPERT_LABELS[:1], method)
        tasks[f"{method}, {len(CHEXPERT_LABELS)} labels"] = maps(CHEXPERT_LABELS, method)
    print(f"{device}, fp32, {torch.get_num_threads()} threads, {SIZE} px, {asked.rounds} rounds")
    for arch in asked.arch or ("densenet121", "resnet101"):
        explainer = explainer_of(arch, device)
        speeds = {name: [] for name in tasks}
        for task in tasks.values():
            task(explainer, images[:2])
        for _ in range(asked.rounds):
            for name, task in tasks.items():
                speeds[name].append(speed(task, explainer, images))
        print(arch)
        for name, found in speeds.items():
            ratios = [
                one / limit for one, limit in zip(found, speeds["bare forward pass"], strict=True)
            ]
            print(
                f"  {name:20} {median(found):6.1f} images/s, {median(ratios):.3f} of the bare pass"
            )
    pictures(explainer, asked.rounds)


def pictures(explainer, rounds):
    """How long it takes to draw and write a picture."""
    heat = np.random.default_rng(0).random((7, 7), np.float32)
    told = {"label": "Edema", "probability": 0.83, "threshold": 0.41, "name": "view1_frontal.jpg"}
    with tempfile.TemporaryDirectory() as folder:
        for width, height in SHAPES:
            noise = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
            grey, seconds = Image.fromarray(noise), []
            for _ in range(rounds + 1):
                started = time.perf_counter()
                save_heatmap(Path(folder) / "x.png", grey, heat, cells=explainer.cells, **told)
                seconds.append(time.perf_counter() - started)
            print(f"a picture of {width}x{height} pixels: {median(seconds[1:]):.3f} s")


if __name__ == "__main__":
    main()
