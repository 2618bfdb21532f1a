import numpy as np
import pandas as pd
import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.manifest import ABOUT, read_manifest, write_manifest
from cxrtool.data.problems import Problems
from cxrtool.data.sources import nih as nih
from cxrtool.data.sources.locating import locate_images

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
SIZES = "2682,2749,0.143,0.143"
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,58,M,PA",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA",
    "00000002_000.png,No Finding,0,2,81,F,AP",
    "00000003_000.png,Hernia,0,3,74,F,PA",
    "00000003_001.png,Hernia|Infiltration,1,3,75,F,AP",
    "00000004_000.png,Mass|Nodule,0,4,82,M,AP",
    "00000005_006.png,Effusion|Pleural_Thickening|Fibrosis,6,5,70,F,PA",
    "00000006_000.png,Atelectasis|Consolidation|Edema|Pneumonia|Pneumothorax,0,6,8,M,AP",
)


def write(folder, rows=ROWS, name="Data_Entry_2017_v2020.csv", header=HEADER, end=""):
    lines = [header + end, *(f"{row},{SIZES}{end}" for row in rows)]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "nih")


def put(folder, *places):
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()


def read(folder, names="chexpert"):
    problems = Problems()
    source = nih.read(folder, PrepareConfig(label_names=names), problems)
    return source.at(locate_images(folder, source.rows["path"], problems)), problems


def kinds(problems, *, kept=None):
    return problems.counts(kept=kept)


def positives(rows):
    labels = [name for name in rows.columns if name not in ABOUT]
    return [{label for label in labels if row[label] == 1} for _, row in rows.iterrows()]


def test_a_folder_with_the_table_is_recognised_and_no_other(folder, tmp_path):
    assert nih.holds(folder)
    assert not nih.holds(tmp_path)
    (tmp_path / "Data_Entry_2017.csv").mkdir()
    assert not nih.holds(tmp_path)


def test_every_row_becomes_a_row_of_the_manifest(folder):
    source, problems = read(folder)
    rows = source.rows
    assert kinds(problems) == {}
    assert list(rows.columns) == [*ABOUT, *CHEXPERT_LABELS]
    assert rows["patient_id"].tolist() == [row[:8] for row in ROWS]
    assert rows["study_id"][6] == "00000005/study006"
    assert rows["orientation"].tolist() == [row[-2:] for row in ROWS]
    assert [sex[0] for sex in rows["sex"]] == list("MMFFFMFM")
    assert set(rows["sex"]) == {"Male", "Female"}
    assert rows["age"].tolist() == [58, 58, 81, 74, 75, 82, 70, 8]
    assert set(rows["view"]) == {"frontal"}
    assert set(rows["source"]) == set(source.labels_by) == {"train"}
    assert (rows[list(CHEXPERT_LABELS)].dtypes == np.float32).all()
    assert source.tables == ("Data_Entry_2017_v2020.csv",)
    assert source.folder == folder


def test_the_rows_are_a_manifest(folder, tmp_path):
    rows = read(folder)[0].rows
    write_manifest(rows, tmp_path / "manifest.csv")
    back = read_manifest(tmp_path / "manifest.csv")
    np.testing.assert_array_equal(back[list(CHEXPERT_LABELS)], rows[list(CHEXPERT_LABELS)])


def test_findings_get_the_names_of_chexpert(folder):
    assert positives(read(folder)[0].rows) == [
        {"Cardiomegaly"},
        {"Cardiomegaly"},
        {"No Finding"},
        set(),
        {"Lung Opacity"},
        {"Lung Lesion"},
        {"Pleural Effusion", "Pleural Other"},
        {"Atelectasis", "Consolidation", "Edema", "Pneumonia", "Pneumothorax"},
    ]


@pytest.mark.parametrize(
    ("finding", "label"), [("Mass", "Lung Lesion"), ("Nodule", "Lung Lesion"), ("Fibrosis", None)]
)
def test_a_finding_alone_gets_its_name_too(tmp_path, finding, label):
    folder = write(tmp_path / "x", [f" 00000001_000.png ,{finding},0,1,58,M,PA"])
    assert positives(read(folder)[0].rows) == [{label} - {None}]


def test_a_finding_that_is_not_listed_is_negative_and_one_that_nih_has_not_is_blank(folder):
    rows = read(folder)[0].rows
    blank = {"Enlarged Cardiomediastinum", "Fracture", "Support Devices"}
    for label in CHEXPERT_LABELS:
        assert rows[label].isna().all() if label in blank else rows[label].isin([0, 1]).all()
    assert rows["No Finding"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


def test_own_names_keep_every_finding(folder):
    rows = read(folder, "own")[0].rows
    assert list(rows.columns) == [*ABOUT, "No Finding", *nih.OWN_LABELS]
    assert positives(rows) == [set(row.split(",")[1].split("|")) for row in ROWS]
    assert rows[list(nih.OWN_LABELS)].isin([0, 1]).all(axis=None)


def test_both_releases_say_the_same(folder, tmp_path):
    first = write(
        tmp_path / "first",
        [
            row.replace(",58,", ",058Y,").replace(",8,", ",008Y,").replace(",1,1,", ",001,1,")
            for row in ROWS
        ],
        "Data_Entry_2017.csv",
        HEADER.replace("Patient Gender", "Patient Sex"),
        end=",",
    )
    pd.testing.assert_frame_equal(read(first)[0].rows, read(folder)[0].rows)


def test_of_two_releases_the_later_is_read(folder):
    write(folder, ROWS[:1], "Data_Entry_2017.csv")
    assert len(read(folder)[0].rows) == len(ROWS)


@pytest.mark.parametrize(
    ("written", "age"),
    [
        ("058Y", 58),
        ("058y", 58),
        ("58", 58),
        ("011M", 0),
        ("013M", 1),
        ("004D", 0),
        ("051W", 0),
        (" 7 ", 7),
        ("414", None),
        ("412Y", None),
        ("old", None),
        ("-3", None),
        ("", None),
    ],
)
def test_ages_are_whole_years(tmp_path, written, age):
    folder = write(tmp_path / "x", [f"00000001_000.png,Mass,0,1,{written},M,PA", ROWS[2]])
    source, problems = read(folder)
    assert source.rows["age"].isna()[0] if age is None else source.rows["age"][0] == age
    assert kinds(problems, kept=True) == ({"odd age": 1} if age is None and written else {})


@pytest.mark.parametrize(
    "places",
    [
        ["images/00000001_000.png", "images/00000002_000.png"],
        ["images/images/00000001_000.png", "images/images/00000002_000.png"],
        ["images_001/00000001_000.png", "images_002/00000002_000.png"],
        ["images_001/images/00000001_000.png", "images_012/images/00000002_000.png"],
        ["images-224/images-224/00000001_000.png", "images-224/images-224/00000002_000.png"],
        ["resized/00000001_000.png", "00000002_000.png"],
        ["sample/images/00000001_000.jpg", "dicom/00000002_000.dcm"],
    ],
)
def test_images_are_found_in_every_layout(folder, places):
    put(folder, *places)
    source, problems = read(folder)
    assert source.rows["path"].tolist()[:3:2] == places
    assert kinds(problems) == {}


def test_an_image_that_is_nowhere_gets_a_path_all_the_same(folder):
    put(folder, "images_001/00000001_000.png")
    paths = read(folder)[0].rows["path"].tolist()
    assert paths[0] == "images_001/00000001_000.png"
    assert paths[1] == "00000001_001.png"


def test_an_image_in_two_folders_is_told_and_taken_once(folder):
    put(folder, "images_001/00000001_000.png", "images_002/images/00000001_000.png")
    put(folder, "images_001/.DS_Store", "images_002/.DS_Store", "images_002/images/.DS_Store")
    source, problems = read(folder)
    assert source.rows["path"][0] == "images_001/00000001_000.png"
    assert kinds(problems) == {"image twice": 1}
    assert problems.table()["where"].tolist() == ["images_002/images/00000001_000.png"]


@pytest.mark.parametrize(
    "name", ["1_000.png", "../00000001_000.png", "00000001_000.gif", "", "00000001_000.png.png"]
)
def test_a_name_that_is_not_nihs_is_left_out_and_named(tmp_path, name):
    folder = write(tmp_path / "x", [ROWS[0], f"{name},Mass,0,1,58,M,PA"])
    source, problems = read(folder)
    assert len(source.rows) == 1
    assert kinds(problems, kept=False) == {"unreadable path": 1}
    assert problems.table()["where"][0] == "Data_Entry_2017_v2020.csv line 3"


def test_converted_images_are_read(tmp_path):
    folder = write(tmp_path / "x", [row.replace(".png", ".jpg") for row in ROWS])
    put(folder, "images/00000001_000.jpg")
    source, problems = read(folder)
    assert source.rows["path"][0] == "images/00000001_000.jpg"
    assert len(source.rows) == len(ROWS)
    assert kinds(problems) == {}


def test_a_table_of_something_else_is_refused(tmp_path):
    folder = write(tmp_path / "x", [row.replace("_0", "-0") for row in ROWS])
    with pytest.raises(DataError, match=r"no Image Index looks like 00000001_000\.png .*00000001-"):
        read(folder)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("Infiltrate", "Infiltration"),
        ("infiltration", "Infiltration"),
        ("Pleural Thickening", "Pleural_Thickening"),
        ("CARDIOMEGALY", "Cardiomegaly"),
    ],
)
def test_a_finding_may_be_spelled_otherwise(tmp_path, written, label):
    folder = write(tmp_path / "x", [f"00000001_000.png,{written}|Mass,0,1,58,M,PA"])
    source, problems = read(folder, "own")
    assert positives(source.rows) == [{label, "Mass"}]
    assert kinds(problems) == {}


@pytest.mark.parametrize("labels", ["Cardiomegaly|Cat", "", "Cardiomegal", "|Mass"])
@pytest.mark.parametrize("names", ["chexpert", "own"])
def test_an_unknown_finding_leaves_its_row_out(tmp_path, labels, names):
    folder = write(tmp_path / "x", [*ROWS, f"00000007_000.png,{labels},0,7,58,M,PA"])
    source, problems = read(folder, names)
    assert len(source.rows) == len(ROWS)
    assert kinds(problems, kept=False) == {"label value": 1}
    assert repr(labels) in problems.table()["detail"][0]


@pytest.mark.parametrize("patient", ["2", "", "x"])
def test_another_patient_than_the_names_is_told_and_the_names_counts(tmp_path, patient):
    folder = write(tmp_path / "x", [f"00000001_000.png,Mass,0,{patient},58,M,PA", ROWS[2]])
    source, problems = read(folder)
    assert source.rows["patient_id"].tolist() == ["00000001", "00000002"]
    assert kinds(problems, kept=True) == {"patient contradicts path": 1}
    assert "00000001_000.png" in problems.table()["detail"][0]


@pytest.mark.parametrize(("written", "study"), [("7", "007"), ("007", "007"), ("0", "000")])
def test_the_study_is_the_follow_up(tmp_path, written, study):
    folder = write(tmp_path / "x", [f"00000001_003.png,Mass,{written},1,58,M,PA"])
    assert read(folder)[0].rows["study_id"][0] == f"00000001/study{study}"


@pytest.mark.parametrize("written", ["", "x", "-1", "1.5"])
def test_without_a_follow_up_the_study_is_the_names_number(tmp_path, written):
    folder = write(tmp_path / "x", [f"00000001_003.png,Mass,{written},1,58,M,PA"])
    assert read(folder)[0].rows["study_id"][0] == "00000001/study003"


def test_the_official_parts_are_those_of_the_lists(folder):
    assert read(folder)[0].official is None
    (folder / "train_val_list.txt").write_text("00000001_000.png\n00000002_000.png")
    assert read(folder)[0].official is None
    (folder / "test_list.txt").write_text("00000003_000.png\r\n00000003_001.png\r\n")
    official = read(folder)[0].official
    assert official.tolist() == ["train", "", "train", "test", "test", "", "", ""]


def test_the_official_parts_stay_with_their_rows_when_one_is_left_out(folder):
    write(folder, ["odd.png,Mass,0,1,58,M,PA", *ROWS])
    (folder / "train_val_list.txt").write_text("00000001_000.png")
    (folder / "test_list.txt").write_text("00000002_000.png\nodd.png")
    source, _ = read(folder)
    parts = dict(zip(source.rows["path"], source.official, strict=True))
    assert parts["00000001_000.png"] == "train"
    assert parts["00000002_000.png"] == "test"
    assert source.official.index.equals(source.rows.index)


def test_an_image_in_both_lists_is_never_trained_on(folder):
    (folder / "train_val_list.txt").write_text("00000001_000.png\n00000002_000.png")
    (folder / "test_list.txt").write_text("00000001_000.png")
    source, problems = read(folder)
    assert source.official.tolist()[:3] == ["test", "", "train"]
    assert kinds(problems, kept=True) == {"two official parts": 1}


@pytest.mark.parametrize("column", ["Finding Labels", "Patient Gender", "View Position"])
def test_a_missing_column_is_named(tmp_path, column):
    folder = write(tmp_path / "x", header=HEADER.replace(column, "other"))
    with pytest.raises(DataError, match=f"no column {column}.*its columns are Image Index"):
        read(folder)


def test_a_folder_without_the_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no Data_Entry_2017\*\.csv"):
        read(tmp_path)
