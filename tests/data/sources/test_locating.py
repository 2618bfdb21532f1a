import pandas as pd
import pytest

from cxrtool.data.problems import Problems
from cxrtool.data.sources.locating import locate_images, unnamed_images


def put(folder, *places, content=b""):
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)


def locate(folder, *paths):
    problems = Problems()
    found = locate_images(folder, pd.Series(paths, dtype="str"), problems)
    return found.tolist(), problems.table()[["kind", "where"]].to_numpy().tolist()


@pytest.mark.parametrize("lying", ["a.png", "x/a.jpg", "x/y/a.dcm", "x/a.TIF", "x/a"])
@pytest.mark.parametrize("named", ["a.png", "a", "old/place/a.jpeg"])
def test_an_image_is_found_by_its_stem_whatever_its_folder_and_ending(tmp_path, lying, named):
    put(tmp_path, lying, "x/b.png")
    assert locate(tmp_path, named, "b.png") == ([lying, "x/b.png"], [])


def test_ids_with_dots_keep_all_of_their_name(tmp_path):
    put(tmp_path, "x/1.2.840.1", "x/1.2.840.2.dcm")
    assert locate(tmp_path, "1.2.840.1", "1.2.840.2")[0] == ["x/1.2.840.1", "x/1.2.840.2.dcm"]
    assert locate(tmp_path, "1.2.840", "1.2.840.3")[0] == ["1.2.840", "1.2.840.3"]


def test_names_that_repeat_are_told_apart_by_the_folders_before_them(tmp_path):
    put(tmp_path, "batch 2 (train 1)/p1/s1/view1.jpg", "batch 3 (train 2)/p2/s1/view1.jpg")
    paths, problems = locate(tmp_path, "train/p1/s1/view1.jpg", "train/p2/s1/view1.jpg")
    assert paths == ["batch 2 (train 1)/p1/s1/view1.jpg", "batch 3 (train 2)/p2/s1/view1.jpg"]
    assert problems == []
    # A study that is not there is not taken for another patient's.
    assert locate(tmp_path, "train/p1/s1/view1.jpg", "train/p3/s1/view1.jpg")[0][1] == (
        "train/p3/s1/view1.jpg"
    )


def test_a_path_that_is_right_is_taken_whatever_else_lies_there(tmp_path):
    put(tmp_path, "a.png", "x/a.png", "x/b.png")
    assert locate(tmp_path, "a.png", "b.png") == (["a.png", "x/b.png"], [])


def test_of_several_the_one_that_agrees_most_is_taken(tmp_path):
    put(tmp_path, "copy/train/a.jpg", content=b"1")
    put(tmp_path, "copy/test/a.jpg", content=b"2")
    assert locate(tmp_path, "old/test/a.png") == (["copy/test/a.jpg"], [])
    put(tmp_path, "x/b.png", content=b"1")
    put(tmp_path, "x/b.dcm", content=b"2")
    assert locate(tmp_path, "b.dcm") == (["x/b.dcm"], [])


def test_several_that_differ_are_ambiguous_and_equal_ones_count_as_one(tmp_path):
    put(tmp_path, "x/a.png", "y/a.png", content=b"1")
    put(tmp_path, "z/a.png", content=b"2")
    assert locate(tmp_path, "a.png", "b.png") == (
        ["", "b.png"],
        [["ambiguous image", "a.png"]],
    )
    put(tmp_path, "z/a.png", content=b"1")
    paths, problems = locate(tmp_path, "a.png")
    assert paths == ["x/a.png"]
    assert problems == [["image twice", "y/a.png"], ["image twice", "z/a.png"]]


def test_hidden_files_and_other_kinds_of_files_are_no_images(tmp_path):
    put(tmp_path, ".x/a.png", "x/._a.png", "x/a.txt", "x/.a.png", "x/a.png.part")
    assert locate(tmp_path, "a.png") == (["a.png"], [])


def test_images_without_a_row_are_found_beside_those_that_have_one(tmp_path):
    put(tmp_path, "x/a.png", "x/y/b.JPG", "x/notes.txt", "x/.c.png", "other/d.png", "e.dcm")
    assert unnamed_images(tmp_path, ["x/a.png"]) == ["x/y/b.JPG"]
    assert unnamed_images(tmp_path, ["x/a.png", "x/y/b.JPG", "f.dcm"]) == ["e.dcm"]
    assert unnamed_images(tmp_path, ["gone/a.png"]) == []
