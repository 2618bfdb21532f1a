"""The pointing game on drawn X-rays: where a trained network looked is where the finding was drawn.

Zhang et al. 2018 (IJCV 126), section 4.2: a hit is a map whose greatest value lies within the
object, here within its box grown by one cell of the map, which is all that so coarse a map can say.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxrtool.networks.class_activation import Explainer
from tests.support.pointing import LABELS, area, boxed, drawings, fit, pointed
from tests.support.smaller import SmallResNet

FINDINGS = ("Consolidation", "Atelectasis", "Pneumothorax", "Fracture")
"""Small ones, chosen by a run on other drawings than those here."""
LARGEST = 0.15
"""Of the image, that the boxes of a finding cover on average."""
UNTRAINED = 3
SMALL, SIDE = 128, 224
"""Most is learned on small drawings, in a third of the time."""
PASSES, LAST_PASSES = 12, 2
RATE = 3e-3
WIDTH = 16
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    """A small network, trained on drawings as they are: `train` would turn and shift them too, and
    take several times as long to learn."""
    files, targets = drawings(tmp_path_factory.mktemp("pointing"), 220)
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
    return boxed(tmp_path_factory.mktemp("others"), 110, SIDE, FINDINGS)


def hits(explainer, others):
    """Of each finding: the share of its images whose map's peak is in a grown box."""
    found = pointed(explainer, others)
    assert set(found) == set(FINDINGS)
    assert min(map(len, found.values())) >= 20
    return {label: float(np.mean(values)) for label, values in found.items()}


@pytest.mark.slow
def test_the_peak_is_where_the_finding_was_drawn(explainer, others):
    for finding in FINDINGS:
        assert area(others, finding) < LARGEST
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
