"""A server of one file that can be cut, altered or gone, as servers are."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Served:
    """What the server sends, and what it was asked."""

    content: bytes
    version: str = '"one"'
    cut_after: int | None = None
    """Bytes after which the connection ends."""
    status: int | None = None
    ranges: bool = True
    """Whether it can send a part."""
    asked: list[str | None] = field(default_factory=list)
    """The Range of each request."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, served, *given):
        self.served = served
        super().__init__(*given)

    def do_GET(self):
        served, asked = self.served, self.headers.get("Range")
        served.asked.append(asked)
        if served.status:
            self.send_error(served.status)
            return
        start = 0
        same = self.headers.get("If-Range") in (None, served.version)
        if asked and served.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        rest = served.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", served.version)
        self.end_headers()
        self.wfile.write(rest[: served.cut_after])

    def log_message(self, *given):
        pass


@contextmanager
def serving(content):
    """A server of these bytes on this machine."""
    served = Served(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served))
    served.url = f"http://127.0.0.1:{server.server_port}/net.pt"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
