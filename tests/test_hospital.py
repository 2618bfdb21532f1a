"""`examples/hospital/`: what Docker would start is run here without it."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from pydicom import dcmread

from cxrtool.cli.app import app
from cxrtool.core.config import ListenConfig, RunsConfig
from cxrtool.workflows.pack_run import pack_run
from tests.support.dicoms import NAME, NUMBER, saved
from tests.support.listening import listening
from tests.support.orthanc import Orthanc, free_port, why_no_orthanc
from tests.support.studies import as_bytes, dx

ROOT = Path(__file__).parents[1]
HOSPITAL = ROOT / "examples" / "hospital"
COMMANDS = typer.main.get_command(app).commands
ENGINE = ("--engine", "torch", "--precision", "fp32")
PATIENCE = 120
FOLDERS = [
    ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"),
    ("MONAI_INPUTPATH", "MONAI_OUTPUTPATH"),
    ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"),
]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((HOSPITAL / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def docker():
    """The instructions of the Dockerfile, each with what follows it."""
    text = (HOSPITAL / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_command_of_the_container_is_one(compose):
    name, *words = shlex.split(compose["services"]["cxrtool"]["command"])
    options = COMMANDS[name].make_context(name, words).params
    assert options["bind"] == "0.0.0.0"
    settings = json.loads((HOSPITAL / "orthanc.json").read_text())
    title, host, port = settings["DicomModalities"]["cxrtool"]
    assert (title, host, port) == (options["ae"], "cxrtool", options["port"])
    assert host in compose["services"]
    assert options["allow_ae"] == [settings["DicomAet"]]
    assert options["to"] == [f"{settings['DicomAet']}@orthanc:{settings['DicomPort']}"]


def test_nothing_but_what_is_mounted_can_be_written_and_nobody_is_root(compose, docker):
    service = compose["services"]["cxrtool"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]
    users = [value for name, value in docker if name == "USER"]
    assert users
    assert not users[-1].startswith(("root", "0"))
    for published in compose["services"]["orthanc"]["ports"]:
        assert published.startswith("127.0.0.1:")
    environment = " ".join(value for name, value in docker if name == "ENV")
    for kept in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        assert f"{kept}=/tmp" in environment


def test_what_the_dockerfile_names_is_there(compose, docker):
    for name, value in docker:
        if name == "COPY":
            *sources, _ = value.split()
            for source in sources:
                assert (ROOT / source).exists(), source
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (named,) = re.findall(r"/src\[([a-z,]+)\]", " ".join(value for _, value in docker))
    assert set(named.split(",")) <= set(extras["optional-dependencies"])
    (health,) = [value for name, value in docker if name == "HEALTHCHECK"]
    assert f":{ListenConfig.monitor_port}/health" in health
    for volume in (*compose["services"]["orthanc"]["volumes"],):
        if volume.startswith("./"):
            assert (HOSPITAL / volume.split(":")[0]).is_file()


def until(state):
    end = time.monotonic() + PATIENCE
    while not (found := state()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.mark.slow
@pytest.mark.skipif(bool(why_no_orthanc()), reason=why_no_orthanc())
def test_what_orthanc_is_sent_is_answered_in_the_same_study(trained, tmp_path):
    """As compose.yaml has them beside each other, but on this machine."""
    settings = json.loads((HOSPITAL / "orthanc.json").read_text())
    port, image = free_port(), dx()
    settings["DicomModalities"]["cxrtool"][1:] = ["127.0.0.1", port]
    settings["LuaScripts"] = [str(HOSPITAL / "forward.lua")]
    ours = ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort", "Plugins")
    settings = {key: value for key, value in settings.items() if key not in ours}
    orthanc = Orthanc(tmp_path / "orthanc", settings)
    options = ("--ae", "CXRTOOL", "--allow-ae", "ORTHANC", "--quiet-seconds", 0.5)
    options = (*options, "--spool", tmp_path / "spool", "--to", orthanc.node, *ENGINE)
    try:
        orthanc.start()
        with listening(trained.workspace, tmp_path / "log.txt", *options, "--port", port) as one:
            orthanc.store(as_bytes(image))
            until(lambda: one.health()["studies"]["done"] == 1)
            found = modalities(orthanc)
            assert one.health()["ok"]
            assert one.stop() == 0
        assert "SR" in found
        assert found.count("DX") == 1
        # What came back did not go round in a circle.
        assert list(orthanc.count_by_study()) == [image.StudyInstanceUID]
        assert "1 scored" in (tmp_path / "log.txt").read_text()
    finally:
        orthanc.stop()


@pytest.fixture(scope="module")
def pack(trained_once, tmp_path_factory):
    """The model as the container has it."""
    made = tmp_path_factory.mktemp("model") / "model.zip"
    pack_run(RunsConfig(action="pack", names=["tiny"], output=made), trained_once.workspace)
    return made


def start_entry(folder, environment, *words):
    """What the container starts, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    program = [sys.executable, str(HOSPITAL / "entry.py"), *words]
    scripts = folder / "bin"
    scripts.mkdir(exist_ok=True)
    (scripts / "cxrtool").write_text(f'#!/bin/sh\nexec {sys.executable} -m cxrtool "$@"\n')
    (scripts / "cxrtool").chmod(0o755)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    own = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)} | environment
    return subprocess.run(program, cwd=folder, env=own, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("names", FOLDERS, ids=lambda names: names[0])
def test_a_folder_in_has_its_results_in_a_folder_out(names, pack, tmp_path):
    images, results = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    film, lateral = dx(), dx(ViewPosition="LL")
    for number, made in enumerate((film, lateral)):
        saved(images / f"{number}.dcm", made)
    (images / "task.json").write_text("{}")  # as mercure puts there
    folders = dict(zip(names, (str(images), str(results)), strict=True))
    done = start_entry(tmp_path / "work", folders | {"CXRTOOL_MODEL": str(pack)})
    assert done.returncode == 0, done.stderr
    report = f"{film.StudyInstanceUID}-report.dcm"
    found = {file.name for file in results.iterdir()}
    assert {report, "result.json"} <= found
    assert all(file.parent == results for file in results.rglob("*.dcm"))
    assert dcmread(results / report).StudyInstanceUID == film.StudyInstanceUID
    told = (results / "result.json").read_text()
    assert json.loads(told)["reports"] == 1
    assert "1 reports" in json.loads(told)["__mercure_notification"]["text"]
    for secret in (NAME, NUMBER, "ACC-9", "19500102"):
        assert secret not in told + done.stdout + done.stderr


def test_a_folder_without_a_study_is_an_error(pack, tmp_path):
    images, results = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    (images / "note.txt").write_text("hello")
    folders = {"MERCURE_IN_DIR": str(images), "MERCURE_OUT_DIR": str(results)}
    done = start_entry(tmp_path / "work", folders | {"CXRTOOL_MODEL": str(pack)})
    assert done.returncode == 1
    assert "no images" in json.loads((results / "result.json").read_text())["error"]


def test_without_folders_it_is_cxrtool(tmp_path):
    done = start_entry(tmp_path / "work", {}, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("cxrtool ")


def modalities(orthanc):
    """Those of all series."""
    series = json.loads(orthanc.ask("/series?expand"))
    return [one["MainDicomTags"]["Modality"] for one in series]
