"""What stands between the network and the page: known hosts, no other sites, a token, small bodies.

A site elsewhere can have its visitor's browser send requests to this machine. Its name in the Host
header gives away one that has made its own name mean this address (DNS rebinding); the Origin
header gives away one that has not. Starlette's own TrustedHostMiddleware knows neither the address
that a connection came to nor the Origin.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyio import CancelScope, move_on_after
from anyio.lowlevel import checkpoint
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

AROUND = 2**16
"""Bytes of a form besides its images: names, boundaries."""
SEND_SECONDS = 120
"""So long one part of an answer may wait for its reader."""
COOKIE = "cxrtool_token"
OPEN = ("/health",)
"""Paths that need no token: what a supervisor asks."""
WILD = ("0.0.0.0", "::", "")
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy: a browser asks nobody but this server for anything."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class TooLargeError(Exception):
    """A body beyond the limit."""


def host_name(header: str) -> str:
    """The name in a Host header, without its port: `localhost`, `127.0.0.1`, `::1`."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def problem(status: int, text: str) -> Response:
    """An answer that says what is wrong."""
    return JSONResponse({"detail": text}, status)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The ASGI application that is served: an application behind its checks."""

    app: App
    host: str
    """The address served."""
    allowed: Collection[str] = ()
    """Further host names."""
    token: str = ""
    """What a request has to show; empty: nothing."""
    most_bytes: int
    """Of the images of one request."""
    count: Callable[[int], None] = lambda status: None
    """Told the status of every answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # a WebSocket: the page has none
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refused = (
            self._foreign(headers, scope)
            or self._without_token(headers, scope)
            or self._too_large(headers)
        )
        with CancelScope() as answer:
            # Who does not read an answer would have it kept.
            sending = _within(_with_headers(send, self.count), answer)
            if refused is not None:
                await refused(scope, receive, sending)
            else:
                await self.app(_plain(scope), _limited(receive, self.most_bytes + AROUND), sending)

    def _foreign(self, headers: Headers, scope: Scope) -> Response | None:
        """The answer to a request that is not from this page, or is for another server."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._known(host_name(hosts[0]), scope.get("server")):
            asked = hosts[0][:100] if len(hosts) == 1 else "several names or none"
            return problem(
                403, f"this page is not served as {asked}: allow that name with --allow-host"
            )
        for origin in headers.getlist("origin"):
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or parts.netloc.lower() != hosts[0].lower():
                return problem(403, "a request from another site is not answered")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return problem(403, "a request from another site is not answered")
        return None

    def _known(self, name: str, server: tuple[str, int | None] | None) -> bool:
        own = {"localhost", "127.0.0.1", "::1", self.host.lower(), *map(host_name, self.allowed)}
        if name in own - set(WILD):
            return True
        if self.host not in WILD or server is None:
            return False
        try:  # served at every address of the machine: the one that this connection came to
            return ipaddress.ip_address(name) == ipaddress.ip_address(server[0])
        except ValueError:
            return False

    def _without_token(self, headers: Headers, scope: Scope) -> Response | None:
        """The answer to a request that does not show the token, or brings it in the address."""
        if not self.token or scope["path"] in OPEN:
            return None
        if _same(_bearer(headers), self.token) or _same(_cookie(headers), sealed(self.token)):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and _same(asked, self.token):
            # Out of the address, where it would stand in histories and over shoulders.
            answer: Response = RedirectResponse(Request(scope).url.path or "/", 303)
            secure = scope.get("scheme") == "https"
            answer.set_cookie(
                COOKIE, sealed(self.token), httponly=True, samesite="strict", secure=secure
            )
            return answer
        return JSONResponse(
            {
                "detail": "this server asks for its token: open the address that `cxrtool gui` "
                "printed, or send the header Authorization: Bearer TOKEN"
            },
            401,
            {"WWW-Authenticate": "Bearer"},
        )

    def _too_large(self, headers: Headers) -> Response | None:
        said = headers.get("content-length", "0")
        if said.isdecimal() and int(said) <= self.most_bytes + AROUND:
            return None
        return problem(413, too_large(self.most_bytes))


def too_large(most_bytes: int) -> str:
    """What is said of a body beyond the limit."""
    return (
        f"more than {most_bytes / 2**20:,.0f} MiB at once: send fewer images at a time, or start "
        "with a larger --max-mb"
    )


def sealed(token: str) -> str:
    """What a browser keeps in place of the token."""
    return hashlib.sha256(f"cxrtool page {token}".encode()).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _bearer(headers: Headers) -> str:
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _plain(scope: Scope) -> Scope:
    """A request without a proxy's headers, which others would trust."""
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if not name.startswith(b"x-forwarded") and name != b"forwarded"
    ]
    return {**scope, "headers": headers}


def _limited(receive: Receive, most: int) -> Receive:
    """A body that raises `TooLargeError` beyond `most` bytes: not all say their length."""
    left = most

    async def receiving() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLargeError
        return message

    return receiving


def _within(send: Send, answer: CancelScope) -> Send:
    """Stop an answer that nobody reads."""

    async def sending(message: Message) -> None:
        with move_on_after(SEND_SECONDS):
            await send(message)
            return
        answer.cancel()
        await checkpoint()

    return sending


def _with_headers(send: Send, count: Callable[[int], None]) -> Send:
    """Add the headers of every response, and count it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            count(message["status"])
            before = [
                (name, value)
                for name, value in message.get("headers", [])
                if name.decode("latin-1").lower() not in HEADERS
            ]
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": before + own}
        await send(message)

    return sending
