"""The table of labels: its unit, keys, patients, labels and what else it says."""

import numpy as np
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.evaluation.tables.truth import read_truth_table
from tests.support.tables import chexpert, short


def test_chexperts_own_table_as_truth(write):
    frame = chexpert().astype({"Age": object})
    frame.loc[0, ["Sex", "Age"]] = ("Unknown", "")
    table = read_truth_table(write("train.csv", frame))
    assert table.unit == "image"
    assert table.labels == CHEXPERT_LABELS
    assert table.keys == [short(path) for path in frame["Path"]]
    assert table.patients.tolist() == [key.split("/")[0] for key in table.keys]
    assert table.studies.tolist() == [key.rpartition("/")[0] for key in table.keys]
    assert table.views == ("frontal", "lateral")
    # Thirty patients in CheXpert's layout are not the 64,540 of its table.
    assert (table.laid_out, table.dataset_part) == ("train", None)
    assert table.about["view"].tolist() == frame["Frontal/Lateral"].str.lower().tolist()
    assert table.about["orientation"].tolist() == frame["AP/PA"].tolist()
    assert table.about["sex"][:2].tolist() == ["Unknown", "Male"]
    assert np.isnan(table.about["age"][0])
    assert table.about["age"][1:].tolist() == frame["Age"][1:].tolist()
    expected = frame[list(CHEXPERT_LABELS)].replace("", "nan").astype(np.float32)
    np.testing.assert_array_equal(table.raw, expected)


def test_what_is_a_label_of_the_truth(write):
    lines = ["path,sex,Unnamed: 0,split,age,Nodule,Hernia,Note,Odd,Blank,subject_id"]
    lines += ["a,1,0,1,1,1.0,nan,x,1,,1", "b,0,1,0,1,-1,0,y,2,,1"]
    table = read_truth_table(write("t.csv", lines))
    assert table.labels == ("Nodule", "Hernia")
    np.testing.assert_array_equal(table.raw, np.float32([[1, np.nan], [-1, 0]]))
    assert set(table.about.columns) == {"sex", "age", "split", "Note", "Odd", "Blank"}
    assert table.patients.tolist() == ["1", "1"]
    chosen = read_truth_table(write("t.csv", lines), labels=["hernia"])
    assert chosen.labels == ("hernia",)
    with pytest.raises(UsageError, match=r"'Hernja' is not known: did you mean Hernia"):
        read_truth_table(write("t.csv", lines), labels=["Hernja"])


def test_rows_without_a_patient_are_their_own(write):
    table = read_truth_table(write("t.csv", ["file,patient,Edema", "a,p,1", "b,,1", "c,,0"]))
    assert len(set(table.patients)) == 3
    assert not table.patients_known
    table = read_truth_table(write("t.csv", ["file,Edema", "a,1", "b,1"]))
    assert len(set(table.patients)) == 2
    assert not table.patients_known


@pytest.mark.parametrize(
    ("number", "folder", "part"),
    [
        (64540, "train/", "train"),
        (64541, "valid/", "valid"),
        (64740, "", "valid"),
        (64741, "test/", "test"),
        (65240, "", "test"),
        (65241, "", None),
        (64741, "valid/", None),
        (0, "train/", None),
    ],
)
def test_the_part_of_chexpert_that_rows_are_laid_out_as(write, number, folder, part):
    rows = [f"CheXpert-v1.0/{folder}patient{number:05d}/study1/view1_frontal.jpg,1"]
    table = read_truth_table(write("t.csv", ["Path,Edema", *rows]))
    assert (table.laid_out, table.dataset_part) == (part, None)
    rows.append("x/patient64600/study1/view1_frontal.jpg,1")
    mixed = read_truth_table(write("t.csv", ["Path,Edema", *rows])).laid_out
    assert mixed == ("valid" if part == "valid" else None)


def test_views_by_the_name_or_the_projection(write):
    image = "patient00001/study1/view{}.jpg,1"
    lines = ["Path,Edema", image.format("1_frontal"), image.format("2_lateral")]
    assert read_truth_table(write("t.csv", lines)).about["view"].tolist() == ["frontal", "lateral"]
    lines = ["dicom_id,ViewPosition,Edema", "a,AP,1", "b,LL,0"]
    table = read_truth_table(write("t.csv", lines))
    assert table.about["view"].tolist() == ["frontal", "lateral"]
    assert table.about["orientation"].tolist() == ["AP", "LL"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,Edema", "a,1", "b,0.3"], r"1 label value .*line 3, Edema: '0.3'"),
        (["path,Edema", "a,1", "b,0", "a,0"], r"1 name in its column path .*\(a; lines 2, 4\)"),
        (["path,Edema", "a,1", ",0"], r"1 of 2 rows have no path \(lines 3\)"),
        (["path,Note", "a,x"], "has no label: .*Its columns are path, Note"),
        (["Edema,Fracture", "1,1", "0,0"], "no column that names its images or studies"),
        (["path,Edema,edema", "a,1,1"], "two columns of one label: Edema and edema"),
        (["path", "a"], "only one column, path"),
        ([""], "is empty"),
    ],
)
def test_a_bad_truth_is_told(write, lines, message):
    with pytest.raises(DataError, match=message) as caught:
        read_truth_table(write("t.csv", lines))
    assert "t.csv" in str(caught.value)
