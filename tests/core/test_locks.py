"""A second process is kept out, a lock that nobody holds is none, and nothing is left behind."""

import pytest

from cxrtool.core.errors import DataError
from cxrtool.core.locks import is_locked, locked, only_writer


def test_a_folder_takes_one_at_a_time_and_is_left_as_it_was(tmp_path):
    folder = tmp_path / "deep" / "cxr"
    with locked(folder, "training", "name another run"):
        assert is_locked(folder)
        with (
            pytest.raises(DataError, match=r"another training is running in .* name another run"),
            locked(folder, "training", "name another run"),
        ):
            pass
        assert is_locked(folder)
    assert list(tmp_path.iterdir()) == []
    assert not is_locked(folder)


def test_what_was_put_beside_a_lock_stays(tmp_path):
    with locked(tmp_path / "cxr", "training"):
        (tmp_path / "cxr" / "a").touch()
    assert [path.name for path in (tmp_path / "cxr").iterdir()] == ["a"]
    (tmp_path / "cxr" / ".lock").touch()  # a killed process leaves the file and no lock
    assert not is_locked(tmp_path / "cxr")


def test_a_file_has_one_writer(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with (
        only_writer(path),
        pytest.raises(DataError, match="another process is writing"),
        only_writer(path),
    ):
        pass
    with only_writer(path):
        path.write_text("x")
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]
