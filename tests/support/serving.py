"""A page that a process of its own serves, and what a browser sends to it."""

import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
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
        return int(self.told["url"].rstrip("/").rpartition(":")[2])

    def request(self, method, path, body=None, headers=None):
        """Status and body of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def upload(self, *files):
        """Send (name, content) pairs; the status, and the paths that they have there."""
        body, kind = form(files)
        status, content = self.request("POST", "/gradio_api/upload", body, {"content-type": kind})
        return status, json.loads(content) if status == 200 else content.decode()

    def join(self, files, session):
        """Ask for answers; `files` as the page names them."""
        depends = json.loads(self.request("GET", "/config")[1])["dependencies"]
        first = next(one for one in depends if one["inputs"])
        call = {"data": [files], "fn_index": first["id"], "session_hash": session}
        body = json.dumps(call)
        return self.request("POST", "/gradio_api/queue/join", body, {"content-type": "x"})

    def look(self, *files):
        """The page's parts for files: what is delivered in the end."""
        status, paths = self.upload(*files)
        assert status == 200, paths
        session = secrets.token_hex(5)
        status, content = self.join([file_data(path) for path in paths], session)
        assert status == 200, content
        _, stream = self.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        events = [json.loads(line[6:]) for line in stream.decode().splitlines() if line]
        done = next(event for event in events if event["msg"] == "process_completed")
        assert done["success"], done
        return done["output"]["data"][1]

    def stop(self, number=signal.SIGINT):
        """Ask it to end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=ENDS)


def file_data(path, **more):
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def form(files):
    """A form as a browser sends it: the body and its content type."""
    edge = secrets.token_hex(8)
    parts = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'
        % (edge.encode(), name.replace('"', "%22").encode(), content)
        for name, content in files
    )
    return parts + b"--%s--\r\n" % edge.encode(), f"multipart/form-data; boundary={edge}"


class Parts(HTMLParser):
    """The elements of some HTML: tag, attributes and the text in and after it."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2].append(data)

    def all(self, tag, **wanted):
        """The attributes of the elements that have all those wanted."""
        return [
            attributes
            for name, attributes, _ in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    def text(self):
        return re.sub(r"\s+", " ", "".join("".join(data) for _, _, data in self.elements))


def probabilities(text):
    """The probabilities of the first answer in a delivery, by label."""
    rows = [row for row in Parts(text).all("tr") if "data-label" in row]
    return {row["data-label"]: float(row["data-probability"]) for row in rows}


@contextmanager
def serving(workspace, temporary, *options):
    """Serve a workspace's last run on a port that is free; ended with Ctrl-C."""
    temporary.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "cxrtool", "gui", "-w", str(workspace.folder), "--port", "0"),
        *("--json", "--engine", "torch", "--device", "cpu", "--precision", "fp32", *options),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "GRADIO_SHARE": "True"},
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
