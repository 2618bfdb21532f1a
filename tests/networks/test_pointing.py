"""The pointing game on drawn X-rays: where a trained network looked is where the finding was drawn.

Zhang et al. 2018 (IJCV 126), section 4.2: a hit is a map whose greatest value lies within the
object, here within its box grown by one cell of the map, which is all that so coarse a map can say.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.phantoms import draw_dataset
from cxrtool.images.resizing import load_pixels, squish
from cxrtool.networks.architectures import normalise
from cxrtool.networks.class_activation import Explainer
from tests.support.smaller import SmallResNet

FINDINGS = ("Consolidation", "Atelectasis", "Pneumothorax", "Fracture")
"""Small ones, chosen by a run on other drawings than those here."""
LARGEST = 0.15
"""Of the image, that the boxes of a finding cover on average."""
UNTRAINED = 3
LABELS = tuple(label for label in CHEXPERT_LABELS if label != NO_FINDING)
SMALL, SIDE = 128, 224
"""Most is learned on small drawings, in a third of the time."""
PASSES, LAST_PASSES = 12, 2
BATCH, RATE = 16, 3e-3
WIDTH = 16
CPU = torch.device("cpu")


def read_drawings(files, side):
    """Pixels, shape (n, side, side), and the mean and standard deviation that scale them."""
    pixels = torch.from_numpy(np.stack([load_pixels(file, side) for file in files]))
    return pixels, *(float(of(pixels[::5].float() / 255)) for of in (torch.mean, torch.std))


def scaled(pixels, mean, std):
    grey = normalise(pixels.unsqueeze(1).float() / 255, mean, std)
    return grey.contiguous(memory_format=torch.channels_last)


def fit(network, files, targets, *, side, passes, rate):
    """Train on drawings of this side; the mean and deviation that they are scaled by."""
    pixels, *scale = read_drawings(files, side)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
    batches = len(targets) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, batches * passes, pct_start=0.2)
    for _ in range(passes):
        for rows in torch.randperm(len(targets))[: batches * BATCH].split(BATCH):
            logits = network(scaled(pixels[rows], *scale))
            binary_cross_entropy_with_logits(logits, targets[rows]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    return scale


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    """A small network, trained on drawings as they are: `train` would turn and shift them too, and
    take several times as long to learn."""
    drawn = draw_dataset(tmp_path_factory.mktemp("pointing"), patients=220, seed=11)
    table = pd.read_csv(drawn.folder / "train.csv")
    table = table[table["Frontal/Lateral"] == "Frontal"]
    files = [drawn.folder / path.split("/", 1)[1] for path in table["Path"]]
    targets = torch.from_numpy((table[list(LABELS)].abs() == 1).to_numpy(np.float32))
    torch.manual_seed(1)
    network = SmallResNet(len(LABELS), WIDTH).to(memory_format=torch.channels_last)
    fit(network, files, targets, side=SMALL, passes=PASSES, rate=RATE)
    mean, std = fit(network, files, targets, side=SIDE, passes=LAST_PASSES, rate=RATE / 3)
    return Explainer(
        network=network.eval().requires_grad_(False),
        labels=LABELS,
        image_size=SIDE,
        pixel_mean=mean,
        pixel_std=std,
        device=CPU,
    )


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Drawings of other patients: pixels, and each finding's boxes in shares of the sides."""
    drawn = draw_dataset(tmp_path_factory.mktemp("others"), patients=110, seed=12)
    boxes = pd.read_csv(drawn.folder / "boxes.csv")
    boxes = boxes[boxes["Path"].str.contains("frontal") & boxes["Label"].isin(FINDINGS)]
    found = []
    for (path, label), rows in boxes.groupby(["Path", "Label"]):
        with Image.open(drawn.folder / path.split("/", 1)[1]) as image:
            width, height = image.size
            pixels = squish(image.convert("L"), SIDE)
        corners = rows[["x0", "y0", "x1", "y1"]].to_numpy(float)
        found.append((label, pixels, corners / [width, height, width, height]))
    return found


def hits(explainer, others):
    """Of each finding: the share of its images whose map's peak is in a grown box."""
    told = {label: [] for label in FINDINGS}
    cells = explainer.cells
    for label, pixels, boxes in others:
        heat = explainer.maps(pixels, [label])[0]
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        x, y = (cells.first + cells.step * place for place in (column, row))
        grown = boxes + np.array([-1, -1, 1, 1]) * cells.step
        inside = (grown[:, 0] <= x) & (x <= grown[:, 2]) & (grown[:, 1] <= y) & (y <= grown[:, 3])
        told[label].append(heat.max() > 0 and inside.any())
    assert min(map(len, told.values())) >= 20
    return {label: float(np.mean(values)) for label, values in told.items()}


@pytest.mark.slow
def test_the_peak_is_where_the_finding_was_drawn(explainer, others):
    for finding in FINDINGS:
        areas = [
            ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()
            for label, _, boxes in others
            if label == finding
        ]
        assert np.mean(areas) < LARGEST
    trained = hits(explainer, others)
    by_chance = []
    for seed in range(UNTRAINED):
        torch.manual_seed(seed)
        network = SmallResNet(len(LABELS), WIDTH).eval().requires_grad_(False)
        untrained = replace(explainer, network=network)
        by_chance.append(hits(untrained, others))
    untrained = {label: np.mean([one[label] for one in by_chance]) for label in FINDINGS}
    # A map that is turned round finds about as many as an untrained network's.
    assert np.mean(list(trained.values())) >= 0.65, trained
    for label in FINDINGS:
        assert trained[label] >= 2 * untrained[label], (trained, untrained)
