"""Whatever is wrong with an image file, the message names it."""

import os

import numpy as np
import pytest
from PIL import Image

from cxrtool.images.errors import ImageError, MissingImageError
from cxrtool.images.reading import decode, read_for_scoring, read_grey, read_header
from tests.support.greys import RAMP, grey, saved


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_grey(tmp_path / "gone.jpg")


@pytest.mark.parametrize(
    "name", ["two words.png", 'it\'s "so".png', "a\nb.png", "[bold]<b>&amp;.png", "köln—日本.png"]
)
def test_any_name_will_do(tmp_path, name):
    path = saved(tmp_path / name, RAMP)
    assert (grey(path) == RAMP).all()
    path.write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        read_for_scoring(path)
    assert str(caught.value) == f"{path}: not a JPEG, PNG, TIFF or DICOM image"


@pytest.mark.parametrize("read", [read_grey, read_for_scoring, read_header, decode])
def test_what_is_no_file_is_refused_at_once(tmp_path, read):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.dcm")
    for name, told in {
        "folder.jpg": "cannot be read (it is a folder)",
        "pipe.dcm": "cannot be read (it is not a regular file)",
        "round.jpg": "cannot be read (Too many levels of symbolic links)",
        "lost.jpg": "no such file",
        "folder.jpg/a.jpg": "no such file",
        f"{'x' * 300}.jpg": "cannot be read (File name too long)",
        "nul\0.jpg": "cannot be decoded (embedded null byte)",
    }.items():
        with pytest.raises(ImageError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {told}"
        assert isinstance(caught.value, MissingImageError) == (told == "no such file")


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = saved(tmp_path / "a.png", RAMP)
    path.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # nobody: root may read everything
        with pytest.raises(ImageError, match=r"a\.png: cannot be read \(Permission denied\)"):
            read_for_scoring(path)
    finally:
        if root:
            os.seteuid(0)


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", RAMP)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    saved(path, np.dstack([RAMP] * 3))
    with pytest.raises(ImageError, match="too large for this machine's memory"):
        read_for_scoring(path)
