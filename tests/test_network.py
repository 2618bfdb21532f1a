"""Nothing is asked of the network: the system's own calls are counted, of every process at work.

A patched resolver would not see what a library's program in another language asks.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAIN = """
import os, re, signal, socket, subprocess, sys
from contextlib import suppress
from dataclasses import replace
from functools import partial

def say(words):
    with socket.socket(socket.AF_UNIX) as marker, suppress(OSError):
        marker.connect(chr(0) + "now-" + words[0])

def run(*words):
    say(words)
    sys.argv = ["cxrtool", *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, words

import torchvision.models

from cxrtool.cli import app as cli
from cxrtool.workflows import demo
from tests.support.smaller import get_smaller

# Their size is no matter. The trial of the search, in a process of its own, has a whole one.
torchvision.models.get_model = get_smaller
demo.EvaluateConfig = partial(demo.EvaluateConfig, bootstrap=100)
demo.NETWORK = replace(demo.NETWORK, arch="resnet34", epochs=1, image_size=32, limit=40)
run("demo", "--patients", "40")
small = "--weights none --epochs 1 --image-size 32 --limit 30".split()
small += "--batch-size 15 --workers 0 --device cpu".split()
place = ["-w", "cxr-demo"]
one = ["--arch", "resnet34", *small, *place, "--name", "one", "--keep-checkpoint"]
run("train", *one, "--wandb", "offline")
run("train", *place, "--resume", "one", "--epochs", "2", "--wandb", "offline")
run("tune", "--arch", "resnet18", *small, *place, "--trials", "1", "--name", "search")
run("evaluate", "demo", *place, "--split", "valid", "--bootstrap", "0", "--no-report")
image = "cxr-demo/data/CheXpert-v1.0-small/valid"
run("predict", image, *place, "--run", "one", "--engine", "openvino", "--output", "table.csv")
run("export", "one", *place, "--output", "one.onnx")  # and ONNX Runtime
say(["gui"])
command = [sys.executable, "-m", "cxrtool", "gui", *place, "--port", "0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
    while "http" not in page.stdout.readline():
        assert page.poll() is None
    page.send_signal(signal.SIGINT)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_command_asks_anything_of_the_network(tmp_path):
    trace = tmp_path / "trace.txt"
    strace = ["strace", "-f", "-qq", "-s", "64", "--seccomp-bpf", "-o", str(trace)]
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    home = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    home["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*strace, "-e", calls, sys.executable, "-c", CHAIN],
        cwd=tmp_path,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this machine lets nobody trace processes")
    assert done.returncode == 0, done.stderr[-3000:]
    now, commands, asked = "", [], []
    for line in _whole_lines(trace.read_text(errors="replace").splitlines()):
        marked = re.search(r'sun_path=@"now-(\w+)"', line)
        if marked:
            now = marked[1]
            commands.append(now)
        elif now and _asks(line):  # the interpreter's start asks nscd who the user is
            asked.append(f"{now}: {line}")
    assert set(commands) == {"demo", "train", "tune", "evaluate", "predict", "export", "gui"}
    assert asked == []
    assert len(list((tmp_path / "cxr-demo" / "wandb").glob("offline-run-*"))) == 2
    left = {path.name for path in (tmp_path / "cxr-demo" / "wandb").rglob("*")}
    assert "requirements.txt" not in left


def _whole_lines(lines: list[str]) -> list[str]:
    """strace's lines, each call's in one: its result comes later where other processes cut in."""
    whole, begun = [], {}
    for line in lines:
        process = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line.removesuffix("<unfinished ...>")
        elif " resumed>" in line:
            whole.append(begun.pop(process, f"{process} ") + line.partition(" resumed>")[2])
        else:
            whole.append(line)
    return [*whole, *begun.values()]


def _asks(call: str) -> bool:
    """Whether a call goes to another machine, or asks this one's resolver for an address."""
    if "AF_INET" in call:
        resolver = re.search(r"port=htons\((53|853|5353|5355)\)", call) is not None
        here = re.search(r'inet_addr\("127\.|"::1"|"::ffff:127\.|"0\.0\.0\.0"', call) is not None
        return resolver or not here
    # Where nobody serves there, nobody was asked: who the user is, in most cases. For a host's
    # address the resolver is asked next, and that is counted.
    served = "ENOENT" not in call
    return "AF_UNIX" in call and served and bool(re.search(r"/(nscd|systemd/resolve)/", call))


V4 = 'connect(6, {sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("%s")})'


def test_a_call_that_others_cut_into_is_looked_at_with_its_result():
    lines = [
        '7 connect(6, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110 <unfinished ...>',
        f"8 {V4 % (53, '10.0.0.1')} <unfinished ...>",
        "7 <... connect resumed>) = -1 ENOENT (No such file or directory)",
    ]
    nobody, asked = _whole_lines(lines)
    assert nobody.endswith("110 ) = -1 ENOENT (No such file or directory)")
    assert not _asks(nobody)
    assert _asks(asked)


@pytest.mark.parametrize(
    ("call", "asks"),
    [
        (V4 % (53, "10.0.0.1"), 1),
        (
            'connect(6, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")})',
            1,
        ),
        (V4 % (80, "127.0.0.1"), 0),
        (
            'connect(6, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT',
            0,
        ),
        ('connect(6, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)})', 1),
        ('connect(6, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110)', 1),
        ('connect(6, {sa_family=AF_UNIX, sun_path="/tmp/wandb-1/socket"}, 110)', 0),
    ],
)
def test_what_counts_as_asking(call, asks):
    assert _asks(call) == bool(asks)
