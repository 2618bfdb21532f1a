"""A server that answers the page by a script: films, findings and faults as a test wants them."""

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from cxrtool.gui.gate import HEADERS
from cxrtool.gui.site import KINDS, page, static_file

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP4z8"
    "DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)
LABELS = ("Edema", "Enlarged Cardiomediastinum", "Fracture", "No Finding")


def card(name="first", **more):
    """A model as `GET /api/model` describes it."""
    return {
        "name": name,
        "fingerprint": "ab" * 32,
        "engine": "torch on cpu, fp32",
        "image_size": 320,
        "score": "mean AUROC on test 0.812 (0.794 to 0.829)",
        "brief": "densenet121 at 320 px, trained on 48,532 patients, torch on cpu, fp32",
        "rows": [["Network", "densenet121, 320 × 320 pixels"], ["Split", "by patient"]],
        "warnings": [],
        "banner": "",
        "maps": "",
        "operating_point": "youden",
        "labels": [
            {
                "label": label,
                "auroc": {"value": 0.8, "low": 0.78, "high": 0.82, "level": 0.95},
                "shown_auroc": f"0.8{index}1 (0.780 to 0.820)",
                "threshold": 0.5,
                "why_none": "",
            }
            for index, label in enumerate(LABELS)
        ],
        **more,
    }


def about(*cards, **more):
    """The answer of `GET /api/model`."""
    return {
        "version": "0.2.0",
        "limits": {"files": 5, "mb": 1},
        "root": False,
        "exports": {"pdf": True, "dicom": ""},
        "models": list(cards or [card()]),
        **more,
    }


def finding(label, probability, threshold=0.5, **more):
    over = threshold is not None and probability >= threshold
    words = ("no", "yes") if label == "No Finding" else ("negative", "positive")
    return {
        "label": label,
        "probability": probability,
        "threshold": threshold,
        "decision": "n/a" if threshold is None else words[over],
        "shown": f"{probability:.3f}",
        "shown_threshold": "" if threshold is None else f"{threshold:.3f}",
        "apart": label == "No Finding",
        "why_none": "too few positives" if threshold is None else "",
        **more,
    }


FINDINGS = (
    finding("Edema", 0.91),
    finding("Enlarged Cardiomediastinum", 0.62, 0.605),
    finding("Fracture", 0.25, None),
    finding("No Finding", 0.125),
)


def row(name, **more):
    found = more.get("findings", FINDINGS)
    count = sum(one["decision"] == "positive" for one in found)
    return {
        "index": 0,
        "name": name,
        "state": "scored",
        "warning": "",
        "error": "",
        "summary": f"{count} positive",
        "width": 40,
        "height": 50,
        "study": "",
        "contradictions": [],
        "findings": list(found),
        "why_none": [],
        "thumb": PIXEL,
        **more,
    }


def text_of(values):
    little = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()


def window(centre, width, function="LINEAR", name="WINDOW"):
    return {
        "kind": "window",
        "name": name,
        "centre": centre,
        "width": width,
        "function": function,
    }


def film(values, *presentations, **more):
    """Pixels as they are sent."""
    deep = values.dtype == np.uint16
    return {
        "index": 0,
        "width": values.shape[1],
        "height": values.shape[0],
        "bits": 16 if deep else 8,
        "pixels": text_of(values),
        "slope": 1.0,
        "intercept": 0.0,
        "white_is_zero": False,
        "presentations": list(presentations)
        or [window(2048 if deep else 128, 4096 if deep else 256)],
        "spacing": None,
        "sides": ["", ""],
        **more,
    }


def maps(*labels, **more):
    return {
        "index": 0,
        "method": "gradcam",
        "absent": "",
        "cells": {"first": 0.125, "step": 0.25, "rows": 4, "columns": 4},
        "layers": [{"label": label, "png": PIXEL, "most": 1.5} for label in labels],
        **more,
    }


@dataclass(frozen=True)
class Asked:
    """A request to predict or to make a document."""

    path: str
    files: tuple[str, ...]
    fields: dict[str, str]
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when its asker did not wait for the answer."""

    @property
    def name(self):
        return self.files[0]


class Desk:
    """What the server answers; a test changes `about` and `script`, and reads `asked`."""

    def __init__(self):
        self.about = about()
        self.script = plain
        self.asked = []
        self.at_once = self.most_at_once = 0
        self.held = threading.Event()
        """While it is not set, nothing is answered after the first event."""
        self.held.set()
        self.free = 0
        """So many of the first requests are answered even so."""
        self.nobody = threading.Condition()

    @contextmanager
    def counted(self, asked):
        with self.nobody:
            self.asked.append(asked)
            self.nobody.notify_all()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.nobody:
                self.at_once -= 1
                self.nobody.notify_all()

    def hear(self, number):
        """Wait until there were so many requests."""
        with self.nobody:
            assert self.nobody.wait_for(lambda: len(self.asked) >= number, timeout=60)

    def rest(self):
        """Answer whatever is held, and wait until nobody is being answered."""
        self.held.set()
        with self.nobody:
            assert self.nobody.wait_for(lambda: self.at_once == 0, timeout=60)

    @property
    def names(self):
        """The files of all requests so far, in their order."""
        return [one.name for one in self.asked]


GREYS = np.arange(2000, dtype=np.uint8).reshape(50, 40)


def plain(asked):
    """The script of images that nothing is the matter with."""
    return answers(asked, film(GREYS), row(asked.name), maps(*LABELS))


def answers(asked, film, row, maps):
    """The events of an answer, as far as they were asked for."""
    if asked.fields.get("film"):
        yield "film", film
    yield "row", row
    if asked.fields.get("maps"):
        yield "maps", maps
    yield "done", {}


class RefusedError(Exception):
    """Answered with a status and its reason."""

    def __init__(self, status, detail=""):
        super().__init__(detail)
        self.status, self.detail = status, detail


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ended = False
    """Whether the script ended as an answer should."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer(200, "text/html; charset=utf-8", page("first").encode())
        elif path.removeprefix("/static/") in KINDS:
            name = path.removeprefix("/static/")
            self.answer(200, KINDS[name], static_file(name))
        elif path == "/api/model":
            about = self.server.desk.about
            status = about if isinstance(about, int) else 200
            self.json(status, {"detail": ""} if status != 200 else about)
        else:
            self.json(200 if path == "/health" else 404, {})

    def do_POST(self):
        asked = self.read()
        desk = self.server.desk
        try:
            with desk.counted(asked):
                if self.path == "/api/predict":
                    self.stream(asked)
                else:
                    self.answer(200, "application/octet-stream", desk.script(asked))
            if self.ended:  # not before: the next is asked for as soon as this is read
                self.event("done", {})
        except RefusedError as refused:
            self.json(refused.status, {"detail": refused.detail})
        except (BrokenPipeError, ConnectionResetError):
            asked.gone.set()
            self.close_connection = True

    def stream(self, asked):
        desk = self.server.desk
        events = iter(desk.script(asked))
        first = next(events)
        self.head(200, "text/event-stream", {"connection": "close"})
        self.close_connection = True
        self.event("queued", {"images": [{"index": 0, "name": asked.name}], "ahead": 0})
        while not desk.held.wait(0.05) and asked not in desk.asked[: desk.free]:
            self.event("queued", {"images": [], "ahead": 1})  # notices who left
        for name, data in (first, *events):
            if name == "done":
                self.ended = True
                return
            self.event(name, data)

    def event(self, name, data):
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def read(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        head = f"content-type: {self.headers['content-type']}\n\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + content).get_payload()
        named = [(one.get_param("name", header="content-disposition"), one) for one in parts]
        return Asked(
            self.path,
            tuple(one.get_filename() for name, one in named if name == "files"),
            {name: one.get_payload().strip() for name, one in named if name != "files"},
        )

    def json(self, status, value):
        self.answer(status, "application/json", json.dumps(value).encode())

    def answer(self, status, kind, content):
        self.head(status, kind, {"content-length": str(len(content))})
        self.wfile.write(content)

    def head(self, status, kind, more):
        self.send_response(status)
        for name, value in {**HEADERS, "content-type": kind, **more}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def scripted():
    """Serve the page by a script; the address, and the desk behind it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.desk = Desk()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.desk
    finally:
        server.desk.held.set()
        server.shutdown()
        server.server_close()
