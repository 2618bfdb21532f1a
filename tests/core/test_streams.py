"""stdout and stderr without a reader: the work is done all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from cxrtool.cli import app as cli
from cxrtool.core import streams as streams
def work(**_):
    for _ in range(3):
        print("x" * 70_000)
        print("y" * 70_000, file=sys.stderr, flush=True)
    sys.stdout.flush()
    kept = open({path!r}, "w")
    print("one more")
    kept.write(f"{{kept.fileno()}} {{streams.is_read(sys.stdout)}}")
    sys.exit({code})
cli.app = work
cli.main()
"""


def run(folder, redirect, code=0):
    """The exit code of a command under a redirection of the shell, and what it kept."""
    file = folder / "kept"
    program = PROGRAM.format(path=str(file), code=code)
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'"$0" -c "$1" {redirect}; exit ${{PIPESTATUS[0]}}',
            sys.executable,
            program,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return done, file.read_text().split() if file.is_file() else None


@pytest.mark.parametrize(
    "redirect", [">&-", "2>&-", ">&- 2>&- <&-", "| head -c 1", "2>&1 | head -c 1"]
)
def test_what_nobody_reads_ends_no_work_and_goes_into_no_file(tmp_path, redirect):
    for code in (0, 3):
        done, kept = run(tmp_path, redirect, code)
        assert done.returncode == code
        assert kept is not None
        assert int(kept[0]) > 2  # no file of ours has the number of a stream
        assert kept[1] == str("|" not in redirect)
        assert "Traceback" not in done.stderr
        assert "Error" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_results_that_find_no_room_are_an_error_and_a_log_that_finds_none_is_not(tmp_path):
    assert run(tmp_path, "2>/dev/full")[0].returncode == 0
    done, _ = run(tmp_path, ">/dev/full")
    assert done.returncode == 1
