"""What is decided of an image, as people read it."""

import numpy as np
import pytest
from PIL import Image

from cxrtool.cli.show import predictions as show_predict
from cxrtool.core.numbers import number_pair
from cxrtool.data.prediction_rows import Row, decide
from cxrtool.evaluation.decisions import (
    contradictions,
    findings_of,
    is_doubtful,
    named,
    threshold_warnings,
)
from cxrtool.images.blanks import shows_nothing, undecidable
from cxrtool.images.plausibility import implausible_looks
from cxrtool.images.reading import read_for_scoring
from tests.support.dicoms import dicom

LABELS = ("No Finding", "Edema", "Fracture", "Pneumonia")
LIMITS = {"No Finding": 0.2, "Edema": 0.5, "Fracture": None, "Pneumonia": 0.3}
SCORES = (0.9, 0.6, 0.7, 0.1)


def test_findings_are_sorted_and_decided_by_their_own_thresholds_no_finding_apart():
    found = findings_of(SCORES, LABELS, LIMITS, without={"Fracture": "valid has no positive"})
    assert [(one.label, one.decision) for one in found] == [
        *(("Fracture", "n/a"), ("Edema", "positive"), ("Pneumonia", "negative")),
        ("No Finding", "yes"),
    ]
    assert [one.why_none for one in found] == ["valid has no positive", "", "", ""]


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("spread", [0, 3])
def test_what_the_looks_call_blank_has_no_decision(level, spread):
    pixels = np.full((80, 70), max(level - spread, 0), np.uint8)
    pixels[::2, ::3] += np.uint8(min(spread, 255 - int(pixels[0, 0])))
    picture = Image.fromarray(pixels)
    (warning,) = filter(None, implausible_looks(picture, picture))
    assert shows_nothing(f"in colour; {warning}")
    assert decide(SCORES, LABELS, LIMITS, warning) == ()
    assert {one.decision for one in findings_of(SCORES, LABELS, LIMITS, warning)} == {"n/a"}
    assert decide(SCORES, LABELS, LIMITS, "in colour") == ("No Finding", "Edema")


@pytest.mark.parametrize(
    ("elements", "decided"),
    [
        ({"BodyPartExamined": "HAND"}, False),
        ({"Modality": "CT"}, False),
        ({"ViewPosition": "LL"}, True),  # a chest all the same: doubtful, and decided
        ({"BodyPartExamined": "CHEST"}, True),
    ],
)
def test_what_is_no_chest_by_its_header_has_no_decision(tmp_path, elements, decided):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    warning = read_for_scoring(dicom(tmp_path / "a.dcm", pixels, **elements))[1]
    assert undecidable(f"in colour; {warning}") is not decided
    found = findings_of(SCORES, LABELS, LIMITS, warning)
    assert ({one.decision for one in found} != {"n/a"}) is decided
    assert (decide(SCORES, LABELS, LIMITS, warning) != ()) is decided


def test_no_finding_beside_findings_is_a_contradiction():
    assert contradictions(findings_of(SCORES, LABELS, LIMITS)) == ["No Finding is yes beside Edema"]
    for limit in ({"No Finding": None}, {"No Finding": 1.0}, {"Edema": 1.0}):
        assert contradictions(findings_of(SCORES, LABELS, {**LIMITS, **limit})) == []


def test_a_probability_and_its_threshold_differ_where_they_do_and_only_there():
    rng = np.random.default_rng(0)
    exponents = rng.uniform(-9, 0, 400)
    for low in [*10.0**exponents, *(1 - 10.0**exponents), 0.003, 0.0]:
        for high in (low, np.nextafter(low, 2), low * 1.001, low + 2e-4, 0.5):
            for value, threshold in ((low, high), (high, low)):
                shown, limit = number_pair(float(value), float(threshold))
                assert (shown == limit) == (value == threshold)
                assert (float(shown) > float(limit)) == (value > threshold)
                assert float(limit) not in (0, 1) or threshold in (0, 1)
    assert number_pair(0.003, 0.0002) == ("0.0030", "0.0002")
    assert number_pair(0.71, 0.4) == ("0.710", "0.400")
    assert number_pair(0.71, None) == ("0.710", "n/a")


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (Row(path="x", scores=None, error="torn"), ["x: could not be read: torn"]),
        (
            Row(path="x", scores=SCORES, warning="blank: every pixel is 255"),
            ["warning: blank: every pixel is 255: nothing is decided of it", "n/a"],
        ),
        (
            Row(
                path="x", scores=SCORES, positive=("No Finding", "Edema"), warning="a lateral view"
            ),
            ["warning: a lateral view: the decisions in brackets may mean nothing", "(positive)"],
        ),
        (
            Row(path="x", scores=SCORES, positive=("No Finding", "Edema"), warning="given 2 times"),
            ["warning: given 2 times", " positive"],
        ),
    ],
)
def test_the_reason_for_doubt_stands_before_the_decisions(capsys, row, lines):
    show_predict.print_prediction(row, "tiny", LABELS, LIMITS)
    out = capsys.readouterr().out
    assert [out.index(line) for line in lines] == sorted(out.index(line) for line in lines)
    assert ("positive" in out) == any("positive" in line for line in lines)
    assert ("(" in out) == (is_doubtful(row.warning) and not shows_nothing(row.warning))
    assert "No findings" not in out


def test_no_finding_is_named_apart():
    assert named(("No Finding", "Edema", "Fracture")) == "Edema, Fracture; No Finding too"
    assert named(("No Finding",)) == "No Finding"
    assert named(()) == "nothing positive"


def test_labels_without_a_threshold_are_told_once_with_their_reasons():
    why = {
        "Fracture": "valid has 2 patients with a positive",
        "Edema": "valid had about 3 positives",
    }
    assert threshold_warnings(LIMITS, why) == [
        "no threshold, and so no decision, for Fracture (valid has 2 patients with a positive)",
        "the thresholds say little of Edema (valid had about 3 positives)",
    ]
    assert threshold_warnings({"Edema": 0.5}, {}) == []
    several = {"Edema": "on valid it is saturated", "Fracture": "valid has no positive"}
    assert threshold_warnings(dict.fromkeys(several), several) == [
        "no threshold, and so no decision, for Edema, Fracture (Edema: on valid it is saturated, "
        "Fracture: valid has no positive)"
    ]


def test_a_finding_has_its_verdict_and_a_blank_picture_has_none():
    labels, limits = ["Edema", "Fracture"], {"Edema": (0.2, 0.6)}
    thresholds = {"Edema": 0.5, "Fracture": 0.5}
    found = {
        one.label: one.verdict for one in findings_of([0.7, 0.7], labels, thresholds, limits=limits)
    }
    assert found == {"Edema": "rule-in", "Fracture": ""}
    blank = findings_of([0.7, 0.7], labels, thresholds, "nearly blank", limits=limits)
    assert {one.verdict for one in blank} == {""}
    assert {one.decision for one in blank} == {"n/a"}
