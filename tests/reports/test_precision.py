"""Precision: half the width of an interval, and what it would take to halve it."""

import pytest

from cxrtool.reports.precision import half_width, precision_of, rarer
from tests.reports.test_page import a_result
from tests.support.results import result_of


def test_half_the_width_asks_for_four_times_the_patients():
    made = a_result()
    made["labels"] = {
        "Edema": {**made["labels"]["Edema"], "auroc_ci": [0.70, 0.78], "positive_patients": 90},
        "Fracture": made["labels"]["Fracture"],
        "No Finding": {
            **made["labels"]["No Finding"],
            **{"auroc_ci": [0.7, 0.9], "positive_patients": 90, "negative_patients": 40},
        },
    }
    result = result_of(made)
    edema, well = precision_of(result)
    assert edema.half == pytest.approx(0.04)
    assert edema.needed == [None, 360]
    assert (well.patients, well.needed) == (40, [160, 1000])
    assert half_width(result.mean_auroc) == pytest.approx(0.0075)
    assert rarer(result.labels["Edema"]) == 90
    for one in made["labels"].values():
        one["auroc_ci"] = None
    assert precision_of(result_of(made)) == []
