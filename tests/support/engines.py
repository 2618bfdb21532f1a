"""What the tests of the engines share."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from cxrtool.inference.engines.base import Compute
from cxrtool.inference.engines.choose import load_engine
from tests.conftest import Listening

GRAPHS = ("openvino", "onnxruntime")
ENGINES = ("torch", *GRAPHS)


def skip_without_extras():
    """Skip the module that calls this where the engines' packages are not installed."""
    for package in ("openvino", "onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            pytest.skip("the extras cpu and export are not installed", allow_module_level=True)


class Noting(Listening):
    """A reporter that keeps the notes too."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def load(kept_run, engine, precision="fp32", images=None, **options):
    compute = Compute(engine=engine, device="cpu", precision=precision, images=images)
    return load_engine(*kept_run, compute, **options)


def run_alone(code, home):
    """Run Python without any variable but a home of its own, which must stay empty."""
    home.mkdir()
    variables = {"HOME": str(home), "PATH": "", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.iterdir()) == []
    return done.stdout.split()


LOADED = (
    "import sys\n"
    "import numpy as np\n"
    "from pathlib import Path\n"
    "from cxrtool.inference.engines.base import Compute\n"
    "from cxrtool.inference.engines.choose import load_engine\n"
    "from cxrtool.core.run_cards import read_card\n"
    "from cxrtool.core.runs import RunFolder\n"
    "run = RunFolder(Path({path!r}))\n"
    "for engine in ('openvino', 'onnxruntime'):\n"
    "    loaded = load_engine(run, read_card(run), Compute(engine=engine))\n"
    "    loaded.submit(np.zeros((1, 32, 32), np.uint8))()\n"
    "print(sys.modules.get('openvino_telemetry'))\n"
    "print(*[name for name in ('torch', 'pandas', 'onnx') if name in sys.modules])\n"
)
