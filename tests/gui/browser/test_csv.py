"""csv.js: what a spreadsheet and `csv` read from it."""

import csv
import io

import pytest

from tests.support.scripted_desk import FINDINGS, finding, row

LABELS = [one["label"] for one in FINDINGS]


def table(functions, *rows):
    text = functions.evaluate(
        """async ([rows, labels]) => {
            const { csvOf } = await import("/static/csv.js");
            return csvOf(rows, labels);
        }""",
        [list(rows), LABELS],
    )
    return text, list(csv.DictReader(io.StringIO(text, newline="")))


def line(path, **more):
    return {"path": path, "model": "first", "fingerprint": "ab", "row": row(path, **more)}


def test_a_row_is_read_back(functions):
    found = (finding("Edema", 1 / 3), finding("Fracture", 1e-7, None), finding("No Finding", 0.75))
    text, [read] = table(functions, line("a.dcm", findings=found, warning='5 "ticks", and\na line'))
    assert float(read["Edema"]) == 1 / 3
    assert float(read["Fracture"]) == 1e-7
    assert read["Enlarged Cardiomediastinum"] == ""
    assert read["positive"] == "No Finding"
    assert read["warning"] == '5 "ticks", and\na line'
    assert (read["path"], read["model"], read["fingerprint"]) == ("a.dcm", "first", "ab")
    assert text.startswith("path,Edema,")
    assert text.endswith("\n")


def test_a_failed_image_has_its_error_and_no_numbers(functions):
    _, [read] = table(functions, line("a", state="failed", findings=[], error="not an image"))
    assert read["error"] == "not an image"
    assert read["Edema"] == read["positive"] == ""


def test_verdicts_and_contradictions_stand_where_predict_puts_them(functions):
    judged = {**finding("Edema", 0.9), "verdict": "rule-in"}
    found = (judged, finding("No Finding", 0.75))
    against = ["No Finding is yes beside Edema"]
    rows = [line("a", findings=found, contradictions=against), line("b")]
    text, [read, other] = table(functions, *rows)
    assert (read["verdict"], other["verdict"]) == ("Edema:rule-in", "")
    assert read["warning"] == against[0]
    assert "warning,error,verdict,model" in text.splitlines()[0]
    assert "verdict" not in table(functions, line("b"))[0].splitlines()[0]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@a", "\tx", '=HYPERLINK("x","y")'])
def test_a_name_that_a_spreadsheet_would_compute_is_text(functions, name):
    _, [read] = table(functions, line(name))
    assert read["path"] == f"'{name}"
