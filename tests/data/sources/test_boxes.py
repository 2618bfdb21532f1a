import json

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.boxes import fitting_boxes
from cxrtool.data.sources.detect import open_source
from cxrtool.data.sources.rows import BOX_COLUMNS

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    "00000001_000.png,Mass|Infiltration,0,1,58,M,PA\n"
    "00000002_000.png,No Finding,0,2,58,M,PA\n"
)
NIH_BOXES = (
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000001_000.png,Mass,100.5,200,50,60,,,\n"
    "00000001_000.png,Infiltrate,1,2,3,4,,,\n"
    "00000009_000.png,Mass,1,2,3,4,,,\n"
)
TEST_PATH = "test/patient64741/study1/view1_frontal.jpg"
IMAGE = "patient64741_study1_view1_frontal"


def read(folder, **options):
    problems = Problems()
    source = open_source(PrepareConfig(data=folder, **options), folder, problems)
    return source, problems.table()


def nih(folder, boxes=NIH_BOXES):
    (folder / "Data_Entry_2017.csv").write_text(NIH)
    (folder / "BBox_List_2017.csv").write_text(boxes)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "00000001_000.jpg").touch()
    return folder


def chexlocalize(folder, masks):
    labels = f"Path,{','.join(CHEXPERT_LABELS)}\n{TEST_PATH}{',0' * 14}\n"
    (folder / "test_labels.csv").write_text(labels)
    (folder / "gt_segmentations_test.json").write_text(json.dumps(masks))
    return folder


def mask(height, width, rows=slice(0), columns=slice(0)):
    drawn = np.zeros((height, width), np.uint8, order="F")
    drawn[rows, columns] = 1
    runs = coco.encode(drawn)
    return {"size": [height, width], "counts": runs["counts"].decode()}


def test_nihs_boxes_are_found_with_their_images_and_chexperts_names(tmp_path):
    source, problems = read(nih(tmp_path))
    assert list(source.boxes.columns) == list(BOX_COLUMNS)
    assert source.boxes.drop(columns="reader").to_numpy().tolist() == [
        ["images/00000001_000.jpg", "Lung Lesion", 100.5, 200, 150.5, 260, 1024, 1024],
        ["images/00000001_000.jpg", "Lung Opacity", 1, 2, 4, 6, 1024, 1024],
        # Of an image in no row: with those of images that do not stay it is counted later.
        ["00000009_000.png", "Lung Lesion", 1, 2, 4, 6, 1024, 1024],
    ]
    assert problems.empty
    stay = fitting_boxes(source.boxes, source.rows, None, Problems())
    assert stay["path"].tolist() == ["images/00000001_000.jpg"] * 2


def test_boxes_have_the_labels_names_and_those_of_none_are_counted(tmp_path):
    boxes = NIH_BOXES.replace("Mass,1,2", "Cat,1,2").replace("0009", "0001")
    source, problems = read(nih(tmp_path, boxes), label_names="own")
    assert source.boxes["label"].tolist() == ["Mass", "Infiltration"]
    assert problems[["kind", "where", "detail"]].to_numpy().tolist() == [
        ["box of no label", "Cat", "1 row of BBox_List_2017.csv"]
    ]


def test_a_data_set_without_boxes_has_none(tmp_path):
    nih(tmp_path)
    (tmp_path / "BBox_List_2017.csv").unlink()
    assert read(tmp_path)[0].boxes is None


def test_rsnas_boxes_are_of_its_one_label(tmp_path):
    table = "patientId,x,y,width,height,Target\na,10,20,30,40,1\nb,,,,,0\n"
    (tmp_path / "stage_2_train_labels.csv").write_text(table)
    boxes = read(tmp_path)[0].boxes
    assert boxes[["path", "label", "x1", "y1"]].to_numpy().tolist() == [["a", "Pneumonia", 40, 60]]


def test_vindrs_boxes_keep_who_drew_them(tmp_path):
    head = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    rows = ["a,Nodule/Mass,8,R9,1,2,3,4", "a,ILD,5,R8,1,2,3,4", "a,No finding,14,R7,,,,"]
    (tmp_path / "train.csv").write_text("\n".join([head, *rows, ""]))
    boxes = read(tmp_path, label_names="own", readers="vote")[0].boxes
    assert boxes[["label", "x1", "reader"]].to_numpy().tolist() == [
        ["Nodule/Mass", 3, "R9"],
        ["ILD", 3, "R8"],
    ]
    assert boxes["width"].isna().all()
    assert read(tmp_path, readers="vote")[0].boxes["label"].tolist() == ["Lung Lesion"]


def test_masks_are_the_boxes_of_them(tmp_path):
    drawn = mask(200, 100, slice(20, 50), slice(10, 90))
    masks = {IMAGE: {"Edema": drawn, "Airspace Opacity": drawn, "Cardiomegaly": mask(200, 100)}}
    source, problems = read(chexlocalize(tmp_path, masks))
    assert source.boxes.drop(columns="reader").to_numpy().tolist() == [
        [TEST_PATH, "Edema", 10, 20, 90, 50, 100, 200],
        [TEST_PATH, "Lung Opacity", 10, 20, 90, 50, 100, 200],
    ]
    assert set(problems["kind"]) <= {"rows missing"}


@pytest.mark.parametrize(
    "masks", [[], {"x": 1}, {IMAGE: {"Edema": {"counts": "x"}}}, {}, {IMAGE: {"Edema": {}}}]
)
def test_a_file_of_masks_that_is_none_is_refused(tmp_path, masks):
    with pytest.raises(DataError, match=r"gt_segmentations_test\.json"):
        read(chexlocalize(tmp_path, masks))


def fitting(*boxes, size=(100, 200), looked=True):
    frame = pd.DataFrame(
        [("a", "Edema", *box, "") for box in boxes], columns=list(BOX_COLUMNS)
    ).astype({"width": float, "height": float})
    pixels = pd.DataFrame({"path": ["a"], "width": size[0], "height": size[1]})
    problems = Problems()
    kept = pd.DataFrame({"path": ["a"]})
    found = fitting_boxes(frame, kept, pixels if looked else None, problems)
    return found, problems.counts()


def test_a_box_is_kept_in_the_picture_that_it_was_drawn_on_also_for_a_smaller_copy():
    found, problems = fitting((10, 20, 90, 50, 100, 200), (100, 200, 900, 500, 1000, 2000))
    assert problems == {}
    assert found[["x0", "width", "height"]].to_numpy().tolist() == [
        [10, 100, 200],
        [100, 1000, 2000],
    ]


def test_a_box_drawn_on_nobody_knows_what_is_in_pixels_of_the_image():
    found, problems = fitting((10, 20, 90, 50, np.nan, np.nan))
    assert found[["width", "height"]].to_numpy().tolist() == [[100, 200]]
    assert problems == {}


@pytest.mark.parametrize(
    "box",
    [
        (10, 20, 90, 50, 200, 200),  # of another shape: cropped, or another image
        (10, 20, 190, 50, 100, 200),
        (10, 20, 190, 50, np.nan, np.nan),
        (-10, 20, 50, 50, 100, 200),
        (50, 20, 50, 50, 100, 200),
    ],
)
def test_a_box_that_does_not_fit_its_image_is_left_out_and_told(box):
    found, problems = fitting((10, 20, 90, 50, 100, 200), box)
    assert len(found) == 1
    assert problems == {"box off the image": 1}


def test_without_a_look_at_the_images_boxes_are_kept_as_they_are():
    found, problems = fitting((10, 20, 190, 50, np.nan, np.nan), looked=False)
    assert len(found) == 1
    assert problems == {}
