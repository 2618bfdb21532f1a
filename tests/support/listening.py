"""A listener in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENDS = 60
"""Seconds that an end may take on a busy machine."""


@dataclass(frozen=True)
class Listening:
    """A listener at work."""

    process: subprocess.Popen
    told: dict
    log: Path

    @property
    def port(self):
        return int(self.told["source"].rpartition(":")[2])

    def health(self):
        """What /health says, whatever the status."""
        try:
            with urllib.request.urlopen(self.told["monitor"] + "/health", timeout=ENDS) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def metrics(self):
        with urllib.request.urlopen(self.told["monitor"] + "/metrics", timeout=ENDS) as answer:
            return answer.read().decode()

    def stop(self):
        """Ask it to end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=ENDS)

    def kill(self):
        """End it as the system does when memory runs out, with all that it has started."""
        for child in children(self.process.pid):
            os.kill(child, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def children(pid):
    """The processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


@contextmanager
def listening(workspace, log, *options):
    """Listen with a workspace's last run, at a port that is free; ended with SIGTERM."""
    command = [
        *(sys.executable, "-m", "cxrtool", "listen", "-w", str(workspace.folder), "--json"),
        *("--port", "0", "--monitor-port", "0", "--spool-reserve-mb", "1"),
        *("--device", "cpu", *map(str, options)),
    ]
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        lines = []
        while (line := process.stdout.readline()) and line != "}\n":
            lines.append(line)
        assert line, log.read_text()
        yield Listening(process, json.loads("".join([*lines, line])), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=ENDS)
            finally:
                process.kill()
        process.stdout.close()
