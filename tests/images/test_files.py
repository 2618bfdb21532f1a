"""Image files in folders, before they are decoded."""

import os
from pathlib import Path

import pytest
from PIL import Image

from cxrtool.images.errors import MissingImageError
from cxrtool.images.files import file_state, is_image, kind_by_name
from tests.support.dicoms import dicom
from tests.support.greys import RAMP, saved


def test_images_of_a_folder_are_known_by_suffix_or_by_content(tmp_path):
    names = ["a.jpg", "b.JPEG", "c.png", "d.tif", "e.TIFF", "f.dcm", "g.DICOM"]
    for name in (*names, "notes.txt", "table.csv", "README", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    dicoms = ["IM0001", "1.2.840.113619.2.5", "1.2.840.113619.abc", "IM1.IMA", "x.img", "y.dcm~"]
    for name in (*dicoms, ".hidden", "DICOMDIR"):
        dicom(tmp_path / name, RAMP)
    pictures = {"a": "PNG", "b.jpg_old": "JPEG", "c.dat": "TIFF"}
    for name, kind in pictures.items():
        Image.fromarray(RAMP).save(tmp_path / name, kind)
    for name, kind in {"d.bmp": "BMP", "e": "GIF"}.items():
        Image.fromarray(RAMP).save(tmp_path / name, kind)
    found = sorted(path.name for path in tmp_path.iterdir() if is_image(path))
    assert found == sorted([*names, *dicoms, *pictures])
    assert not is_image(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.TXT", ".txt"),
        ("README", "without an ending"),
        ("c.dcm.GZ", ".dcm.gz"),
        ("c.gz", ".gz"),
        (".DS_Store", "hidden"),
        ("dicomdir", "DICOMDIR"),
    ],
)
def test_what_is_no_image_is_counted_by_its_name(name, kind):
    assert kind_by_name(Path(name)) == kind


def test_the_state_of_a_file_changes_with_it_and_a_missing_one_is_named(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    size, modified = file_state(path)
    assert (size, modified) == (path.stat().st_size, path.stat().st_mtime_ns)
    os.utime(path, ns=(0, modified + 1))
    assert file_state(str(path)) == (size, modified + 1)
    with pytest.raises(MissingImageError, match=r"gone\.png: no such file"):
        file_state(tmp_path / "gone.png")
