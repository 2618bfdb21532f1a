"""`cxrtool` as a process of its own that has imported everything before it is asked for.

Two thirds of what a tiny training takes is the import of torch and fastai. A server imports them
once, and each command is a fork of it with the caller's own streams, folder and environment. It
gets the signals that its caller gets, and is killed when its caller is, as its caller when it is. A
Python file as the first word is run in place of the command line.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

CALLER = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as to:
    to.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(to, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    to.sendall(asked)
    work = int(to.recv(16, socket.MSG_WAITALL) or sys.exit("the server is gone"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(work, number))
    status = int(to.recv(16) or b"70")
    if status == -signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(status)
"""


@contextmanager
def warm_commands(script: Path) -> Iterator[None]:
    """Make `script` a `cxrtool` that starts at once; it ends with the exit status of its fork."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has about 100 characters
        address = f"{folder}/socket"
        words = [sys.executable, "-m", "tests.support.warm", address]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        with server:
            try:
                assert server.stdout.readline() == b"ready\n"
                script.write_text(CALLER.format(python=sys.executable, address=address))
                script.chmod(0o755)
                yield
            finally:
                server.terminate()


def _run(words: list[str]) -> NoReturn:
    """End as the interpreter does, but for the taking down of all that was imported: a second."""
    from cxrtool.cli import app as cli

    status = 0
    try:
        if words and words[0].endswith(".py"):
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
        else:
            sys.argv = ["cxrtool", *words]
            cli.main()
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve(address: str) -> None:
    """Answer one caller after the other."""
    import matplotlib.pyplot  # noqa: F401

    from cxrtool import cli  # noqa: F401
    from cxrtool.workflows import compare, evaluate, export, gui, predict, train, tune  # noqa: F401

    gc.freeze()  # else each fork copies the memory that its collector marks
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(address)
        place.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, lambda *_: _bury())
        while True:
            caller, _ = place.accept()
            with caller:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    place.close()
                    _attend(caller)


def _bury() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(caller: socket.socket) -> NoReturn:
    """Do what a caller asks in a fork, and tell him how it ended."""
    head, streams, _, _ = socket.recv_fds(caller, 8, 3)
    with caller.makefile("rb") as told:
        words, folder, environment = json.loads(told.read(int.from_bytes(head, "big")))
    work = os.fork()
    if work == 0:
        caller.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # What they are, pipe or file, is asked when they are opened. The files stay open when the
        # program puts other streams in their place.
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False)  # noqa: SIM115
            for number, mode in enumerate(("r", "w", "w"))
        )
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None  # it is asked for anew, of this environment
        _run(words)
    for stream in streams:
        os.close(stream)
    caller.sendall(b"%16d" % work)
    while not (ended := os.waitpid(work, os.WNOHANG))[0]:
        if select.select([caller], [], [], 0.02)[0]:  # nothing comes from him but his end
            os.kill(work, signal.SIGKILL)
            ended = os.waitpid(work, 0)
            break
    with suppress(OSError):
        caller.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
