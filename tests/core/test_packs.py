"""Packs that were altered, or made to do harm, and what is read of good ones."""

import json
import shutil
import zipfile

import pytest

from cxrtool.core import packs
from cxrtool.core.errors import RunError
from cxrtool.core.json_files import seal_of
from cxrtool.core.packs import is_pack, unpack
from cxrtool.core.run_cards import read_card
from tests.conftest import Hearing
from tests.support.packing import alter, pack


@pytest.fixture(scope="module")
def made(trained_once, tmp_path_factory):
    """A zip of the run, and the same as a folder."""
    folder = tmp_path_factory.mktemp("packs")
    pack(trained_once, folder / "tiny.zip")
    pack(trained_once, folder / "tiny")
    return folder


@pytest.fixture(params=["zip", "folder"])
def given(made, tmp_path, request):
    if request.param == "zip":
        return shutil.copy(made / "tiny.zip", tmp_path / "tiny.zip")
    return shutil.copytree(made / "tiny", tmp_path / "tiny")


def refused(runs, given, *said):
    with pytest.raises(RunError) as raised:
        unpack(runs, str(given), Hearing())
    for word in (str(given), *said):
        assert word in str(raised.value)
    assert not runs.exists() or [*runs.iterdir()] == []


def test_a_pack_stands_among_the_runs_and_is_made_once(given, tmp_path):
    runs, hearing = tmp_path / "cxr" / "runs", Hearing()
    assert is_pack(str(given))
    run = unpack(runs, str(given), hearing)
    assert run.path.parent == runs
    assert run.name.startswith("pack-tiny-")
    assert read_card(run).packed
    assert f"is kept as run {run.name}" in hearing.notes[0]
    before = run.model.stat().st_mtime_ns
    assert unpack(runs, str(given), hearing) == run
    assert run.model.stat().st_mtime_ns == before
    assert len(hearing.notes) == 1


def test_a_run_of_its_name_that_is_another_is_left_alone(given, tmp_path):
    runs = tmp_path / "runs"
    run = unpack(runs, str(given), Hearing())
    (run.path / "pack.json").unlink()
    with pytest.raises(RunError, match="but a run of this name"):
        unpack(runs, str(given), Hearing())


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", ["thresholds.json", "model.safetensors", "README.md"])
def test_an_altered_file_is_named(given, tmp_path, name, again):
    """Also where the pack is known already."""
    runs = tmp_path / "runs"
    if again:
        unpack(runs, str(given), Hearing())

    def change(content):
        return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]

    if given.suffix == ".zip":
        alter(given, name, change)
    else:
        (given / name).write_bytes(change((given / name).read_bytes()))
    with pytest.raises(RunError, match=f"{name} is not the file that was packed"):
        unpack(runs, str(given), Hearing())


def test_a_file_too_many_or_too_few_is_named(given, tmp_path):
    runs = tmp_path / "runs"
    if given.suffix == ".zip":
        with zipfile.ZipFile(given, "a") as file:
            file.writestr("tiny/.DS_Store", "a desktop's")
            file.writestr("__MACOSX/tiny/._a", "a desktop's")
        shutil.rmtree(unpack(runs, str(given), Hearing()).path)
        with zipfile.ZipFile(given, "a") as file:
            file.writestr("tiny/patients.json", "{}")
    else:
        (given / "patients.json").write_text("{}")
    refused(runs, given, "patients.json", "not in pack.json")


def test_a_missing_file_is_named(given, tmp_path):
    if given.suffix == ".zip":
        alter(given, "labels.json", None)
    else:
        (given / "labels.json").unlink()
    refused(tmp_path / "runs", given, "labels.json")


def sealed(content, **changed):
    """pack.json with other values, sealed by whoever changed it."""
    values = {**json.loads(content), **changed}
    return json.dumps({**values, "sealed": seal_of(values)}).encode()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"run": "../../evil"}, "not a plain name"),
        ({"run": ".hidden"}, "not a plain name"),
        ({"sha256": {"../evil": "0" * 64}}, "../evil is no file of a pack"),
        ({"sha256": {"/etc/passwd": "0" * 64}}, "/etc/passwd is no file of a pack"),
        ({"sha256": {"patients.json": "0" * 64}}, "patients.json is no file of a pack"),
        ({"format": 2}, "another version"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_manifest_that_means_harm_is_refused(made, tmp_path, changed, said):
    given = shutil.copy(made / "tiny.zip", tmp_path / "tiny.zip")
    alter(given, "pack.json", lambda content: sealed(content, **changed))
    refused(tmp_path / "runs", given, said)
    assert not (tmp_path / "evil").exists()


def test_an_edited_manifest_is_refused(given, tmp_path):
    def change(content):
        return content.replace(b'"run": "tiny"', b'"run": "mine"')

    if given.suffix == ".zip":
        alter(given, "pack.json", change)
    else:
        (given / "pack.json").write_bytes(change((given / "pack.json").read_bytes()))
    refused(tmp_path / "runs", given, "pack.json was edited")


@pytest.mark.parametrize(
    "name", ["tiny/../../evil.json", "/evil.json", "..\\evil.json", "evil.json"]
)
def test_a_path_out_of_the_pack_is_never_written(made, tmp_path, name):
    given = shutil.copy(made / "tiny.zip", tmp_path / "tiny.zip")
    with zipfile.ZipFile(given, "a") as file:
        file.writestr(name, "evil")
    refused(tmp_path / "runs", given, "not in pack.json")
    assert [path.name for path in tmp_path.iterdir() if "evil" in path.name] == []


def test_a_link_is_not_followed(made, tmp_path):
    given = shutil.copytree(made / "tiny", tmp_path / "tiny")
    shutil.move(given / "labels.json", tmp_path / "secret")
    (given / "labels.json").symlink_to(tmp_path / "secret")
    refused(tmp_path / "runs", given, "labels.json cannot be read (it is a link)")


def test_what_is_larger_than_it_may_be_is_not_unpacked(made, tmp_path, monkeypatch):
    """However small the zip says that it is: the bytes are counted."""
    given = shutil.copy(made / "tiny.zip", tmp_path / "tiny.zip")
    monkeypatch.setattr(packs, "MOST_WEIGHTS", 10_000)
    refused(tmp_path / "runs", given, "model.safetensors is larger than the 10,000 bytes")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip", b"no zip"])
def test_what_is_no_zip_is_one_message(tmp_path, content):
    given = tmp_path / "tiny.zip"
    given.write_bytes(content)
    refused(tmp_path / "runs", given, "cannot be read")


def test_a_zip_of_something_else_says_so(tmp_path):
    given = tmp_path / "tiny.zip"
    with zipfile.ZipFile(given, "w") as file:
        file.writestr("a.txt", "text")
    refused(tmp_path / "runs", given, "is no pack", "runs pack")
