"""A module of ours as a process of its own, which is spoken to through its pipes."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


def start_module(
    module: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a module of this package, whichever copy of it runs here.

    Ctrl-C is the parent's alone. What the child says on stderr is dropped: it may quote a patient.

    Args:
        module: its name, as for `python -m`.
        environment: variables that it has besides this process's own.
    """
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
    )


def follow_the_parent() -> None:
    """Exit when the parent, who holds the other end of stdin, is gone, also amid work."""

    def follow() -> None:
        poll = select.poll()
        poll.register(0, 0)  # hang-ups are always reported
        poll.poll()
        os._exit(1)

    if hasattr(select, "poll"):
        threading.Thread(target=follow, daemon=True).start()
