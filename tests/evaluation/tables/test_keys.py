"""Which columns name images and studies."""

import numpy as np
import pytest

from cxrtool.core.errors import UsageError
from cxrtool.evaluation.tables.truth import read_truth_table
from tests.support.tables import chexpert, keyed, read, scores_of, short


def test_nih_like_names_give_the_patients(write):
    names = ["00000013_005.png", "00000013_006.png", "00000014_000.png"]
    truth = write("t.csv", ["Image Index,Mass", *(f"{name},1" for name in names)])
    table = read_truth_table(truth)
    assert table.patients.tolist() == ["00000013", "00000013", "00000014"]
    assert table.patients_known
    assert table.labels == ("Mass",)
    assert table.studies is None
    matched = read(truth, write("p.csv", ["image_id,Mass", *(f"{name[:-4]},2" for name in names)]))
    assert matched.keys == names
    assert any("file names, without their endings" in note for note in matched.notes)


@pytest.mark.parametrize("prefix", ["", "./", "/data/x/", "C:\\films\\CheXpert-v1.0\\valid\\"])
def test_what_stands_before_the_patient_changes_nothing(write, prefix):
    truth = chexpert()
    scores = scores_of(truth)
    expected = read(write("t.csv", truth), write("p.csv", scores))
    scores["Path"] = [prefix + short(path) for path in scores["Path"]]
    if "\\" in prefix:
        scores["Path"] = scores["Path"].str.replace("/", "\\")
    found = read(write("t.csv", truth), write("p.csv", scores))
    assert found.keys == expected.keys
    np.testing.assert_array_equal(found.scores[0], expected.scores[0])


@pytest.mark.parametrize("mine", ["Path", "image", "Image_Path", "filename", "file", "image_id"])
@pytest.mark.parametrize("theirs", ["path", "Image Index", "dicom_id", "Image Path"])
def test_known_names_pair_up(write, mine, theirs):
    assert keyed(write, [theirs, "a.png", "b.png"], [mine, "b.png", "a.png"]) == [1, 0]


@pytest.mark.parametrize("name", ["xray", "ID", "Study", "StudyInstanceUID"])
def test_a_column_of_the_same_name_is_the_key(write, name):
    assert keyed(write, [name, "1.2.3", "1.2.4"], [name, "1.2.4", "1.2.3"]) == [1, 0]


def test_a_generic_name_may_be_of_studies(write):
    assert keyed(write, ["StudyInstanceUID", "1.2", "1.3"], ["id", "1.3", "1.2"]) == [1, 0]


def test_key_may_name_two_columns(write):
    truth, scores = ["mine,path", "a,x", "b,y"], ["yours,path", "b,x", "a,y"]
    assert keyed(write, truth, scores, key="yours=mine") == [1, 0]
    with pytest.raises(UsageError, match=r"--key mine: column of p.csv 'mine' is not known"):
        keyed(write, truth, scores, key="mine")
    with pytest.raises(UsageError, match=r"column of t.csv 'nine' is not known: did you mean mine"):
        keyed(write, truth, scores, key="yours=nine")


def test_the_same_number_in_two_folders_is_two_patients(write):
    path = "{}/patient00001/study1/view1_frontal.jpg"
    names = ["Path", path.format("train"), path.format("valid")]
    assert keyed(write, names, [names[0], names[2], names[1]]) == [1, 0]
    assert keyed(write, names, [names[0], "other/" + names[2], names[1]]) == [1]


def test_studies_named_under_each_patient(write):
    truth = ["patient_id,study", "p1,study1", "p2,study1"]
    assert keyed(write, truth, ["patient_id,study", "p2,study1", "p1,study1"]) == [1, 0]
