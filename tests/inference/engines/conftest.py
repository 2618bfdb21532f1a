"""The tiny run with kept graphs, and what torch says of all drawn images."""

import numpy as np
import pytest

from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.images.resizing import load_pixels
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.choose import load_engine
from cxrtool.inference.engines.graphs import load_scoring, torch_probabilities
from tests.support.copies import copy_folder
from tests.support.engines import GRAPHS


@pytest.fixture(scope="session")
def kept_once(trained_once, tmp_path_factory):
    """The tiny run with kept graphs for both engines, and its card; not to be written to."""
    run = RunFolder(tmp_path_factory.mktemp("kept") / "tiny")
    copy_folder(trained_once.workspace.runs / "tiny", run.path)
    card = read_card(run)
    for engine in GRAPHS:
        load_engine(run, card, Compute(engine=engine, device="cpu"))
    return run, card


@pytest.fixture
def kept_run(kept_once, tmp_path):
    """The same, of the test's own."""
    run = RunFolder(tmp_path / "tiny")
    copy_folder(kept_once[0].path, run.path)
    return run, kept_once[1]


@pytest.fixture(scope="session")
def pixels(trained_once):
    """All drawn images as the tiny network sees them."""
    files = sorted((trained_once.data / "train").rglob("*.jpg"))
    return np.stack([load_pixels(path, 32) for path in files])


@pytest.fixture(scope="session")
def expected(kept_once, pixels):
    return torch_probabilities(load_scoring(*kept_once), pixels)
