"""Tables of predictions."""

import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.logits import probabilities_of
from cxrtool.data.prediction_rows import Row, write_rows
from cxrtool.data.prediction_tables import rows_of
from cxrtool.evaluation.tables.scores import read_score_table
from cxrtool.evaluation.tables.truth import read_truth_table
from tests.support.tables import TRUTH, manifest, read, short


def own_predictions(paths, labels, failed=()):
    logits = np.random.default_rng(3).normal(0, 2, (len(paths), len(labels)))
    values = probabilities_of(logits)
    rows = list(rows_of(paths, logits, labels, dict.fromkeys(labels, 0.5)))
    for row in failed:
        rows[row] = Row(path=paths[row], scores=None, error="cannot be decoded")
    values[list(failed)] = np.nan
    return rows, values


def test_our_manifest_and_our_predictions(write, tmp_path):
    truth = manifest()
    rows, values = own_predictions(truth["path"].tolist(), CHEXPERT_LABELS, failed=(2, 5))
    write_rows(rows, tmp_path / "test.csv", CHEXPERT_LABELS)
    at = write("manifest.csv", truth)
    matched = read(at, tmp_path / "test.csv")
    good = [row for row in range(len(truth)) if row not in (2, 5)]
    assert (matched.unit, matched.aggregate) == ("image", None)
    assert matched.rows.tolist() == good
    assert matched.keys == [short(path) for path in truth["path"][good]]
    np.testing.assert_array_equal(matched.scores[0], values[good])
    assert matched.missing == {str(tmp_path / "test.csv"): 2}
    assert matched.patients.tolist() == truth["patient_id"][good].tolist()
    assert matched.about["view"].tolist() == truth["view"][good].tolist()
    assert any("2 rows have an error and no scores" in note for note in matched.notes)
    table = read_truth_table(at)
    assert table.studies.tolist() == truth["study_id"].tolist()
    ignored = read_score_table(tmp_path / "test.csv", table).ignored
    assert ignored == ("path", "positive", "warning", "error")


def test_predictions_of_chexperts_labels_that_the_truth_lacks_are_noted(write):
    truth = write("t.csv", ["path,Edema", "a,1", "b,0"])
    matched = read(truth, write("p.csv", ["path,Edema,Fracture", "a,1,x", "b,2,"]))
    assert matched.labels == ("Edema",)
    assert any("p.csv predicts Fracture: the truth has no such label" in n for n in matched.notes)
    truth = write("t.csv", ["path,Edema,Fracture", "a,1,1", "b,0,1"])
    chosen = read(
        truth, write("p.csv", ["path,Edema,Fracture", "a,1,2", "b,2,3"]), labels=["Edema"]
    )
    assert chosen.labels == ("Edema",)
    assert chosen.notes == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [TRUTH[0], "a,0.1,", "b,inf,1", "c,no,2"],
            r"3 cells .*line 2, Fracture: blank, line 3, E.*inf.*line 4, .*no",
        ),
        ([TRUTH[0], "a,NaN,1"], r"no finite number in 1 cell of scores \(line 2, Edema: NaN\)"),
        (
            [TRUTH[0] + ",error", "a,,,bad", "b,,1,", "c,no,,bad"],
            r"2 cells .*line 3, Edema: blank, line 4, Edema: no",
        ),
        ([TRUTH[0], "a,1,1", "b,1,1", "a,1,1"], r"1 name in its column path .*\(a; lines 2, 4\)"),
        ([TRUTH[0], "a,1,1", "b,1,1", ",1,1"], r"1 of 3 rows have no path \(lines 4\)"),
        ([TRUTH[0], "z,1,1"], r"no row of .*such as 'z', path of the truth such as 'a'"),
        (
            ["path,Edema,Fractures", "a,1,1"],
            r"1 column of numbers.*\n.*'Fractures' is not known: did you mean Fracture",
        ),
        (["path,Mass", "a,1"], "no label in common: p.csv has the columns path, Mass, the truth"),
        (["patient,Edema", "a,1"], "no key column in common"),
        (["path,Edema,edema", "a,1,1"], "two columns of one label: Edema and edema"),
        (["path", "a"], "only one column, path: a key and at least one label"),
        (["path;Edema", "a;1"], "separated by ';'"),
        ([""], "is empty"),
        ([TRUTH[0]], "no rows"),
        ([TRUTH[0] + ",error", "a,,,x"], "no scores of any image of .*all rows failed"),
    ],
)
def test_bad_predictions_are_told(write, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write("t.csv", TRUTH), write("p.csv", lines))
    assert "p.csv" in str(caught.value)


def test_the_same_image_in_two_ways_of_writing_is_told(write):
    path = "patient00001/study1/view1_frontal.jpg"
    lines = ["Path,Edema", f"CheXpert-v1.0/train/{path},1", f"train/{path},2"]
    for truth in (f"x/{path},1", f"{path.rpartition('/')[0]},1"):
        with pytest.raises(DataError, match=r"1 name in its column Path .*lines 2, 3"):
            read(write("t.csv", ["Path,Edema", truth]), write("p.csv", lines))


def test_a_study_given_twice_is_told(write):
    truth = ["Study,Edema", "patient00001/study1,1"]
    lines = ["Study,Edema", "patient00001/study1,1", "patient00001/study1,2"]
    with pytest.raises(DataError, match=r"1 name in its column Study .*lines 2, 3"):
        read(write("t.csv", truth), write("p.csv", lines))
