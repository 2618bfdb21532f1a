"""A real archive for the tests: Debian's Orthanc, on free ports of this machine."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAM = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
PLUGIN = next(
    (
        path
        for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
        for path in sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
    ),
    None,
)
AE = "ORTHANC"
PATIENCE = 60
"""Seconds for its start, on a busy machine."""


def why_no_orthanc():
    """Why the tests that use it are skipped; empty where it is there."""
    if PROGRAM is None:
        return "Orthanc is not installed: apt-get install orthanc"
    return "" if PLUGIN else "Orthanc is without DICOMweb: apt-get install orthanc-dicomweb"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Orthanc:
    """An Orthanc, and what tests ask it."""

    folder: Path
    settings: dict = field(default_factory=dict)
    """Besides those that it needs."""
    http_port: int = field(default_factory=free_port)
    dicom_port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self):
        """The address of its DICOMweb services."""
        return f"{self.url}/dicom-web"

    @property
    def node(self):
        """As --to takes it for C-STORE."""
        return f"{AE}@127.0.0.1:{self.dicom_port}"

    def start(self):
        """Start it, or start it again with what it holds; returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "tests",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": AE,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "SynchronousCMove": True,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self.settings,
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings))
        log = (self.folder / "log.txt").open("ab")
        with log:
            self.process = subprocess.Popen(
                [PROGRAM, str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                self.ask("/system")
                with socket.create_connection(("127.0.0.1", self.dicom_port), 1):
                    return self
            assert self.process.poll() is None, (self.folder / "log.txt").read_text()
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.05)

    def stop(self):
        """Stop it; what it holds stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def ask(self, path, data=None, method=None):
        """What its own interface answers, as bytes; `data` is posted."""
        request = urllib.request.Request(self.url + path, data, method=method)
        for user, password in self.settings.get("RegisteredUsers", {}).items():
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def instances(self):
        """The main DICOM tags of all instances, with those of their study and series."""
        found = json.loads(self.ask("/instances"))
        return [
            json.loads(self.ask(f"/instances/{one}/tags?simplify&ignore-length=PixelData"))
            for one in found
        ]

    def count_by_study(self):
        """How many instances each study has, by StudyInstanceUID."""
        found = {}
        for one in json.loads(self.ask("/studies?expand")):
            numbers = json.loads(self.ask(f"/studies/{one['ID']}/statistics"))
            found[one["MainDicomTags"]["StudyInstanceUID"]] = int(numbers["CountInstances"])
        return found

    def fetch(self, sop_instance_uid):
        """The file of an instance."""
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": str(sop_instance_uid)}}
        (found,) = json.loads(self.ask("/tools/find", json.dumps(query).encode()))
        return self.ask(f"/instances/{found}/file")

    def store(self, *contents):
        """Put files in, as bytes."""
        for content in contents:
            self.ask("/instances", content)

    def clear(self):
        """Remove all that it holds."""
        for one in json.loads(self.ask("/patients")):
            with contextlib.suppress(urllib.error.HTTPError):
                self.ask(f"/patients/{one}", method="DELETE")


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory):
    """One for all tests; a test takes `orthanc`, which is empty."""
    if why_no_orthanc():
        pytest.skip(why_no_orthanc())
    made = Orthanc(tmp_path_factory.mktemp("orthanc"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def orthanc(running_orthanc):
    """An empty Orthanc that runs; a test that stops or fills one makes its own."""
    running_orthanc.clear()
    return running_orthanc
