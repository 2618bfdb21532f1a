"""`cxrtool` as a process of its own that has imported everything before it is asked for.

Two thirds of what a tiny training takes is the import of torch and fastai. A server imports them
once, and each command is a fork of it with the caller's own streams, folder and environment.
"""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

CALLER = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as to:
    to.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(to, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    to.sendall(asked)
    sys.exit(int(to.recv(16) or b"70"))
"""


@contextmanager
def warm_commands(script: Path) -> Iterator[None]:
    """Make `script` a `cxrtool` that starts at once; it ends with the exit status of its fork."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has about 100 characters
        address = f"{folder}/socket"
        server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
        with server:
            try:
                assert server.stdout.readline() == b"ready\n"
                script.write_text(CALLER.format(python=sys.executable, address=address))
                script.chmod(0o755)
                yield
            finally:
                server.terminate()


def _run(command: Callable[[], None]) -> NoReturn:
    """End as the interpreter does, but for the taking down of all that was imported: a second."""
    status = 0
    try:
        command()
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

    from cxrtool import cli
    from cxrtool.workflows import compare, evaluate, export, predict, train  # noqa: F401

    gc.freeze()  # else each fork copies the memory that its collector marks
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(address)
        place.listen()
        print("ready", flush=True)
        while True:
            caller, _ = place.accept()
            with caller:
                head, streams, _, _ = socket.recv_fds(caller, 8, 3)
                with caller.makefile("rb") as told:
                    words, folder, environment = json.loads(told.read(int.from_bytes(head, "big")))
                child = os.fork()
                if child == 0:
                    place.close()
                    caller.close()
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                        os.close(stream)
                    # What they are, pipe or file, is asked when they are opened. The files stay
                    # open when the program puts other streams in their place.
                    sys.stdin, sys.stdout, sys.stderr = (
                        open(number, mode, closefd=False)  # noqa: SIM115
                        for number, mode in enumerate(("r", "w", "w"))
                    )
                    os.chdir(folder)
                    os.environ.clear()
                    os.environ.update(environment)
                    sys.argv = ["cxrtool", *words]
                    _run(cli.main)
                for stream in streams:
                    os.close(stream)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                caller.sendall(str(status).encode())


if __name__ == "__main__":
    serve(sys.argv[1])
