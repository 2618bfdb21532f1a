import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.marked_folders import make_room

MARK = ".cxrtool-things"


def room(folder, **options):
    given = {"option": "--things", "what": "things", "force": False} | options
    make_room(folder, MARK, **given)


def test_a_new_and_an_empty_folder_are_marked(tmp_path):
    for folder in (tmp_path / "a" / "b", tmp_path / "empty"):
        room(folder)
        assert [file.name for file in folder.iterdir()] == [MARK]


def test_what_is_there_is_kept_unless_force_is_given_for_a_folder_of_ours(tmp_path):
    folder = tmp_path / "ours"
    room(folder)
    (folder / "thing").touch()
    with pytest.raises(DataError, match="holds something: --force replaces it"):
        room(folder)
    room(folder, resume=True)
    assert (folder / "thing").exists()
    room(folder, force=True)
    assert not (folder / "thing").exists()


def test_anothers_folder_and_a_file_are_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DataError, match="is no folder of things"):
        room(tmp_path, force=True)
    with pytest.raises(DataError, match="--things names a folder"):
        room(tmp_path / "holiday.jpg", force=True)
    assert (tmp_path / "holiday.jpg").exists()
