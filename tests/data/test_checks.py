"""What the tables and the images say of themselves: noted, and kept."""

import pandas as pd

from cxrtool.data.checks import check_copies, check_looks, check_rows
from cxrtool.data.labels import NO_FINDING
from cxrtool.data.problems import Problems


def noted(problems):
    table = problems.table()
    return list(zip(table["kind"], table["where"], strict=True))


def test_a_contradiction_is_noted():
    rows = pd.DataFrame(
        {"path": ["a", "b", "c"], NO_FINDING: [1.0, 1.0, 0.0], "Edema": [0.0, 1.0, 1.0]}
    )
    problems = Problems()
    check_rows(rows, problems)
    assert noted(problems) == [("contradiction", "b")]


def test_a_contradiction_is_what_most_readers_say():
    rows = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d"],
            NO_FINDING: [0.667, 0.667, 0.5, 1.0],
            "Edema": [0.667, 0.333, 1.0, 0.5],
        }
    )
    problems = Problems()
    check_rows(rows, problems)
    assert noted(problems) == [("contradiction", "a")]


def pixels(**changes):
    """Nine images alike, and a tenth that differs."""
    usual = {"mode": "L", "width": 300, "height": 320, "pixel_square_sum": 5}
    rows = [{**usual, "path": f"{n}.png", "pixel_sum": n} for n in range(9)]
    return pd.DataFrame([*rows, {**usual, "path": "odd.png", "pixel_sum": 9, **changes}])


def test_another_mode_and_another_size_stand_out():
    for changes, kinds in (
        ({}, []),
        ({"mode": "RGB"}, ["mode stands out"]),
        ({"width": 100}, ["size stands out"]),
        ({"width": 700, "height": 700}, ["size stands out"]),
        ({"height": 600}, []),  # the short side counts
    ):
        problems = Problems()
        check_looks(pixels(**changes), problems)
        assert noted(problems) == [(kind, "odd.png") for kind in kinds]


def test_a_picture_of_two_patients_is_told_as_such():
    for patient, whose in (("p3", "the same patient's 3.png"), ("x", "another patient's 3.png")):
        images = pixels(pixel_sum=3)
        patients = [*(f"p{n}" for n in range(9)), patient]
        problems = Problems()
        check_copies(
            images, pd.DataFrame({"path": images["path"], "patient_id": patients}), problems
        )
        assert noted(problems) == [("picture twice", "odd.png")]
        assert whose in problems.table()["detail"].iloc[0]
