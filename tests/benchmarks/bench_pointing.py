"""The pointing game on drawn X-rays for any network: does its map's peak lie where the finding is?

    python tests/benchmarks/bench_pointing.py [--arch timm/test_vit ...] [--image-size 128]
        [--patients 6000] [--passes 12] [--rate 2e-3]

A network is trained from random weights on drawings as they are, one cycle of AdamW, and its maps
of other drawings are looked at: a hit is a peak within the finding's box grown by one cell (Zhang
et al. 2018, as in tests/networks/test_pointing.py). Each finding with 20 boxed images or more is a
line: hits, hits of untrained networks (two, of other seeds), and the share of the image that its
boxes cover. timm's test_vit and test_convnext are its smallest of their kinds: a larger one learns
nothing from random weights in the time.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np
import torch

from cxrtool.networks.architectures import build_network
from cxrtool.networks.class_activation import Explainer
from tests.support.pointing import LABELS, area, boxed, drawings, fit, pointed

LEAST = 20
BATCH = 32
UNTRAINED = (2, 3)


def untrained(arch, image_size, seed):
    torch.manual_seed(seed)
    network = build_network(arch, len(LABELS), image_size=image_size)
    return network.to(memory_format=torch.channels_last)


def play(arch, asked, files, targets, others):
    """Train, look, and print a line a finding."""
    began = time.perf_counter()
    network = untrained(arch, asked.image_size, 1)
    options = {"side": asked.image_size, "passes": asked.passes, "rate": asked.rate}
    mean, std = fit(network, files, targets, **options, batch=BATCH, longest=1.0)
    explainer = Explainer(
        network=network.eval().requires_grad_(False),
        labels=LABELS,
        image_size=asked.image_size,
        pixel_mean=mean,
        pixel_std=std,
        device=torch.device("cpu"),
    )
    trained = pointed(explainer, others)
    chance = []
    for seed in UNTRAINED:
        blank = untrained(arch, asked.image_size, seed).eval().requires_grad_(False)
        chance.append(pointed(replace(explainer, network=blank), others))
    seconds = time.perf_counter() - began
    print(f"{arch}, {asked.image_size} px, {len(files)} drawings, {seconds:.0f} s")
    for label in sorted(trained, key=lambda one: -np.mean(trained[one])):
        if len(trained[label]) >= LEAST:
            without = " and ".join(f"{np.mean(one[label]):.2f}" for one in chance)
            print(
                f"  {label:28} {np.mean(trained[label]):.2f} of {len(trained[label])}, untrained "
                f"{without}, boxes {area(others, label):.2f} of the image",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", action="append")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--patients", type=int, default=6000)
    parser.add_argument("--passes", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files, targets = drawings(Path(folder) / "train", asked.patients)
        others = boxed(Path(folder) / "others", 250, asked.image_size)
        for arch in asked.arch or ["timm/test_vit", "timm/test_convnext"]:
            play(arch, asked, files, targets, others)


if __name__ == "__main__":
    main()
