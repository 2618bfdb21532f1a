"""A page that a process of its own serves, and what a browser sends to it."""

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS = 120
"""Seconds that a start may take on a machine with other work."""
ENDS = 60
"""And an end: more than it waits for those who are connected, and less than for ever."""


@dataclass(frozen=True)
class Served:
    """A page that is served."""

    process: subprocess.Popen
    told: dict
    temporary: Path
    """Where the process has its temporary files."""

    @property
    def port(self):
        return int(self.told["url"].partition("?")[0].rstrip("/").rpartition(":")[2])

    def request(self, method, path, body=None, headers=None):
        """Status and body of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def send(self, *files, path="/api/predict", accept="application/json", **fields):
        """Send (name, content) pairs; status and body."""
        body, kind = form(files, fields)
        return self.request("POST", path, body, {"content-type": kind, "accept": accept})

    def predict(self, *files, **fields):
        """The answer to (name, content) pairs, read from JSON."""
        status, content = self.send(*files, **fields)
        assert status == 200, content
        return json.loads(content)

    def events(self, *files, **fields):
        """The events of the answer to (name, content) pairs: names, and what they hold."""
        status, content = self.send(*files, accept="text/event-stream", **fields)
        assert status == 200, content
        return events_of(content)

    def stop(self, number=signal.SIGINT):
        """Ask it to end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=ENDS)


def events_of(content):
    """Server-sent events: names, and what they hold."""
    events = []
    for block in content.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def probabilities(row):
    """The probabilities of a row, by label."""
    return {one["label"]: one["probability"] for one in row["findings"]}


def form(files, fields=()):
    """A form as a browser sends it: the body and its content type."""
    edge = secrets.token_hex(8)
    parts = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'
        % (edge.encode(), name.replace('"', "%22").encode(), content)
        for name, content in files
    )
    for name, value in dict(fields).items():
        parts += b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (
            edge.encode(),
            name.encode(),
            str(value).encode(),
        )
    return parts + b"--%s--\r\n" % edge.encode(), f"multipart/form-data; boundary={edge}"


@contextmanager
def serving(workspace, temporary, *options, program=(sys.executable, "-m", "cxrtool")):
    """Serve a workspace's last run on a port that is free; ended with Ctrl-C."""
    temporary.mkdir(exist_ok=True)
    command = [
        *(*program, "gui", "-w", str(workspace.folder), "--port", "0"),
        *("--json", "--engine", "torch", "--device", "cpu", "--precision", "fp32", *options),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        lines = []
        while (line := process.stdout.readline()) and line != "}\n":
            lines.append(line)
        if not line:
            raise AssertionError(process.communicate(timeout=STARTS)[1])
        yield Served(process, json.loads("".join([*lines, line])), temporary)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=ENDS)
            finally:
                process.kill()
        process.stdout.close()
        process.stderr.close()
