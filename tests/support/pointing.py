"""The pointing game on drawn X-rays: training on drawings, and where the peaks of maps lie."""

import math

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING
from cxrtool.data.phantoms import draw_dataset
from cxrtool.images.resizing import load_pixels, squish
from cxrtool.networks.architectures import normalise

LABELS = tuple(label for label in CHEXPERT_LABELS if label != NO_FINDING)
BATCH = 16


def drawings(folder, patients):
    """Files and targets of the frontal drawings to train on."""
    drawn = draw_dataset(folder, patients=patients, seed=11)
    table = pd.read_csv(drawn.folder / "train.csv")
    table = table[table["Frontal/Lateral"] == "Frontal"]
    files = [drawn.folder / path.split("/", 1)[1] for path in table["Path"]]
    return files, torch.from_numpy((table[list(LABELS)].abs() == 1).to_numpy(np.float32))


def boxed(folder, patients, side, labels=LABELS):
    """Of drawings of other patients: finding, pixels, and its boxes in shares of the sides."""
    drawn = draw_dataset(folder, patients=patients, seed=12)
    boxes = pd.read_csv(drawn.folder / "boxes.csv")
    boxes = boxes[boxes["Path"].str.contains("frontal") & boxes["Label"].isin(labels)]
    found = []
    for (path, label), rows in boxes.groupby(["Path", "Label"]):
        with Image.open(drawn.folder / path.split("/", 1)[1]) as image:
            width, height = image.size
            pixels = squish(image.convert("L"), side)
        corners = rows[["x0", "y0", "x1", "y1"]].to_numpy(float)
        found.append((label, pixels, corners / [width, height, width, height]))
    return found


def read_drawings(files, side):
    """Pixels, shape (n, side, side), and the mean and standard deviation that scale them."""
    pixels = torch.from_numpy(np.stack([load_pixels(file, side) for file in files]))
    return pixels, *(float(of(pixels[::5].float() / 255)) for of in (torch.mean, torch.std))


def scaled(pixels, mean, std):
    grey = normalise(pixels.unsqueeze(1).float() / 255, mean, std)
    return grey.contiguous(memory_format=torch.channels_last)


def fit(network, files, targets, *, side, passes, rate, batch=BATCH, longest=math.inf):
    """Train on drawings of this side; the mean and deviation that they are scaled by.

    Steps are of gradients no longer than `longest`.
    """
    pixels, *scale = read_drawings(files, side)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
    batches = len(targets) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, batches * passes, pct_start=0.2)
    for _ in range(passes):
        for rows in torch.randperm(len(targets))[: batches * batch].split(batch):
            logits = network(scaled(pixels[rows], *scale))
            binary_cross_entropy_with_logits(logits, targets[rows]).backward()
            if math.isfinite(longest):
                nn.utils.clip_grad_norm_(network.parameters(), longest)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    return scale


def pointed(explainer, others):
    """Of each finding, for each of its images, whether the map's peak is in a grown box."""
    found = {}
    cells = explainer.cells
    for label, pixels, boxes in others:
        heat = explainer.maps(pixels, [label])[0]
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        x, y = (cells.first + cells.step * place for place in (column, row))
        grown = boxes + np.array([-1, -1, 1, 1]) * cells.step
        inside = (grown[:, 0] <= x) & (x <= grown[:, 2]) & (grown[:, 1] <= y) & (y <= grown[:, 3])
        found.setdefault(label, []).append(bool(heat.max() > 0 and inside.any()))
    return found


def area(others, label):
    """The share of the image that a finding's boxes cover on average."""
    areas = [
        ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()
        for other, _, boxes in others
        if other == label
    ]
    return float(np.mean(areas))
