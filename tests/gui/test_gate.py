"""Which requests come through, and what every answer has with it."""

import asyncio

import pytest

from cxrtool.gui.gate import AROUND, Gate, host_name, sealed
from tests.support.asgi import Asked, finished

MOST = 1000


class Behind:
    """An application that notes what came to it."""

    def __init__(self):
        self.seen = []

    async def __call__(self, scope, receive, send):
        body = b""
        while scope["method"] == "POST":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append((scope["path"], dict(scope["headers"]), body))
        headers = [(b"Cache-Control", b"public"), (b"x-own", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"behind"})


def gate(**options):
    asked = Asked(Gate(**{"app": Behind(), "host": "127.0.0.1", "most_bytes": MOST, **options}))
    asked.behind = asked.app.app
    return asked


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:7860", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("192.168.1.5", 403),
        ("", 403),
        ("[::1", 403),
        (None, 403),
    ],
)
def test_only_the_hosts_that_it_serves_are_answered(host, status):
    asked = gate()
    assert asked("GET", "/", host=host)[0] == status
    assert asked("GET", "/api/model", host=host)[0] == status
    assert len(asked.behind.seen) == 2 * (status == 200)


def test_other_names_are_served_when_asked_to():
    asked = gate(allowed=["cxr.example:8443"])
    assert asked("GET", "/", host="cxr.example")[0] == 200
    assert asked("GET", "/", host="other.example")[0] == 403
    assert host_name("cxr.example:8443") == "cxr.example"


def test_at_all_addresses_the_one_that_was_connected_to_is_a_name():
    asked = gate(host="0.0.0.0")
    assert asked("GET", "/", host="192.168.1.5:80", server="192.168.1.5")[0] == 200
    assert asked("GET", "/", host="192.168.1.6:80", server="192.168.1.5")[0] == 403
    assert asked("GET", "/", host="rebound.example", server="192.168.1.5")[0] == 403
    assert asked("GET", "/", host="0.0.0.0", server="192.168.1.5")[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "https://127.0.0.1:7860"}, 200),  # behind a proxy that has the certificate
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://127.0.0.1:7860"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
    ],
)
def test_other_sites_cannot_use_the_page(headers, status):
    asked = gate()
    assert asked("POST", "/api/predict", [b"x"], **headers)[0] == status
    assert len(asked.behind.seen) == (status == 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer s3cret "}, 200),
        ({"authorization": "bearer s3cret"}, 200),
        ({"authorization": "Basic s3cret"}, 401),
        ({"cookie": f"cxrtool_token={sealed('s3cret')}"}, 200),
        ({"cookie": "cxrtool_token=s3cret"}, 401),
        ({"cookie": "cxrtool_token=\ud83d".encode("utf-8", "ignore").decode()}, 401),
    ],
)
def test_a_token_is_asked_for_everywhere_but_for_health(headers, status):
    asked = gate(token="s3cret")
    for method, path in (("GET", "/"), ("GET", "/metrics"), ("POST", "/api/predict")):
        answered, text = asked(method, path, **headers)
        assert answered == status
        assert "s3cret" not in text
    assert asked("GET", "/health", **headers)[0] == 200


def test_the_token_goes_from_the_address_into_a_cookie_that_scripts_cannot_read():
    asked = gate(token="s3cret")
    assert asked("GET", "/", query=b"token=s3cret")[0] == 303
    assert asked.headers["location"] == "/"
    cookie = asked.headers["set-cookie"]
    assert "s3cret" not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert asked("GET", "/", cookie=cookie.partition(";")[0])[0] == 200
    assert asked("GET", "/", query=b"token=wrong")[0] == 401
    assert asked("POST", "/api/predict", query=b"token=s3cret")[0] == 401


def test_a_body_that_says_it_is_too_large_is_not_read():
    asked = gate()
    large = str(MOST + AROUND + 1)
    status, text = asked("POST", "/api/predict", [b"1", b"2"], content_length=large)
    assert (status, asked.unread, "--max-mb" in text) == (413, 2, True)
    assert asked("POST", "/api/predict", [b"1"], content_length="lots")[0] == 413
    assert asked("POST", "/api/predict", [b"1"], content_length="1")[0] == 200
    assert [path for path, _, _ in asked.behind.seen] == ["/api/predict"]


def test_every_answer_forbids_what_is_not_of_this_server():
    asked = gate(token="t")
    for headers in ({"host": "evil.example"}, {}, {"authorization": "Bearer t"}):
        asked("GET", "/", **headers)
        assert "default-src 'none'" in asked.headers["content-security-policy"]
        assert "unsafe" not in asked.headers["content-security-policy"]
        assert asked.headers["cache-control"] == "no-store"
        assert asked.named.count("cache-control") == 1
    assert asked.headers["x-own"] == "1"


def test_nothing_is_told_by_a_proxy():
    asked = gate()
    asked("GET", "/", x_forwarded_for="1.2.3.4", forwarded="for=1.2.3.4", accept="x")
    ((_, headers, _),) = asked.behind.seen
    assert set(headers) == {b"host", b"accept"}


def test_an_answer_that_nobody_reads_is_ended(monkeypatch):
    monkeypatch.setattr("cxrtool.gui.gate.SEND_SECONDS", 0.05)
    ended = []

    async def endless(scope, receive, send):
        try:
            while True:
                await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            ended.append(True)

    async def stuck(message):
        await asyncio.sleep(3600)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    made = Gate(app=endless, host="127.0.0.1", most_bytes=1)
    finished(made({**scope, "query_string": b""}, None, stuck))
    assert ended == [True]


def test_a_socket_of_the_web_is_refused():
    sent = []

    async def send(message):
        sent.append(message)

    finished(gate().app({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
