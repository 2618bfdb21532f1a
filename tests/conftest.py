"""What the tests share: drawn data, and one training per session."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# Help must read the same wherever the tests run; Typer looks at these when it is imported.
os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
os.environ["TERMINAL_WIDTH"] = "80"
os.environ["COLUMNS"] = "80"
for name in ("CXRTOOL_WORKSPACE", "CXRTOOL_DATA", "CXRTOOL_TOKEN", "FORCE_COLOR", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)
# Tests import these libraries by themselves too, and then their telemetry has to be off as well.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.modules.setdefault("openvino_telemetry", None)
# A process a core under xdist: threads of several torches on one core wait for each other. And as
# many threads in each training of a test, however busy the machine is.
cores = "1" if "PYTEST_XDIST_WORKER" in os.environ else str(os.cpu_count() or 1)
os.environ.setdefault("OMP_NUM_THREADS", cores)

# Hundreds of tests write weights and wait for the disk: not so in memory, where there is room.
memory = Path("/dev/shm")
if "TMPDIR" not in os.environ and memory.is_dir() and shutil.disk_usage(memory).free > 6 * 2**30:
    os.environ["TMPDIR"], tempfile.tempdir = str(memory), None

# A shell that starts the tests in the background has Ctrl-C ignored, which whoever they start would
# inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from cxrtool.core.config import ExportConfig, PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.console import Reporter
from cxrtool.core.origin import published_origin
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.sources.chexpert import LABELS_BY
from tests.support.copies import copy_folder
from tests.support.orthanc import orthanc, running_orthanc  # noqa: F401 - fixtures of all tests
from tests.support.warm import warm_commands

TINY = TrainConfig(
    arch="resnet18",
    weights="none",
    epochs=2,
    image_size=32,
    batch_size=16,
    workers=0,
    precision="fp32",
    device="cpu",
)
"""The smallest training that is still the real one."""


class Listening(Reporter):
    """A reporter that keeps the warnings."""

    def __init__(self):
        super().__init__(quiet=True, progress=False)
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


class Hearing(Listening):
    """Keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@dataclass(frozen=True)
class Trained:
    """A workspace with data, a split and a finished run."""

    workspace: Workspace
    data: Path
    run: str


def call_chexperts(workspace):
    """Rewrite data.json as if the tables were CheXpert's own, which no test can have."""
    info = json.loads(workspace.data_info.read_text())
    info["origin"] = published_origin("chexpert", ("train", "valid")).as_json()
    info["labels_by"] = LABELS_BY
    workspace.data_info.write_text(json.dumps(info))


@pytest.fixture(scope="session", autouse=True)
def few_patients_suffice():
    """Thresholds are chosen among the handful of patients that drawn data have in valid.

    Tests of the rule itself put its number back.
    """
    from cxrtool.evaluation import operating_points as points

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "LEAST_PATIENTS", 1)
        yield


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A drawn data set in CheXpert's layout."""
    from cxrtool.data.phantoms import draw_dataset

    return draw_dataset(tmp_path_factory.mktemp("drawn"), patients=60, seed=7, valid_patients=6)


@pytest.fixture(scope="session")
def prepared_once(drawn, tmp_path_factory):
    """A workspace after prepare and split; tests that write take `prepared` instead."""
    from cxrtool.workflows.prepare import prepare_manifest
    from cxrtool.workflows.split import split_manifest

    workspace = Workspace(tmp_path_factory.mktemp("prepared") / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, workers=0, cache_size=32), workspace)
    split_manifest(SplitConfig(sizes="60,20,20"), workspace, seed=42)
    return workspace


@pytest.fixture
def prepared(prepared_once, tmp_path):
    """A workspace of the test's own, after prepare and split."""
    copy_folder(prepared_once.folder, tmp_path / "cxr")
    return Workspace(tmp_path / "cxr")


@pytest.fixture(scope="session")
def trained_once(prepared_once, drawn, tmp_path_factory):
    """A workspace with a finished run `tiny`; tests that write take `trained` instead."""
    folder = tmp_path_factory.mktemp("trained") / "cxr"
    with finished_run(prepared_once, drawn, folder) as trained:
        yield trained


@contextmanager
def finished_run(prepared_once, drawn, folder):
    """Train `tiny` in a copy of a workspace, in which nobody may write."""
    from cxrtool.workflows.train import train_model

    workspace = Workspace(copy_folder(prepared_once.folder, folder))
    train_model(replace(TINY, name="tiny", keep_checkpoint=True), workspace, seed=42)
    before = _contents(folder)
    yield Trained(workspace, drawn.folder, "tiny")
    # Otherwise what another test finds would hang on which came first.
    assert _contents(folder) == before, "a test wrote in the workspace that all tests share"


def _contents(workspace: Path) -> dict[str, int]:
    """The files with their times, but for the graphs that prediction keeps beside a run."""
    return {
        str(file.relative_to(workspace)): file.stat().st_mtime_ns
        for file in sorted(workspace.rglob("*"))
        if file.is_file() and "graphs" not in file.parts and file.suffix != ".lock"
    }


@pytest.fixture
def trained(trained_once, tmp_path):
    """A workspace of the test's own, with a finished run `tiny`."""
    weights = RunFolder(trained_once.workspace.runs / trained_once.run).weights
    before = weights.stat().st_mtime_ns
    folder = copy_folder(trained_once.workspace.folder, tmp_path / "cxr")
    yield Trained(Workspace(folder), trained_once.data, trained_once.run)
    assert weights.stat().st_mtime_ns == before, "a test wrote into weights that all tests share"


@pytest.fixture
def quick_training(monkeypatch):
    """Networks are small ones and curves are not drawn: a training takes a tenth of its time."""
    from tests.support.blank_curves import draw_blank
    from tests.support.smaller import get_smallest

    monkeypatch.setattr("torchvision.models.get_model", get_smallest)
    monkeypatch.setattr("cxrtool.training.recorder.draw_curves", draw_blank)


@pytest.fixture(scope="session")
def exported(trained_once, tmp_path_factory):
    """The result of an export of the tiny run."""
    from cxrtool.workflows.export import export_run

    output = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    return export_run(ExportConfig(output=output), trained_once.workspace)


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """A `cxrtool` in a folder of its own, which starts at once; see warm.py."""
    script = tmp_path_factory.mktemp("bin") / "cxrtool"
    with warm_commands(script):
        yield script


def pytest_collection_modifyitems(items):
    """The training that takes longest begins first, so that no process waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_pointing.py")
