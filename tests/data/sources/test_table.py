import gzip

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError, UsageError
from cxrtool.data.manifest import ABOUT, label_columns, read_manifest, write_manifest
from cxrtool.data.problems import Problems
from cxrtool.data.sources import table as table

MINIMAL = """path,patient_id,Pneumonia,Edema
b/2.png,p1,1,0
a/1.png,p1,-1,
c/3.png,p2,0,1
"""
RICH = """image;subject;visit;Projection;Position;Gender;Age;effusion;Mass
x/1.png;7;3;Frontal;AP;F;61;1;0
x/2.png;7;3;LATERAL;;f;61;1;0
x/3.png;8;8/first;frontal;PA;male;59.5;0;1
x/4.png;8;8/second;LL;;Unknown;;;-1
""".replace(";", ",")
NAMED = (
    "path=image,patient_id=subject,study_id=visit,view=Projection,orientation=Position,sex=Gender"
)
RICH_OPTIONS = {
    "columns": f"{NAMED}, age = Age",
    "label_columns": "Pleural Effusion=effusion, Mass",
}


def read(place, text=None, **options):
    if text is not None:
        place.write_text(text)
    problems = Problems()
    return table.read(place, PrepareConfig(**options), problems), problems


@pytest.fixture
def path(tmp_path):
    return tmp_path / "films.csv"


def test_a_table_with_the_manifests_names_needs_no_option(path):
    source, problems = read(path, MINIMAL)
    rows = source.rows
    assert problems.counts() == {}
    assert list(rows.columns) == [*ABOUT, "Edema", "Pneumonia"]
    assert rows["path"].tolist() == ["b/2.png", "a/1.png", "c/3.png"]
    assert rows["patient_id"].tolist() == ["p1", "p1", "p2"]
    assert set(rows["view"]) == {"frontal"}
    assert set(rows["orientation"]) == set(rows["sex"]) == {""}
    assert rows["age"].isna().all()
    np.testing.assert_array_equal(rows["Pneumonia"], np.float32([1, -1, 0]))
    np.testing.assert_array_equal(rows["Edema"], np.float32([0, np.nan, 1]))
    assert source.folder == path.parent
    assert source.labels_by == {"train": "the table films.csv"}
    assert source.tables == ("films.csv",)
    assert source.notes == ("films.csv names no views: all count as frontal",)


def test_the_options_say_which_column_is_what(path):
    source, problems = read(path, RICH, **RICH_OPTIONS)
    rows = source.rows
    assert problems.counts() == {}
    assert list(rows.columns) == [*ABOUT, "Pleural Effusion", "Mass"]
    assert rows["study_id"].tolist() == ["7/3", "7/3", "8/first", "8/second"]
    assert rows["view"].tolist() == ["frontal", "lateral", "frontal", "lateral"]
    assert rows["orientation"].tolist() == ["AP", "", "PA", ""]
    assert rows["sex"].tolist() == ["Female", "Female", "Male", "Unknown"]
    assert rows["age"].tolist() == [61, 61, 60, pd.NA]
    assert source.notes == ()


def test_the_rows_are_a_manifest(path, tmp_path):
    rows = read(path, RICH, **RICH_OPTIONS)[0].rows
    write_manifest(rows, tmp_path / "manifest.csv")
    back = read_manifest(tmp_path / "manifest.csv")
    assert back["path"].tolist() == rows["path"].tolist()
    np.testing.assert_array_equal(back["Mass"], rows["Mass"])


def test_path_may_have_a_capital(path):
    rows = read(path, MINIMAL.replace("path", "Path"))[0].rows
    assert rows["path"][0] == "b/2.png"


def test_named_labels_replace_those_of_the_very_name(path):
    rows = read(path, MINIMAL, label_columns="Water=Edema")[0].rows
    assert list(rows.columns) == [*ABOUT, "Water"]


def test_paths_start_at_the_images_folder(path, tmp_path):
    (tmp_path / "films").mkdir()
    source, _ = read(path, MINIMAL, images=tmp_path / "films")
    assert source.folder == tmp_path / "films"
    with pytest.raises(DataError, match=r"--images .*nowhere is not a folder"):
        read(path, images=tmp_path / "nowhere")


def test_a_path_is_found_where_the_rows_say(path, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "deep" / "er" / "1.png")
    text = MINIMAL.replace("a/1.png", "deep\\er\\1.png")
    source, _ = read(path, text)
    assert (source.folder / source.rows["path"][1]).is_file()


# Paths


def one_path(path, written, **options):
    rows, problems = read(path, f"path,patient_id,Edema\n{written},p1,1\nok.png,p2,0\n", **options)
    return rows.rows["path"].tolist(), problems.counts()


@pytest.mark.parametrize(
    "written",
    ["a/1.png", "./a/1.png", "a//1.png", "a/./1.png", " a/1.png ", "a\\1.png", ".//a/1.png"],
)
def test_one_image_is_written_in_one_way(path, written):
    assert one_path(path, written) == (["a/1.png", "ok.png"], {})


def test_an_absolute_path_inside_becomes_relative(path, tmp_path, monkeypatch):
    assert one_path(path, f"{tmp_path}/a/1.png") == (["a/1.png", "ok.png"], {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    (tmp_path / "link").symlink_to("films")
    for images, written in (("films", "films"), ("link", "films"), ("link", "link")):
        kept, problems = one_path(path, f"{tmp_path}/{written}/1.png", images=tmp_path / images)
        assert (kept, problems) == (["1.png", "ok.png"], {})
    assert one_path(path.relative_to(tmp_path), f"{tmp_path}/1.png")[0] == ["1.png", "ok.png"]


@pytest.mark.parametrize(
    "written",
    ["/elsewhere/1.png", "C:\\films\\1.png", "\\\\server\\1.png", "", " ", ".", "a/", "./"],
)
def test_a_path_that_is_not_inside_is_left_out_and_named(path, written):
    assert one_path(path, written) == (["ok.png"], {"unreadable path": 1})


def test_a_folder_that_only_begins_the_same_is_not_inside(path, tmp_path):
    assert one_path(path, f"{tmp_path}2/1.png") == (["ok.png"], {"unreadable path": 1})


@pytest.mark.parametrize("written", ["../1.png", "a/../../1.png", "..\\1.png", "..", "a/.."])
def test_a_path_that_climbs_refuses_the_table(path, written):
    with pytest.raises(DataError, match=r"climb .*lines 2"):
        one_path(path, written)


# Patients and studies


def test_without_a_patient_the_ways_out_are_named(path):
    with pytest.raises(DataError, match="--columns patient_id=image` declares every image") as told:
        read(path, "image,who,Edema\n1.png,p,1\n", columns="path=image")
    assert "image, who, Edema" in str(told.value)


def test_every_image_may_be_declared_its_own_patient(path):
    rows = read(path, "path,Edema\na.png,1\nb.png,0\n", columns="patient_id=path")[0].rows
    assert rows["patient_id"].tolist() == ["a.png", "b.png"]
    assert rows["study_id"].tolist() == ["a.png/study1", "b.png/study1"]


def test_a_row_without_a_patient_is_left_out_and_named(path):
    source, problems = read(path, MINIMAL.replace("a/1.png,p1", "a/1.png, "))
    assert source.rows["path"].tolist() == ["b/2.png", "c/3.png"]
    assert problems.counts(kept=False) == {"no patient": 1}
    assert problems.table()["where"].tolist() == ["films.csv line 3"]


def test_a_row_with_neither_path_nor_patient_is_told_once(path):
    _, problems = read(path, f"{MINIMAL},,1,1\n")
    assert problems.counts() == {"unreadable path": 1}


def test_studies_are_numbered_by_path_whatever_the_rows_order(path):
    lines = MINIMAL.splitlines()
    expected = {"a/1.png": "p1/study1", "b/2.png": "p1/study2", "c/3.png": "p2/study1"}
    for order in (lines[1:], lines[:0:-1], [lines[2], lines[3], lines[1]]):
        rows = read(path, "\n".join([lines[0], *order]))[0].rows
        assert dict(zip(rows["path"], rows["study_id"], strict=True)) == expected


def test_a_row_that_is_no_image_takes_no_number(path):
    rows = read(path, f"{MINIMAL},p1,1,1\nb/2.png,p1,1,0\n")[0].rows
    assert rows["study_id"].tolist() == ["p1/study2", "p1/study1", "p2/study1", "p1/study2"]


def test_a_study_begins_with_its_patient(path):
    lines = ["1,p1,s1,1", "2,p1,p1/s1,1", "3,p2,p1/s1,1", "4,p11,p1,0", "5,p1,p11,0"]
    rows = read(path, "\n".join(["path,patient_id,study_id,Edema", *lines]))[0].rows
    assert rows["study_id"].tolist() == ["p1/s1", "p1/s1", "p2/p1/s1", "p11/p1", "p1/p11"]


def test_an_image_without_a_study_is_a_study_of_its_own(path):
    text = "path,patient_id,study_id,Edema\n1,p1,,1\n2,p1,,1\n3,p1,unnamed,1\n"
    source, problems = read(path, text)
    assert source.rows["study_id"].nunique() == 3
    assert problems.counts(kept=True) == {"no study": 2}


# Views, ages, labels


@pytest.mark.parametrize(
    ("written", "view", "orientation"),
    [
        ("Frontal", "frontal", ""),
        ("FRONTAL", "frontal", ""),
        ("pa", "frontal", "PA"),
        ("AP", "frontal", "AP"),
        ("lateral", "lateral", ""),
        ("ll", "lateral", ""),
        ("RL", "lateral", ""),
    ],
)
def test_views_are_understood(path, written, view, orientation):
    source, problems = read(path, f"path,patient_id,view,Edema\n1.png,p,{written},1\n")
    assert source.rows.loc[0, ["view", "orientation"]].tolist() == [view, orientation]
    assert problems.counts() == {}


@pytest.mark.parametrize("written", ["oblique", "", "AP AXIAL"])
def test_another_view_is_told_and_kept(path, written):
    source, problems = read(path, f"path,patient_id,view,Edema\n1.png,p,{written},1\n")
    assert source.rows["view"].tolist() == ["other"]
    assert problems.counts(kept=True) == {"odd view": 1}


def test_an_orientation_of_its_own_is_kept_as_it_is(path):
    source, _ = read(path, "path,patient_id,view,orientation,Edema\n1.png,p,PA,supine,1\n")
    assert source.rows["orientation"].tolist() == ["supine"]


def test_what_is_odd_in_a_cell_is_told_and_blank(path):
    source, problems = read(path, "path,patient_id,sex,age,Edema\n1.png,p,robot,old,1\n")
    assert problems.counts(kept=True) == {"odd sex": 1, "odd age": 1}
    assert source.rows["sex"].tolist() == [""]
    assert source.rows["age"].isna().all()


def test_a_label_that_is_none_leaves_its_row_out(path):
    source, problems = read(path, MINIMAL.replace("p1,1,0", "p1,2,0"))
    assert source.rows["path"].tolist() == ["a/1.png", "c/3.png"]
    assert source.rows.index.tolist() == [0, 1]
    assert problems.counts(kept=False) == {"label value": 1}
    assert problems.table()["detail"].tolist() == ["Pneumonia: '2'"]


# Options


@pytest.mark.parametrize("text", ["path", "path=", "=image", "", "path=image,", "path=a,path=b"])
def test_a_malformed_mapping_is_a_usage_error(path, text):
    with pytest.raises(UsageError, match="--columns"):
        read(path, MINIMAL, columns=text)


@pytest.mark.parametrize("text", ["", "Edema,", "Edema=", "=Edema", "Edema,Edema", "Edema,Edema=x"])
def test_malformed_labels_are_a_usage_error(path, text):
    with pytest.raises(UsageError, match="--label-columns"):
        read(path, MINIMAL, label_columns=text)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"columns": "patient=patient_id"}, "manifest column 'patient' .*did you mean patient_id"),
        ({"columns": "source=path"}, "manifest column 'source'"),
        ({"columns": "sex=pathh"}, "column of films.csv 'pathh' .*did you mean path"),
        ({"label_columns": "Edemaa"}, "column of films.csv 'Edemaa' .*did you mean Edema"),
        ({"label_columns": "path=Edema"}, "cannot be named 'path'.*NAME=Edema"),
        ({"label_columns": "error=Edema"}, "cannot be named 'error'"),
        ({"label_columns": "a;b=Edema"}, "cannot be named 'a;b'"),
    ],
)
def test_a_name_that_is_not_known_is_a_usage_error(path, options, told):
    with pytest.raises(UsageError, match=told):
        read(path, MINIMAL, **options)


def test_all_that_is_missing_is_told_at_once(path):
    with pytest.raises(DataError) as told:
        read(path, "a,b\n1,2\n")
    for what in ("path=COLUMN", "patient_id=COLUMN", "--label-columns", "columns are a, b"):
        assert what in str(told.value)


# Which table


def test_a_folder_with_one_csv_is_that_table(path, tmp_path):
    path.write_text(MINIMAL)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._films.csv").write_bytes(b"\0")
    assert table.holds(tmp_path)
    assert table.holds(path)
    assert read(tmp_path)[0].rows.equals(read(path)[0].rows)


def test_a_folder_with_several_or_none_is_refused(path, tmp_path):
    assert not table.holds(tmp_path)
    assert not table.holds(path)
    with pytest.raises(DataError, match="holds no CSV"):
        read(tmp_path)
    path.write_text(MINIMAL)
    (tmp_path / "other.csv.gz").write_bytes(b"")
    assert not table.holds(tmp_path)
    with pytest.raises(DataError, match=r"2 CSVs \(films\.csv, other\.csv\.gz\)"):
        read(tmp_path)


def test_a_table_that_is_named_may_have_any_ending(tmp_path):
    assert len(read(tmp_path / "films.txt", MINIMAL)[0].rows) == 3


def test_a_gzipped_table_says_the_same(path, tmp_path):
    path.write_text(MINIMAL)
    zipped = tmp_path / "films.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert table.holds(zipped)
    assert read(zipped)[0].rows.equals(read(path)[0].rows)


def test_columns_and_labels_are_known_whatever_their_spelling(path):
    text = "PATH,Patient_ID,pleural_effusion,Airspace Opacity,No finding,Report\n1.png,a,1,0,,x\n"
    source, problems = read(path, text)
    assert problems.counts() == {}
    rows = source.rows
    assert rows["path"].tolist() == ["1.png"]
    found = rows[["No Finding", "Lung Opacity", "Pleural Effusion"]].to_numpy()
    np.testing.assert_array_equal(found, [[np.nan, 0, 1]])
    assert source.unused == {"films.csv": ["Report"]}


@pytest.mark.parametrize(
    ("given", "patients"),
    [
        (["17", "17.0", "017", "18"], ["17", "17", "17", "18"]),
        (["017", "17", "0017.00", "7"], ["017", "017", "017", "7"]),
        (["0", "00", "0.0", "1"], ["0", "0", "0", "1"]),
        # Not all are numbers: these are names, and differ.
        (["17", "017", "P17", "17.0"], ["17", "017", "P17", "17.0"]),
    ],
)
def test_a_patient_written_as_a_number_is_one_patient(path, given, patients):
    rows = [f"{at}.png,{patient},1" for at, patient in enumerate(given)]
    source, problems = read(path, "\n".join(["path,patient_id,Edema", *rows, ""]))
    assert source.rows["patient_id"].tolist() == patients
    other = sum(one != two for one, two in zip(given, patients, strict=True))
    assert problems.counts(kept=True) == ({"patient spelled otherwise": other} if other else {})


def test_a_patient_that_a_spreadsheet_has_rounded_is_told(path):
    source, problems = read(path, "path,patient_id,Edema\n1.png,1.23457E+12,1\n2.png,7,0\n")
    assert source.rows["patient_id"].tolist() == ["1.23457E+12", "7"]
    assert problems.counts(kept=True) == {"rounded patient": 1}


def test_race_is_no_label_and_comes_back_with_the_manifest(path, tmp_path):
    source, _ = read(path, "path,patient_id,Race,Edema\n1.png,a,Asian,1\n2.png,b,,0\n")
    assert source.rows["race"].tolist() == ["Asian", ""]
    write_manifest(source.rows, tmp_path / "manifest.csv")
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert manifest["race"].tolist() == ["Asian", ""]
    assert label_columns(manifest) == ["Edema"]
    # What has none is written as before.
    source, _ = read(path, MINIMAL)
    assert "race" not in source.rows
