"""The pointing game on drawn X-rays: where a trained network looked is where the finding was drawn.

Zhang et al. 2018 (IJCV 126), section 4.2: a hit is a map whose greatest value lies within the
object, here within its box grown by one cell of the map, which is all that so coarse a map can say.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrtool.devices import autocast, choose_precision
from cxrtool.explain import Explainer
from cxrtool.images import load_pixels, squish
from cxrtool.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.networks import build_network, normalise
from cxrtool.phantoms import draw_dataset

FINDINGS = ("Consolidation", "Atelectasis", "Pneumothorax", "Fracture")
"""Small ones, chosen by a run on other drawings than those here."""
LARGEST = 0.15
"""Of the image, that the boxes of a finding cover on average."""
UNTRAINED = 3
LABELS = tuple(label for label in CHEXPERT_LABELS if label != NO_FINDING)
SMALL, SIDE = 128, 224
"""Most is learned on small drawings, in a third of the time."""
PASSES, LAST_PASSES = 6, 3
BATCH, RATE = 16, 1e-3
CPU = torch.device("cpu")


def read_drawings(files, side):
    """Pixels, shape (n, side, side), and the mean and standard deviation that scale them."""
    pixels = torch.from_numpy(np.stack([load_pixels(file, side) for file in files]))
    return pixels, *(float(of(pixels[::5].float() / 255)) for of in (torch.mean, torch.std))


def scaled(pixels, mean, std):
    grey = normalise(pixels.unsqueeze(1).float() / 255, mean, std)
    return grey.contiguous(memory_format=torch.channels_last)


def fit(network, inputs, targets, *, passes, rate):
    """`inputs` gives a batch by its rows."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
    batches = len(targets) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, batches * passes, pct_start=0.2)
    for _ in range(passes):
        for rows in torch.randperm(len(targets))[: batches * BATCH].split(BATCH):
            with autocast(CPU, choose_precision("auto", CPU)):
                logits = network(inputs(rows))
            binary_cross_entropy_with_logits(logits, targets[rows]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    """A small network, trained on drawings as they are: `train` would turn and shift them too, and
    take several times as long to learn."""
    drawn = draw_dataset(tmp_path_factory.mktemp("pointing"), patients=300, seed=11)
    table = pd.read_csv(drawn.folder / "train.csv")
    table = table[table["Frontal/Lateral"] == "Frontal"]
    files = [drawn.folder / path.split("/", 1)[1] for path in table["Path"]]
    targets = torch.from_numpy((table[list(LABELS)].abs() == 1).to_numpy(np.float32))
    torch.manual_seed(1)
    network = build_network("resnet18", len(LABELS)).to(memory_format=torch.channels_last)
    pixels, *scale = read_drawings(files, SMALL)
    fit(network, lambda rows: scaled(pixels[rows], *scale), targets, passes=PASSES, rate=RATE)
    # At the size that maps are asked for, the body only tells what it sees: once for all passes.
    pixels, *scale = read_drawings(files, SIDE)
    parts = list(network.children())  # the last three: layer4, the mean over the map, fc
    body, head = nn.Sequential(*parts[:-3]), nn.Sequential(*parts[-3:-1], nn.Flatten(1), parts[-1])
    with torch.inference_mode(), autocast(CPU, choose_precision("auto", CPU)):
        for rows in torch.arange(0, len(files), 2).split(32):  # the layers' means at this size
            body(scaled(pixels[rows], *scale))
        body.eval()
        seen = [body(scaled(part, *scale)) for part in pixels.split(32)]
    features = torch.cat(seen).contiguous(memory_format=torch.channels_last).clone()
    fit(head, lambda rows: features[rows], targets, passes=LAST_PASSES, rate=RATE / 2)
    mean, std = scale
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
        network = build_network("resnet18", len(explainer.labels)).eval().requires_grad_(False)
        untrained = Explainer(**{**vars(explainer), "network": network})
        by_chance.append(hits(untrained, others))
    untrained = {label: np.mean([one[label] for one in by_chance]) for label in FINDINGS}
    assert min(trained.values()) >= 0.8, trained
    for label in FINDINGS:
        assert trained[label] >= 2 * untrained[label], (trained, untrained)
