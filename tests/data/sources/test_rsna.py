import numpy as np
import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.data.problems import Problems
from cxrtool.data.sources.rsna import CLASSES, RSNA

TABLE = "stage_2_train_labels.csv"
BOXES = "patientId,x,y,width,height,Target\nb,1,2,3,4,1\na,,,,,0\nb,5,6,7,8,1\nc,,,,,0\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / TABLE).write_text(BOXES)
    return tmp_path


def read(folder):
    problems = Problems()
    return RSNA.read(folder, PrepareConfig(), problems), problems.table()


def test_boxes_are_a_row_an_image(folder):
    source, problems = read(folder)
    assert source.rows["path"].tolist() == source.rows["patient_id"].tolist() == ["b", "a", "c"]
    assert source.rows["Pneumonia"].tolist() == [1, 0, 0]
    assert source.rows["No Finding"].isna().all()
    assert problems.empty
    assert source.unused == {}


def test_what_is_neither_opacity_nor_normal_has_a_finding(folder):
    classes = "patientId,class\na,Normal\nb,Lung Opacity\nb,Lung Opacity\n"
    (folder / CLASSES).write_text(classes)
    rows = read(folder)[0].rows
    np.testing.assert_array_equal(rows["No Finding"], [0, 1, np.nan])
    (folder / CLASSES).write_text(classes + "c,No Lung Opacity / Not Normal\n")
    assert read(folder)[0].rows["No Finding"].tolist() == [0, 1, 0]


def test_a_target_that_is_none_is_named_by_its_line(folder):
    (folder / TABLE).write_text(BOXES.replace("c,,,,,0", "c,,,,,maybe"))
    source, problems = read(folder)
    assert source.rows["path"].tolist() == ["b", "a"]
    assert problems["where"].tolist() == [f"{TABLE} line 5"]
