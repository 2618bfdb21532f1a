"""Two pages on this machine for whoever watches a listener: `/health` and `/metrics`."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cxrtool.core.errors import DataError

LOOPBACK = "127.0.0.1"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
Health = dict[str, Any]
"""`ok`, `why` it is not, and figures."""


@contextmanager
def monitor(port: int, health: Callable[[], Health], metrics: Callable[[], str]) -> Iterator[int]:
    """Serve both pages while the block runs; the port, which is any free one for 0.

    Args:
        port: on loopback.
        health: what `/health` shows as JSON, with status 503 unless it is `ok`.
        metrics: what `/metrics` shows, in Prometheus' text format.

    Raises:
        DataError: the port is in use.
    """

    class Pages(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Answer one request."""
            if self.path == "/health":
                found = health()
                status, text = 200 if found["ok"] else 503, json.dumps(found, indent=1)
                self._answer(status, "application/json", text)
            elif self.path == "/metrics":
                self._answer(200, METRICS, metrics())
            else:
                self._answer(404, "text/plain", "there are /health and /metrics")

        def _answer(self, status: int, kind: str, text: str) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: who watches would fill the log."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Pages)
    except OSError as error:
        raise DataError(
            f"--monitor-port {port}: {error.strerror}; --monitor-port 0 takes any that is free"
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
