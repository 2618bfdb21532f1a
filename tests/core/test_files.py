import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cxrtool.core import files as files
from cxrtool.core.errors import DataError
from cxrtool.core.files import (
    claimed_folder,
    fsync,
    names_file,
    read_bytes,
    sha256,
    whole_file,
    write_text,
)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def _killed_while_it_writes(path):
    child = os.fork()
    if child == 0:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            os._exit(9)
    os.waitpid(child, 0)


@pytest.mark.skipif(files.fcntl is None, reason="a killed process is known by its lock")
def test_the_next_writer_removes_what_killed_ones_left_and_nothing_else(tmp_path, monkeypatch):
    others = {".a-20240101.txt", ".a-part-longer-than-ours", "a-part-abcdefgh"}
    for name in others:
        (tmp_path / name).mkdir()
    for name in ("a.txt", "b.txt", "c"):
        _killed_while_it_writes(tmp_path / name)
    # Each of them removed what the one before had left.
    assert len(list(tmp_path.iterdir())) == len(others) + 1
    with whole_file(tmp_path / "d.txt") as at_work:
        monkeypatch.setattr(files, "_swept", set())  # as in another process
        write_text(tmp_path / "a.txt", "whole")
        left = {one.name for one in tmp_path.iterdir()}
        assert left == {*others, at_work.parent.name, "a.txt"}


def test_what_a_library_puts_beside_its_file_goes_with_it(tmp_path):
    with whole_file(tmp_path / "a.db") as temporary:
        temporary.with_name("a.db-journal").touch()
        save_file({"x": np.zeros(1)}, temporary)  # by way of a file of its own
    assert [one.name for one in tmp_path.iterdir()] == ["a.db"]


def test_a_name_of_any_length_that_the_system_takes_can_be_written(tmp_path):
    for name in ("x" * 255, "x" * 251 + ".csv"):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_others_may_read_the_file(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a.txt", plain)}
    assert len(modes) == 1


def test_sha256_is_the_known_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def _pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize("read", [read_bytes, sha256])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, read):
    with pytest.raises(OSError, match="a named pipe, not a file"):
        read(_pipe(tmp_path))
    with pytest.raises(OSError, match="a device, not a file"):
        read(tmp_path.__class__("/dev/zero"))
    with pytest.raises(OSError, match="a folder, not a file"):
        read(tmp_path)


def test_a_file_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    assert read_bytes(path, 100) == bytes(100)
    with pytest.raises(OSError, match="larger than the 99 bytes"):
        read_bytes(path, 99)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_names_the_file_that_was_to_be(tmp_path):
    def fills():
        with whole_file(tmp_path / "table.csv"), open("/dev/full", "w") as file:  # noqa: PTH123
            file.write("x")

    with pytest.raises(OSError, match="No space left") as told:
        fills()
    assert told.value.filename == str(tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_names_the_temporary_file_names_the_one_that_was_to_be(tmp_path):
    def fails():
        with whole_file(tmp_path / "table.csv") as temporary:
            temporary.unlink()
            temporary.rmdir()

    with pytest.raises(FileNotFoundError) as told:
        fails()
    assert told.value.filename == str(tmp_path / "table.csv")


def test_numpys_error_without_a_number_is_one_with_a_name(tmp_path):
    with pytest.raises(OSError, match="8 requested and 0 written") as told, names_file(tmp_path):
        raise OSError("8 requested and 0 written")
    assert (told.value.errno, told.value.filename) == (errno.EIO, str(tmp_path))


def test_what_others_rest_on_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []

    def fsync(path):
        assert not (tmp_path / f"a{path.suffix}").exists()
        synced.append(path.suffix)

    monkeypatch.setattr(files, "fsync", fsync)
    for suffix in (".json", ".csv", ".safetensors", ".png", ".html"):
        with whole_file(tmp_path / f"a{suffix}") as temporary:
            temporary.write_text("x")
    assert synced == [".json", ".csv", ".safetensors"]


def test_a_disk_that_fails_while_it_is_waited_for_is_told_with_its_file(tmp_path, monkeypatch):
    def fails(number):
        raise OSError(errno.EIO, "Input/output error")

    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=r"a\.bin"):
        fsync(file)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_for_results_is_as_it_was_after_an_error(tmp_path, there):
    folder = tmp_path / "table"
    if there:
        folder.mkdir()

    def fill():
        with claimed_folder(folder, force=False):
            (folder / "figures").mkdir()
            (folder / "figures" / "a.png").write_bytes(b"x")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert folder.exists() == there
    with claimed_folder(folder, force=False):
        (folder / "a.csv").write_text("x")
    with (
        pytest.raises(DataError, match="--force writes into it"),
        claimed_folder(folder, force=False),
    ):
        pass
    with pytest.raises(OSError, match="full"), claimed_folder(folder, force=True):
        raise OSError("full")
    assert (folder / "a.csv").read_text() == "x"
