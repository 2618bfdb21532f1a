"""A guard between browsers and Gradio: few paths, known hosts, no large bodies.

Gradio serves many routes that this page does not need: files by path, a proxy, direct calls of
functions. Only what the page needs passes.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from anyio import CancelScope, fail_after, move_on_after
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cxrtool.core.errors import DataError
from cxrtool.gui.site import HEADERS, MOST_FILES, File
from cxrtool.gui.uploads import Uploads

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
LISTEN = f"{API}/queue/data"
PASSED = frozenset(("/config", "/theme.css", f"{API}/info", LISTEN, f"{API}/startup-events"))
"""Paths of Gradio that pass, besides its scripts."""
SCRIPTS = "/assets/"
UPLOAD, PROGRESS, JOIN = f"{API}/upload", f"{API}/upload_progress", f"{API}/queue/join"
SEND_SECONDS = 120
"""Limit for sending a form, and for reading each part of an answer."""
MOST_JSON = 2**17
AROUND = 2**16
"""Bytes of a form besides its files: names, boundaries."""
JOINED = ("fn_index", "trigger_id", "session_hash", "event_data")
"""Values of a call that reach Gradio, besides its files."""
WILD = ("0.0.0.0", "::", "")


class _TooLargeError(Exception):
    pass


def host_name(header: str) -> str:
    """The name in a Host header, without its port: `localhost`, `127.0.0.1`, `::1`."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """The ASGI application that is served: the page's own files and, behind a check, Gradio."""

    def __init__(
        self,
        app: App,
        files: Mapping[str, File],
        uploads: Uploads,
        *,
        host: str,
        allowed: Collection[str] = (),
        most_bytes: int,
    ) -> None:
        """Guard an application.

        Args:
            app: Gradio's.
            files: the page's own, by path.
            uploads: where uploaded files are kept.
            host: the address served.
            allowed: further host names.
            most_bytes: largest total of the files of one request.
        """
        self.app, self.files, self.uploads = app, files, uploads
        self.names = {"localhost", "127.0.0.1", "::1", host.lower(), *map(host_name, allowed)}
        self.names -= set(WILD)
        self.wild = host in WILD
        self.most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send, scope["path"]))
        else:  # a WebSocket: the page has none
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        refused = self._refused(request)
        path, method = scope["path"], "GET" if scope["method"] == "HEAD" else scope["method"]
        if refused is not None:
            await refused(scope, receive, send)
        elif (method, path) == ("POST", UPLOAD):
            await (await self._keep(request))(scope, receive, send)
        elif (method, path) == ("POST", JOIN):
            await self._join(request, send)
        elif method != "GET":
            await _message(405, "the page has no such action")(scope, receive, send)
        elif path in self.files:
            file = self.files[path]
            await Response(file.content, media_type=file.kind)(scope, receive, send)
        elif path == PROGRESS:  # what is sent to the same machine is there at once
            done = Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")
            await done(scope, receive, send)
        elif path == LISTEN:
            await self._listen(request, send)
        elif path in PASSED or path.startswith(SCRIPTS):
            await self.app(_plain(scope), receive, send)
        else:
            await _message(404, "the page has no such address")(scope, receive, send)

    def _refused(self, request: Request) -> Response | None:
        """The answer to a request that does not come from this page, or is for another server.

        A site elsewhere can have its visitor's browser send requests to this machine. Its name in
        the Host header gives away one that has made its own name mean this address; the Origin
        header gives away one that has not.
        """
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._known(host_name(hosts[0]), request.scope.get("server")):
            asked = hosts[0][:100] if len(hosts) == 1 else "several names or none"
            return _message(
                403,
                f"this page is not served as {asked}: allow that name with --allow-host",
            )
        for origin in request.headers.getlist("origin"):
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or parts.netloc.lower() != hosts[0].lower():
                return _message(403, "a request from another site is not answered")
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method != "GET":
            return _message(403, "a request from another site is not answered")
        return None

    def _known(self, name: str, server: tuple[str, int | None] | None) -> bool:
        if name in self.names:
            return True
        if not self.wild or server is None:
            return False
        try:  # served at every address of the machine: the one that this connection came to
            return ipaddress.ip_address(name) == ipaddress.ip_address(server[0])
        except ValueError:
            return False

    async def _keep(self, request: Request) -> Response:
        """Keep uploaded files; the response is their paths, in Gradio's form.

        Gradio would name a file by its content: two people with one image would share it.
        """
        kept: list[str] = []
        try:
            await self._take_in(request, kept)
        except BaseException as error:
            for path in kept:  # nobody was told of them
                self.uploads.drop(path)
            refused = self._why_not_kept(error)
            if refused is None:
                raise
            return refused
        return JSONResponse(kept) if kept else _message(400, "no file was sent")

    async def _take_in(self, request: Request, kept: list[str]) -> None:
        """Read a form, and add the paths of its files to `kept`."""
        most = self.most_bytes + AROUND
        said = request.headers.get("content-length", "")
        limited = Request(request.scope, _limited(request, most))
        # Counted before a byte is read: what is being sent is on the disk, too.
        with (
            self.uploads.room(min(int(said), most) if said.isdecimal() else most),
            fail_after(SEND_SECONDS),
        ):
            async with limited.form(max_files=MOST_FILES, max_fields=0) as form:
                sent = [one for one in form.getlist("files") if isinstance(one, UploadFile)]
                if sum(one.size or 0 for one in sent) > self.most_bytes:
                    raise _TooLargeError
                for one in sent:
                    kept.append(await run_sync(self.uploads.add, one.filename or "", one.file))

    def _why_not_kept(self, error: BaseException) -> Response | None:
        """The response to an upload that is not kept; None for a bug."""
        if isinstance(error, _TooLargeError):
            mib = self.most_bytes / 2**20
            return _message(
                413,
                f"more than {mib:,.0f} MiB at once: drop fewer, or start with a larger --max-mb",
            )
        if isinstance(error, DataError):
            return _message(503, str(error))
        if isinstance(error, TimeoutError):  # before OSError, of which it is one
            return _message(
                408, f"the upload was not complete after {SEND_SECONDS} s: drop fewer at once"
            )
        if isinstance(error, OSError):
            return _message(
                503, f"the files cannot be stored ({error.strerror or error}): try again later"
            )
        if isinstance(error, (ClientDisconnect, HTTPException, MultiPartException)):
            return _message(
                400, f"this is not a form with 1 to {MOST_FILES} files, or it is incomplete"
            )
        return None

    async def _listen(self, request: Request, send: Send) -> None:
        """Send a session's answers, and stop if nobody reads them: they would be kept."""
        with CancelScope() as answers:

            async def sending(message: Message) -> None:
                with move_on_after(SEND_SECONDS):
                    await send(message)
                    return
                answers.cancel()
                await checkpoint()

            with self.uploads.listening(request.query_params.get("session_hash", "")):
                await self.app(_plain(request.scope), request.receive, sending)

    async def _join(self, request: Request, send: Send) -> None:
        """Pass a call to Gradio, rewritten to name only files that wait here.

        Gradio reads the files that a call names from the disk or the network.
        """
        scope = request.scope
        try:
            limited = Request(scope, _limited(request, MOST_JSON))
            body = _call(json.loads(await limited.body()), self.uploads)
        except _TooLargeError:
            await _message(413, "this call is too long")(scope, request.receive, send)
            return
        except (ClientDisconnect, LookupError, RecursionError, TypeError, ValueError):
            await _message(400, "this call names no file that was sent")(
                scope, request.receive, send
            )
            return
        content = json.dumps(body).encode()
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in (b"content-length", b"transfer-encoding", b"content-type")
        ]
        headers += [
            (b"content-length", str(len(content)).encode()),
            (b"content-type", b"application/json"),
        ]

        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                return await request.receive()
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        await self.app(_plain({**scope, "headers": headers}), receive, send)


def _call(values: Any, uploads: Uploads) -> dict[str, Any]:
    """Rewrite a call for Gradio.

    Raises:
        LookupError, TypeError, ValueError: it is not a call of this page.
    """
    if not isinstance(values, dict):
        raise TypeError("call")
    call = {name: values[name] for name in JOINED if name in values}
    data = values.get("data")
    if not isinstance(data, list) or len(data) > 1:
        raise ValueError("data")
    if not isinstance(call.get("session_hash"), str) or not isinstance(call.get("fn_index"), int):
        raise ValueError("session")
    files = data[0] if data and data[0] is not None else []
    for file in files:
        if not isinstance(file["path"], str) or file["path"] not in uploads:
            raise ValueError("file")
    uploads.ask([file["path"] for file in files], call["session_hash"])
    named = [{"path": file["path"], "meta": {"_type": "gradio.FileData"}} for file in files]
    return {**call, "event_data": None, "data": [named] if data else []}


def _plain(scope: Scope) -> Scope:
    """A request without a proxy's headers, which Gradio would trust."""
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if not name.startswith(b"x-forwarded") and name != b"forwarded"
    ]
    return {**scope, "headers": headers}


def _limited(request: Request, most: int) -> Receive:
    """A body that raises `_TooLargeError` beyond `most` bytes."""
    said = request.headers.get("content-length", "0")
    left = most

    async def receive() -> Message:
        nonlocal left
        if not said.isdecimal() or int(said) > most:
            raise _TooLargeError
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _TooLargeError
        return message

    return receive


def _message(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")


def _with_headers(send: Send, path: str) -> Send:
    """Add the headers of every response."""
    kept = {"cache-control": "no-cache" if path.startswith(SCRIPTS) else "no-store"}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            named = {**HEADERS, **kept}
            before = [
                (name, value)
                for name, value in message.get("headers", [])
                if not (low := name.decode("latin-1").lower()).startswith("access-control-")
                and low not in named
            ]
            own = [(name.encode(), value.encode()) for name, value in named.items()]
            message = {**message, "headers": before + own}
        await send(message)

    return sending
