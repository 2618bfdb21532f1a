"""Labels are drawn at the rates that were asked for."""

import math

import numpy as np
import pytest

from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING, SUPPORT_DEVICES
from cxrtool.data.phantoms.tables import RATES, draw_label_rows, radiologists_row
from tests.support.phantoms import FINDINGS


@pytest.fixture(scope="module")
def label_rows():
    return {
        rates: [
            row
            for patient in range(1500)
            for row in draw_label_rows(np.random.default_rng([5, patient]), 2, rates)
        ]
        for rates in RATES
    }


@pytest.mark.parametrize("rates", sorted(RATES))
@pytest.mark.parametrize("label", FINDINGS)
def test_rates_are_those_that_were_asked_for(label_rows, rates, label):
    values = np.array([row[label] for row in label_rows[rates]])
    rate = RATES[rates][label]
    rest = 1 - rate.positive - rate.uncertain
    for value, expected in (
        (1, rate.positive),
        (-1, rate.uncertain),
        (0, rest * rate.negative_among_rest),
    ):
        # Two studies of one patient are alike, so 3000 rows count for fewer.
        slack = 5 * math.sqrt(expected * (1 - expected) / 1800) + 1e-3
        assert np.mean(values == value) == pytest.approx(expected, abs=slack)


def test_chexperts_rates_are_its_tables():
    pneumothorax = RATES["chexpert"]["Pneumothorax"]
    negatives = pneumothorax.negative_among_rest * (1 - 0.0923 - 0.0142)
    assert pneumothorax.positive == pytest.approx(0.0923)
    assert negatives * 223_414 == pytest.approx(56_341)


def test_the_demo_has_enough_of_every_finding():
    present = {label: rate.positive + rate.uncertain for label, rate in RATES["demo"].items()}
    assert min(present.values()) >= 0.10
    assert max(present.values()) <= 0.30


@pytest.mark.parametrize("rates", sorted(RATES))
def test_no_finding_says_that_nothing_but_devices_was_seen(label_rows, rates):
    for row in label_rows[rates]:
        seen = any(row[f] in (1, -1) for f in FINDINGS if f != SUPPORT_DEVICES)
        assert math.isnan(row[NO_FINDING]) if seen else row[NO_FINDING] == 1


def test_radiologists_leave_nothing_open():
    row = dict.fromkeys(CHEXPERT_LABELS, math.nan) | {"Edema": -1.0, "Fracture": 1.0}
    judged = radiologists_row(row)
    assert judged == {f: float(f in {"Edema", "Fracture"}) for f in CHEXPERT_LABELS}


def test_findings_tend_to_stay_with_their_patient():
    pairs = [draw_label_rows(np.random.default_rng(k), 2, "demo") for k in range(1500)]
    first, second = (np.array([p[i]["Fracture"] in (1, -1) for p in pairs]) for i in (0, 1))
    assert second[first].mean() > 2 * second[~first].mean()
