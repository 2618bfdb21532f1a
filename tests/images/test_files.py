"""Image files in folders, before they are decoded."""

import os

import pytest

from cxrtool.images.errors import MissingImageError
from cxrtool.images.files import file_state, is_image
from tests.support.dicoms import dicom
from tests.support.greys import RAMP, saved


def test_images_of_a_folder_are_known_by_suffix_or_as_dicom(tmp_path):
    names = ["a.jpg", "b.JPEG", "c.png", "d.tif", "e.TIFF", "f.dcm", "g.DICOM"]
    for name in (*names, "notes.txt", "table.csv", "README", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    bare = ["IM0001", "1.2.840.113619.2.5"]
    for name in (*bare, "scan.bak", ".hidden", "DICOMDIR"):
        dicom(tmp_path / name, RAMP)
    found = sorted(path.name for path in tmp_path.iterdir() if is_image(path))
    assert found == sorted(names + bare)
    assert not is_image(tmp_path / "gone")


def test_the_state_of_a_file_changes_with_it_and_a_missing_one_is_named(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    size, modified = file_state(path)
    assert (size, modified) == (path.stat().st_size, path.stat().st_mtime_ns)
    os.utime(path, ns=(0, modified + 1))
    assert file_state(str(path)) == (size, modified + 1)
    with pytest.raises(MissingImageError, match=r"gone\.png: no such file"):
        file_state(tmp_path / "gone.png")
