"""Tables of predictions, row by row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.prediction_rows import (
    READ_FIRST,
    RULE_IN,
    RULE_OUT,
    Row,
    cells,
    decide,
    judge,
    kind_of,
    read_rows,
    write_rows,
)
from cxrtool.data.prediction_tables import frame_of_rows
from tests.support.rows import LABELS, some_rows, without_logits


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl", "t.ndjson", "t.CSV"])
def test_a_table_is_read_back_as_it_was_written(tmp_path, name):
    rows = some_rows()
    write_rows(iter(rows), tmp_path / name, LABELS)
    assert list(read_rows(tmp_path / name, LABELS)) == without_logits(rows)


def test_json_is_an_array_and_json_lines_an_object_a_line(tmp_path):
    rows = some_rows()
    for name in ("t.json", "t.jsonl"):
        write_rows(rows, tmp_path / name, LABELS)
    array = json.loads((tmp_path / "t.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert array == lines
    assert list(array[0]) == ["path", "Edema", "Pleural Effusion", "positive", "warning", "error"]
    assert array[-1]["Edema"] is None
    write_rows([], tmp_path / "t.json", LABELS)
    assert json.loads((tmp_path / "t.json").read_text()) == []


def test_an_ending_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"x.xlsx: end it in .csv, .json"):
        kind_of(tmp_path / "x.xlsx")


def test_a_table_of_something_else_is_not_read(tmp_path):
    (tmp_path / "t.csv").write_text("path,Fracture,positive,warning,error\nx,0.5,,,\n")
    with pytest.raises(DataError, match="no table of these predictions"):
        list(read_rows(tmp_path / "t.csv", LABELS))
    (tmp_path / "t.json").write_text("not json\n")
    with pytest.raises(DataError, match="no table of these predictions"):
        list(read_rows(tmp_path / "t.json", LABELS))


def test_at_the_threshold_is_positive_and_without_one_nothing_is():
    limits = {"Edema": 0.25, "Pleural Effusion": None}
    assert decide((0.25, 0.9), LABELS, limits) == ("Edema",)
    assert decide((np.nextafter(0.25, 0), 0.9), LABELS, limits) == ()


def test_a_row_without_scores_is_blank_and_has_no_decision():
    row = Row(path="a", scores=None, error="no such file")
    assert cells(row, LABELS) == ["a", "", "", "", "", "no such file"]
    frame = frame_of_rows([row], LABELS)
    assert frame["positive"].tolist() == [""]
    assert frame[list(LABELS)].isna().all(axis=None)
    assert frame["Edema"].dtype == np.float64


def test_a_row_without_scores_is_called_nothing():
    with pytest.raises(ValueError, match="no probabilities"):
        Row(path="x", scores=None, positive=("Edema",), error="torn")


LIMITS = {"Edema": (0.2, 0.7)}


def test_a_verdict_is_below_between_or_from_two_limits_on():
    labels = ["Edema", "Pleural Effusion"]
    for score, verdict in ((0.19, RULE_OUT), (0.2, READ_FIRST), (0.69, READ_FIRST), (0.7, RULE_IN)):
        assert judge([score, 0.9], labels, LIMITS) == {"Edema": verdict}
    assert judge([0.9, 0.9], labels, LIMITS, "nearly blank") == {}
    assert judge([0.5, 0.9], labels, {"Edema": (0.5, 0.5)}) == {"Edema": RULE_IN}


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_verdicts_are_a_column_after_the_others_and_read_back(tmp_path, name):
    rows = [replace(row, logits=None, verdicts=()) for row in some_rows()]
    rows[0] = replace(rows[0], verdicts=("Edema:rule-in", "Pleural Effusion:read-first"))
    write_rows(rows, tmp_path / name, LABELS, verdicts=True)
    assert list(read_rows(tmp_path / name, LABELS)) == rows
    frame = frame_of_rows(rows, LABELS)
    assert frame.columns[-1] == "verdict"
    assert frame["verdict"][0] == "Edema:rule-in;Pleural Effusion:read-first"
    assert (frame["verdict"][1:] == "").all()
    plain = [replace(row, verdicts=None) for row in rows]
    assert "verdict" not in frame_of_rows(plain, LABELS)


def test_nothing_is_judged_of_an_image_without_scores():
    with pytest.raises(ValueError, match="something is decided of it"):
        Row(path="x", scores=None, verdicts=("Edema:rule-in",))
