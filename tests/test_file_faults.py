import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_kill_or_a_full_disk_anywhere_costs_no_result(tmp_path):
    """Two operations of a command, with either fault; the script goes through all of them.

    Trainings that are killed have tests of their own.
    """
    names = ["draw", "prepare", "split", "predict", "tune"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.file_faults", "--most=2", *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    for name in names:
        assert f"{name}: operations" in done.stdout
