"""Which images an input stands for."""

from pathlib import Path

import pandas as pd
import pytest

from cxrtool.core.errors import DataError, UsageError
from cxrtool.inference.inputs import list_images
from tests.support.dicoms import dicom
from tests.support.greys import RAMP


def test_folders_globs_and_tables_stand_for_their_images(tmp_path):
    for name in ("a/1.jpg", "a/b/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/dir.jpg/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    pd.DataFrame({"path": ["b/2.PNG", "1.jpg"]}).to_csv(tmp_path / "a" / "t.csv", index=False)
    files = [str(tmp_path / "a" / "1.jpg"), str(tmp_path / "a" / "b" / "2.PNG")]
    assert list_images([str(tmp_path / "a")]).files == files
    assert list_images([str(tmp_path / "a" / "*")]).files == files[:1]
    table = list_images([str(tmp_path / "a" / "t.csv")])
    assert (table.names, table.files) == (["b/2.PNG", "1.jpg"], files[::-1])
    assert list_images(["gone.jpg"]).names == ["gone.jpg"]


def test_a_folder_is_searched_by_content_and_what_is_passed_over_is_counted(tmp_path):
    names = ["1.2.840.113619.abc", "IM0001.IMA", "b/d.img", "b/e"]
    for name in (*names, ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dicom(tmp_path / name, RAMP)
    for name in ("DICOMDIR", "notes.txt", "b/more.TXT", "b/c.dcm.gz", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    found = list_images([str(tmp_path)])
    assert sorted(found.names) == sorted(str(tmp_path / name) for name in names)
    told = "passed over, being no images: 2 .txt, 1 hidden folder, 1 hidden, 1 DICOMDIR, 1 .dcm.gz"
    assert sorted(found.others().split(", ")) == sorted(told.split(", "))
    assert found.passed_over.total() == 6
    globbed = list_images([str(tmp_path / "b" / "*")])
    assert (numbered(globbed.names), dict(globbed.passed_over)) == (
        ["d.img", "e"],
        {".dcm.gz": 1, ".txt": 1},
    )
    with pytest.raises(DataError, match=r"no images .* are there; passed over.*: 1 .txt"):
        list_images([str(tmp_path / "*.txt")])
    assert list_images([names[0]]).others() == ""


def test_a_name_with_brackets_is_a_file_first(tmp_path):
    (tmp_path / "x[PA].jpg").write_bytes(b"")
    assert list_images([str(tmp_path / "x[PA].jpg")]).files == [str(tmp_path / "x[PA].jpg")]


def test_chexperts_own_table_and_a_manifest_find_their_images(trained_once):
    for table in (trained_once.data / "valid.csv", trained_once.workspace.manifest):
        images = list_images([str(table)])
        assert len(images) > 5
        assert all(Path(file).is_file() for file in images.files)


def test_an_empty_input_is_wrong_use_and_not_the_whole_folder():
    with pytest.raises(UsageError, match="input is empty"):
        list_images([""])


def test_an_input_that_stands_for_nothing_is_named(tmp_path):
    with pytest.raises(DataError, match="no images"):
        list_images([str(tmp_path)])
    (tmp_path / "t.csv").write_text("file\nx.jpg\n")
    with pytest.raises(DataError, match="no column path"):
        list_images([str(tmp_path / "t.csv")])


def numbered(names):
    return [Path(name).name for name in names]


def test_a_part_of_a_manifests_split_is_scored(trained_once):
    workspace = trained_once.workspace
    split = pd.read_csv(workspace.split)
    wanted = split["path"][split["split"] == "test"]
    found = list_images([str(workspace.manifest)], "test")
    assert sorted(found.names) == sorted(wanted)
    assert all(Path(file).is_file() for file in found.files)
    with pytest.raises(UsageError, match=r"which .* is not"):
        list_images([str(trained_once.data)], "test")
    with pytest.raises(UsageError, match=r"manifest.csv"):
        list_images([str(trained_once.data / "valid.csv")], "test")


def test_links_that_go_round_are_not_followed_and_hidden_folders_not_entered(tmp_path):
    (tmp_path / "a" / ".git").mkdir(parents=True)
    for name in ("a/1.jpg", "a/.git/2.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "round").symlink_to(tmp_path / "a")
    assert numbered(list_images([str(tmp_path / "a")]).names) == ["1.jpg"]


def test_a_table_of_windows_finds_its_images(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(b"")
    (tmp_path / "films.csv").write_text("path\nx\\a.png\n")
    found = list_images([str(tmp_path / "films.csv")])
    assert (found.names, found.files) == (["x\\a.png"], [str(tmp_path / "x" / "a.png")])


def test_a_table_with_blank_paths_is_refused_and_says_where(tmp_path):
    (tmp_path / "t.csv").write_text("path,x\n1.jpg,1\n ,2\n")
    with pytest.raises(DataError, match=r"1 rows name no file \(lines 3\)"):
        list_images([str(tmp_path / "t.csv")])
