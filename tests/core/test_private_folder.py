"""The folder of a process of its own, and those that killed ones left."""

import os
import sys
import tempfile

import pytest

from cxrtool.core.private_folder import private_folder
from tests.support.gui import png


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked")
def test_what_a_killed_page_left_is_removed_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = {name: tmp_path / f"cxrtool-gui-{name}" for name in ("left", "young", "linked")}
    others = tmp_path / "other"
    for folder in (made["left"], made["young"], others):
        folder.mkdir()
        (folder / "image.png").write_bytes(png(9))
    made["linked"].symlink_to(others)
    (tmp_path / "cxrtool-gui-file").touch()
    with private_folder("gui") as at_work:
        for folder in tmp_path.iterdir():
            if folder != made["young"]:
                os.utime(folder, (0, 0), follow_symlinks=False)
        with private_folder("gui") as own:
            left = {own, at_work, others, made["young"], made["linked"]}
            assert set(tmp_path.iterdir()) == left | {tmp_path / "cxrtool-gui-file"}
            assert own.stat().st_mode & 0o077 == 0
    assert not own.exists()
    assert not at_work.exists()
    assert (others / "image.png").is_file()
