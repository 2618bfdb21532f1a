"""Thresholds in a pack: promises and verdicts go with it, whose patients they were seen on not."""

import json

import pytest

from cxrtool.core.run_cards import read_card
from cxrtool.core.runs import RunFolder
from cxrtool.reports.packed_thresholds import LOCAL, packed_point, packed_thresholds
from cxrtool.reports.packing import write_pack
from tests.support.sealing import change_thresholds

CERTIFICATE = {
    "quantity": "sensitivity",
    "promised": 0.9,
    "reached": 0.92,
    "level": 0.05,
    "patients": 60,
    "wrong": 1.0,
    "positive_patients": 60,
    "negative_patients": 80,
    "ended": "at 0.2, of 61 patients called negative, 9 are wrong",
}


def certified(label, sample):
    """What thresholds.json holds once a run was certified on a sample."""
    rule = "certified-sensitivity=0.9"
    limits = {"rule_out": 0.2, "rule_in": 0.6, "certificates": [CERTIFICATE] * 2}
    return {
        "operating_point": rule,
        "chosen_on": sample,
        "family": "holm",
        "certificates": {label: CERTIFICATE},
        "triage": {
            "rule_out": rule,
            "rule_in": "certified-specificity=0.9",
            "chosen_on": sample,
            "family": "holm",
            "labels": {label: limits},
            "without": {"Fracture": f"{sample} has no positive"},
        },
        "without": {"Fracture": f"{sample} has no positive"},
    }


@pytest.mark.parametrize("sample", ["valid", "smith.csv"])
def test_a_pack_keeps_promises_and_verdicts_and_no_name_of_a_sample(trained, tmp_path, sample):
    run = RunFolder(trained.workspace.runs / "tiny")
    values = certified("Edema", sample)
    stored = dict.fromkeys(read_card(run).labels, 0.5)
    suffix = "" if sample == "valid" else f", chosen on {sample}"
    points = {
        f"{values['operating_point']}, holm{suffix}": stored,
        "youden, chosen on jones.csv": stored,
        "youden": stored,
    }
    change_thresholds(run, **values, thresholds=stored, operating_points=points)
    (tmp_path / "pack").mkdir()
    write_pack(run, tmp_path / "pack")
    pack = RunFolder(tmp_path / "pack")
    own, packed = read_card(run), read_card(pack)
    text = pack.thresholds.read_text()
    assert "smith" not in text
    assert "jones" not in text
    assert "patients called" not in text
    assert packed.triage.chosen_on == ("valid" if sample == "valid" else LOCAL)
    for one in (own, packed):
        assert one.edited == ()
        assert (one.triage.labels["Edema"].rule_out, one.triage.labels["Edema"].rule_in) == (
            0.2,
            0.6,
        )
    assert packed.thresholds == own.thresholds
    assert packed.certificates["Edema"].reached == 0.92
    assert len(packed.operating_points) == 2


def test_a_run_that_promises_nothing_has_nothing_more():
    stored = {"operating_point": "youden", "thresholds": {"Edema": 0.5}, "operating_points": {}}
    assert packed_thresholds(stored, {}) == {
        "operating_point": "youden",
        "chosen_on": "valid",
        "thresholds": {"Edema": 0.5},
        "operating_points": {},
        "without": {},
    }


def test_the_rule_of_an_evaluation_names_no_sample():
    point = {"rule": "r", "chosen_on": "smith.csv", "condition": "patients like those of smith.csv"}
    assert "smith" not in json.dumps(packed_point(point))
    valid = {"rule": "youden", "chosen_on": "valid"}
    assert packed_point(valid) == valid
    assert packed_point(None) is None
