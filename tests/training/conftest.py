"""Twelve images to train on."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cxrtool.training.block import xray_block
from tests.support.phases import LABELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40)).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def loaders(folder):
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(12)]})
    frame["is_valid"] = [i >= 8 for i in range(12)]
    frame["A"] = np.array([1, 0] * 6, np.float32)
    frame["B"] = np.array([1, 1, 0] * 4, np.float32)
    block = xray_block(frame, LABELS, folder=folder, image_size=32, mean=0.5, std=0.3, seed=0)
    return block.dataloaders(bs=4, sampling=np.ones(8), num_workers=0, device=torch.device("cpu"))
