"""The listener as a whole: what comes in over the network, and what goes out."""

import time

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE

from cxrtool.core.config import ListenConfig
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.workflows.listen import open_listener
from tests.support.calling import call
from tests.support.dicoms import NAME, NUMBER, saved
from tests.support.listening import listening
from tests.support.orthanc import why_no_orthanc
from tests.support.studies import dx, errors_of_the_standard

PATIENCE = 120
PRIVATE = (NAME, "Secret", NUMBER, "19500102", "ACC-9", "Doctor")
ENGINE = ("--engine", "torch", "--precision", "fp32")


def send(port, *images, title="CXRTOOL"):
    """Send images over one association; the statuses."""
    ae = AE("DEVICE")
    for kind in {one.SOPClassUID for one in images}:
        ae.add_requested_context(kind, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", port, ae_title=title)
    assert association.is_established
    found = [association.send_c_store(one).Status for one in images]
    association.release()
    return found


def until(state):
    end = time.monotonic() + PATIENCE
    while not (found := state()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def a_study(**elements):
    """A frontal image, a lateral one and a CT of one study."""
    study = {"StudyInstanceUID": generate_uid()} | elements
    return [
        dx(**study, InstanceNumber=1),
        dx(**study, InstanceNumber=2, ViewPosition="LL"),
        dx(**study, InstanceNumber=3, SOPClassUID=CTImageStorage, Modality="CT"),
    ]


@pytest.mark.slow
def test_studies_are_answered_across_a_kill_and_nothing_private_is_said(trained, tmp_path):
    out, spool = tmp_path / "out", tmp_path / "spool"
    options = ("--spool", spool, "--output", out, "--quiet-seconds", 0.5, *ENGINE)
    first, second, log = a_study(), a_study(), tmp_path / "log.txt"
    with listening(trained.workspace, log, *options) as one:
        assert one.health()["ok"]
        assert send(one.port, *first) == [0, 0, 0]
        until(lambda: list(out.glob("*/report.dcm")))
        assert send(one.port, *second[:2]) == [0, 0]
        said = one.metrics()
        one.kill()
    with listening(trained.workspace, log, *options) as one:
        assert send(one.port, *second, *first) == [0] * 6
        found = until(lambda: len(list(out.glob("*/report.dcm"))) == 2 and one.health())
        until(lambda: one.health()["studies"]["done"] == 2)
        said += one.metrics() + str(found)
        assert one.stop() == 0
    for images in (first, second):
        folder = out / images[0].StudyInstanceUID
        content = (folder / "report.dcm").read_bytes()
        assert b"lateral view" in content
        assert dcmread(folder / "report.dcm").PatientID == NUMBER
        assert errors_of_the_standard(content, tmp_path) == []
    said += log.read_text() + " ".join(str(path) for path in spool.rglob("*"))
    assert "1 scored" in said
    for one in PRIVATE:
        assert one not in said


@pytest.mark.slow
@pytest.mark.skipif(bool(why_no_orthanc()), reason=why_no_orthanc() or "-")
def test_results_wait_for_an_archive_that_is_away(trained, tmp_path, orthanc_away):
    options = ("--spool", tmp_path / "spool", "--quiet-seconds", 0, *ENGINE)
    options += ("--to", orthanc_away.node, "--archive-timeout", 5)
    log, images = tmp_path / "log.txt", a_study()
    with listening(trained.workspace, log, *options) as one:
        send(one.port, *images)
        until(lambda: one.health()["why"])
        assert "cannot be reached" in one.health()["why"][0]
        one.kill()
    orthanc_away.start()
    with listening(trained.workspace, log, *options) as one:
        until(lambda: one.health()["studies"]["done"] == 1)
    found = orthanc_away.instances()
    assert {one["StudyInstanceUID"] for one in found} == {images[0].StudyInstanceUID}
    assert sum(one["Modality"] == "SR" for one in found) == 1


@pytest.fixture
def orthanc_away(tmp_path):
    from tests.support.orthanc import Orthanc

    made = Orthanc(tmp_path / "orthanc")
    yield made
    made.stop()


@pytest.mark.slow
def test_a_folder_is_taken_in_place_of_a_port(trained, tmp_path):
    (tmp_path / "in").mkdir()
    for place, one in enumerate(a_study()):
        saved(tmp_path / "in" / f"{place}.dcm", one)
    options = ("--spool", tmp_path / "spool", "--output", tmp_path / "out", *ENGINE)
    options += ("--folder", tmp_path / "in", "--settle-seconds", 0, "--quiet-seconds", 1)
    with listening(trained.workspace, tmp_path / "log", *options):
        until(lambda: list((tmp_path / "out").glob("*/report.dcm")))
    assert len(list((tmp_path / "in").iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name where results go"),
        ({"to": ["nowhere"]}, "is no destination"),
        ({"output": "in/out", "folder": "in"}, "--output lies in --folder"),
        ({"output": "out", "tls_cert": "x.pem"}, "go together"),
        ({"output": "out", "ae": "A" * 17}, "AE title"),
        ({"output": "out", "allow_ae": [""]}, "AE title"),
        ({"output": "out", "archive_ca": "x.pem"}, "no archive is reached over TLS"),
    ],
)
def test_options_that_do_not_go_together_are_refused(workspace_of, options, said):
    with pytest.raises(UsageError, match=said), open_listener(options_of(options), workspace_of):
        pass
    assert not workspace_of.spool.exists()


def test_a_missing_run_and_a_missing_folder_are_errors(workspace_of, tmp_path):
    config = options_of({"output": "out", "port": 0, "run": ["none"]})
    with pytest.raises(RunError, match="none"), open_listener(config, workspace_of):
        pass
    config = options_of({"output": "out", "folder": "missing"})
    with pytest.raises(DataError, match="--folder"), open_listener(config, workspace_of):
        pass


def options_of(options):
    from pathlib import Path

    paths = ("output", "folder", "tls_cert", "archive_ca")
    return ListenConfig(**{k: Path(v) if k in paths else v for k, v in options.items()})


@pytest.fixture
def workspace_of(tmp_path, monkeypatch):
    from cxrtool.core.workspace import Workspace

    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path / "cxr")


def test_the_command_says_what_is_missing(workspace_of):
    done = call("listen", "-w", workspace_of.folder)
    assert done.exit_code == 2
    assert "name where results go" in done.stderr
