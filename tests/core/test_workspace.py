"""What is missing is named with the command that makes it, as it has to be typed from here."""

from pathlib import Path

import pytest

from cxrtool.core.config import CommonConfig
from cxrtool.core.errors import DataError
from cxrtool.core.workspace import Workspace, workspace_option


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(DataError, match=r"split\.csv is missing: run `cxrtool split -w .*` first$"):
        workspace.need(workspace.split, "split")
    workspace.split.touch()
    assert workspace.need(workspace.split, "split") == tmp_path / "split.csv"


def test_a_folder_that_is_not_here_is_named_with_the_way_to_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = f"there is no workspace cxr here: {tmp_path / 'cxr'} is missing: run `cxrtool prepare`"
    with pytest.raises(DataError) as told:
        Workspace(Path("cxr")).read_data_info()
    assert str(told.value).startswith(here)
    assert "-w PATH/TO/WORKSPACE" in str(told.value)


def test_the_usual_workspace_needs_no_option_and_others_are_quoted():
    assert workspace_option(CommonConfig.workspace) == ""
    assert workspace_option(Path("my x-rays")) == " -w 'my x-rays'"
