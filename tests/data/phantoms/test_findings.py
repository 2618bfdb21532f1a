"""A finding is seen where its box is."""

import numpy as np
import pytest

from cxrtool.data.phantoms.anatomy import draw_build
from cxrtool.data.phantoms.film import draw_exposure
from cxrtool.data.phantoms.findings import draw_radiograph
from tests.support.phantoms import FINDINGS


def draw_pair(label, strength, lateral, number):
    """The same image with a finding and without it, and the finding's boxes as a mask."""
    rng = np.random.default_rng([3, number])
    build = draw_build(rng, female=number % 2 == 0, age=60)
    exposure = draw_exposure(rng, lateral=lateral, portable=number % 3 > 0)
    plain, none = draw_radiograph(build, exposure, {}, (3, number))
    shown, boxes = draw_radiograph(build, exposure, {label: strength}, (3, number))
    assert not none
    assert {name for name, _ in boxes} == {label}
    inside = np.zeros((plain.height, plain.width), bool)
    for _, (x0, y0, x1, y1) in boxes:
        inside[max(0, int(y0) - 8) : int(y1) + 8, max(0, int(x0) - 8) : int(x1) + 8] = True
    change = np.abs(np.asarray(shown, float) - np.asarray(plain, float))
    return change, inside, boxes


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("label", FINDINGS)
def test_a_finding_is_seen_in_its_box_and_hardly_outside(label, lateral):
    for number in range(3):
        change, inside, _ = draw_pair(label, 1.0, lateral, number)
        assert (change[inside] > 12).sum() > 40
        assert (change[~inside] > 12).mean() < 0.002
        assert change[~inside].sum() < 0.15 * change.sum()


@pytest.mark.parametrize("label", FINDINGS)
def test_uncertain_findings_are_fainter_but_there(label):
    clear, faint = (
        np.mean([draw_pair(label, s, False, n)[0].sum() for n in range(4)]) for s in (1.0, 0.55)
    )
    assert 0.15 * clear < faint < 0.9 * clear


@pytest.mark.parametrize("label", ["Lung Lesion", "Pneumothorax", "Fracture", "Pleural Effusion"])
def test_small_findings_are_small_and_wander(label):
    centres = []
    for number in range(8):
        change, _, boxes = draw_pair(label, 1.0, False, number)
        for _, (x0, y0, x1, y1) in boxes:
            assert (x1 - x0) * (y1 - y0) < 0.15 * change.size
        x0, _, x1, _ = boxes[0][1]
        centres.append((x0 + x1) / 2 / change.shape[1])
    assert min(centres) < 0.45 < 0.55 < max(centres)
