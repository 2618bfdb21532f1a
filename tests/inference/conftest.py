"""Images of known brightness."""

import numpy as np
import pytest
from PIL import Image

from tests.support.ensembles import LEVELS, SLOPE


@pytest.fixture
def uneven(tmp_path):
    """Pictures that are brighter towards the right, of different brightness."""
    made = []
    for number in range(1, 5):
        made.append(tmp_path / f"uneven-{number}.png")
        ramp = np.linspace(10 * number, 60 * number, 40).astype(np.uint8)
        Image.fromarray(np.tile(ramp, (50, 1))).save(made[-1])
    return made


@pytest.fixture
def files(tmp_path):
    made = []
    for name, level in LEVELS.items():
        made.append(tmp_path / name)
        ramp = np.linspace(level - SLOPE, level + SLOPE, 40).round().astype(np.uint8)
        Image.fromarray(np.tile(ramp, (50, 1))).save(made[-1])
    made.insert(3, tmp_path / "gone.png")
    return made
