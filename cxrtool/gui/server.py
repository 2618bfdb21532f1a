"""Serving an application until Ctrl-C, at an address that is had before anything is loaded."""

import errno
import logging
import socket
from pathlib import Path

import uvicorn

from cxrtool.core.errors import DataError, UsageError
from cxrtool.core.signals import stop_requests
from cxrtool.gui.gate import WILD, Gate
from cxrtool.images.apart import APART

GRACE = 2
"""Seconds that an answer has to end in, once the server was asked to stop."""


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address; nobody can connect before `listen`.

    Raises:
        DataError: another program is there, or the system does not allow it.
        UsageError: it is no address of this machine.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, number)
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror or error}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _unbound(error, host, port) from None
    return made


def _unbound(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return DataError(
            f"port {port} is in use, perhaps by another `cxrtool gui`: stop that, or pass --port "
            f"{port + 1 if port < 65535 else 0} (--port 0: any that is free)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"--host {host} is not an address of this machine")
    if error.errno == errno.EACCES:
        return DataError(f"you have no permission to use port {port}: pass --port 7860")
    return DataError(f"{host}, port {port}: {error.strerror}")


def url_of(made: socket.socket, host: str, *, secure: bool = False) -> str:
    """The address that a browser on this machine opens."""
    name = "127.0.0.1" if host in WILD else f"[{host}]" if ":" in host else host
    return f"http{'s' * secure}://{name}:{made.getsockname()[1]}/"


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: who is cut off now is no fault, of which uvicorn would show a traceback."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        APART.stop()  # an image that takes long holds nobody up
        await super().shutdown(sockets)


def listen(made: socket.socket, host: str, port: int) -> None:
    """Let browsers connect: they are answered as soon as the page is served.

    Raises:
        DataError: another program was faster in taking the port.
    """
    try:
        made.listen(128)
    except OSError as error:
        raise _unbound(error, host, port) from None


def serve(
    gate: Gate, made: socket.socket, certificate: Path | None = None, key: Path | None = None
) -> None:
    """Serve until Ctrl-C or SIGTERM; then answers under way have two seconds."""
    config = uvicorn.Config(
        gate,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    # uvicorn ends at a signal, and then sends it again: nobody would be left to clean up.
    with stop_requests():
        try:
            _Server(config).run(sockets=[made])
        finally:
            APART.stop()
