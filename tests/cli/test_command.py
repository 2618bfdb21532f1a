"""A command's boundary: where it looks, what it prints and how it ends."""

import json
import tempfile

from tests.support.calling import call


def test_from_another_folder_the_message_names_the_place_and_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["split"], ["train"], ["evaluate"], ["evaluate", "x"], ["predict", "x.jpg"]):
        told = call(*arguments).stderr
        assert f"there is no workspace cxr here: {tmp_path / 'cxr'} is missing" in told, arguments
        assert "-w PATH/TO/WORKSPACE" in told
    assert f"{tmp_path / 'cxr'} is missing" in call("runs").stdout


def test_quiet_is_quiet(prepared, capsys):
    done = call("split", "-w", prepared.folder, "--force", "-q")
    assert (done.exit_code, done.stdout) == (0, "")
    assert all(line.startswith("warning:") for line in done.stderr.splitlines())
    assert call("split", "-w", prepared.folder, "--force", "-q", "--json").stdout.startswith("{")
    assert "next:" not in call("runs", "-w", prepared.folder, "-q").stdout


def test_the_workspace_comes_from_the_environment(prepared, monkeypatch):
    monkeypatch.setenv("CXRTOOL_WORKSPACE", str(prepared.folder))
    assert "--force" in call("split").stderr


def test_debug_shows_the_traceback(shell, tmp_path):
    done = shell("split", "-w", tmp_path, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "DataError" in done.stderr


def test_names_with_markup_are_told_as_they_are(tmp_path):
    done = call("split", "-w", tmp_path / "[bold]x[PA]")
    assert "[bold]x[PA]" in done.stderr


def test_a_full_disk_is_one_message(prepared, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "split.csv")

    monkeypatch.setattr("cxrtool.workflows.split.write_table", full)
    done = call("split", "-w", prepared.folder, "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "split.csv: No space left on device" in done.stderr


def test_no_room_for_temporary_files_is_told_with_the_way_on(prepared, tmp_path, monkeypatch):
    def all_full(*_, **__):
        monkeypatch.setattr(tempfile, "tempdir", None)
        tempfile.mkdtemp()

    gone = str(tmp_path / "gone")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [gone])
    monkeypatch.setattr("cxrtool.workflows.split.write_table", all_full)
    done = call("split", "-w", prepared.folder, "--force")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the system" not in done.stderr
    assert "gone" in done.stderr
    assert "TMPDIR" in done.stderr


def test_ctrl_c_is_exit_130(prepared, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrtool.workflows.split.write_table", interrupted)
    done = call("split", "-w", prepared.folder, "--force")
    assert (done.exit_code, done.stdout) == (130, "")
    told = json.loads(call("split", "-w", prepared.folder, "--force", "--json").stdout)
    assert (told["status"], told["exit_code"]) == ("stopped", 130)


def test_a_bug_keeps_its_traceback(prepared, monkeypatch):
    def bug(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("cxrtool.workflows.split.write_table", bug)
    assert isinstance(call("split", "-w", prepared.folder, "--force").exception, ZeroDivisionError)
