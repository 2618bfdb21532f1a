"""Which requests come through, and what every answer has with it."""

import asyncio
import errno
import json
import re
from pathlib import Path

import pytest

from cxrtool.gui.guard import PASSED, Guard, host_name
from cxrtool.gui.model_card import facts_of_file
from cxrtool.gui.site import MOST_FILES, site
from cxrtool.gui.uploads import Uploads
from tests.support.gui import ABOUT, index, waiting, waiting_files
from tests.support.serving import file_data, form


class Behind:
    """An application that says what came to it."""

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
        headers = [(b"access-control-allow-origin", b"*"), (b"Cache-Control", b"public")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"gradio"})


class Asked:
    """A guard, and requests to it."""

    def __init__(self, uploads, tmp_path, **options):
        self.behind = Behind()
        facts = facts_of_file(Path("m.onnx"), ABOUT, "")
        options = {"host": "127.0.0.1", "most_bytes": 1000, **options}
        files = site(facts, index(tmp_path), most_mb=1, absent="")
        self.guard = Guard(self.behind, files, uploads, **options)

    def __call__(self, method, path, chunks=(b"",), server="127.0.0.1", **headers):
        headers = {"host": "127.0.0.1:7860", **headers}
        named = [
            (k.replace("_", "-").encode(), v.encode()) for k, v in headers.items() if v is not None
        ]
        scope = {
            **{"type": "http", "method": method, "path": path, "headers": named},
            **{"query_string": b"", "server": (server, 7860), "scheme": "http"},
        }
        messages = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks)}
            for n, chunk in enumerate(chunks, 1)
        ]
        sent = []

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        self.unread = len(messages)
        self.named = [name.decode().lower() for name, _ in sent[0]["headers"]]
        self.headers = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]).decode()

    def join(self, data, **more):
        call = {"data": data, "fn_index": 0, "session_hash": "s", **more}
        return self("POST", "/gradio_api/queue/join", [json.dumps(call).encode()])


@pytest.fixture
def asked(uploads, tmp_path):
    return Asked(uploads, tmp_path)


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
def test_only_the_hosts_that_it_serves_are_answered(asked, host, status):
    assert asked("GET", "/", host=host)[0] == status
    assert asked("GET", "/config", host=host)[0] == status


def test_other_names_are_served_when_asked_to(uploads, tmp_path):
    asked = Asked(uploads, tmp_path, allowed=["cxr.example:8443"])
    assert asked("GET", "/", host="cxr.example")[0] == 200
    assert asked("GET", "/", host="other.example")[0] == 403
    assert host_name("cxr.example:8443") == "cxr.example"


def test_at_all_addresses_the_one_that_was_connected_to_is_a_name(uploads, tmp_path):
    asked = Asked(uploads, tmp_path, host="0.0.0.0")
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
def test_other_sites_cannot_use_the_page(asked, uploads, headers, status):
    (path,) = waiting(uploads, ("a.png", b"x"))
    call = json.dumps({"data": [[file_data(path)]], "fn_index": 0, "session_hash": "s"})
    assert asked("POST", "/gradio_api/queue/join", [call.encode()], **headers)[0] == status
    assert len(asked.behind.seen) == (status == 200)


def test_the_page_needs_few_of_gradios_parts(asked):
    for path in (*PASSED, "/assets/a.js"):
        assert asked("GET", path) == (200, "gradio")
    for path in (
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd"),
        *("/gradio_api/proxy=http://evil.example", "/static/x", "/svelte/x", "/monitoring"),
        *("/gradio_api/stream/a/b", "/login", "/docs", "/openapi.json", "/gradio_api/runs"),
        *("/gradio_api/call/answer/x", "/gradio_api/app_id", "/robots.txt", "/gradio_api"),
        *("/config/", "//config", "/gradio_api/queue/data/", "/gradio_api/heartbeat/s"),
    ):
        assert asked("GET", path)[0] == 404, path
    for path in ("/gradio_api/run/answer", "/gradio_api/component_server", "/config", "/"):
        assert asked("POST", path, [b"{}"])[0] == 405
    assert len(asked.behind.seen) == len(PASSED) + 1


def test_every_answer_forbids_what_is_not_of_this_server(asked):
    for path in ("/", "/config", "/nothing"):
        asked("GET", path)
        policy = asked.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert not re.search(r"https?:|\*|unsafe-eval", policy)
        assert asked.headers["cache-control"] == "no-store"
        assert asked.headers["x-content-type-options"] == "nosniff"
        assert len(asked.named) == len(set(asked.named))
        assert "access-control-allow-origin" not in asked.named


def test_gradio_is_told_nothing_by_a_proxy(asked):
    asked("GET", "/config", x_forwarded_host="evil.example", forwarded="host=evil.example")
    assert set(asked.behind.seen[0][1]) == {b"host"}


def test_what_is_sent_waits_under_a_path_of_its_own(asked, uploads):
    body, kind = form([("a.png", b"12"), ("../b.png", b"34")])
    status, text = asked("POST", "/gradio_api/upload", [body[:50], body[50:]], content_type=kind)
    assert status == 200
    assert [uploads._waiting[path].read() for path in json.loads(text)] == [b"12", b"34"]
    assert uploads.name_of(json.loads(text)[1]) == "../b.png"


@pytest.mark.parametrize("length", [None, "right", "0", "x"])
def test_what_is_too_large_is_refused_and_not_kept(asked, uploads, length):
    body, kind = form([("a.png", b"1" * 200_000)])
    headers = {"content_type": kind}
    if length is not None:
        headers["content_length"] = str(len(body)) if length == "right" else length
    chunks = [body[n : n + 1000] for n in range(0, len(body), 1000)]
    status, text = asked("POST", "/gradio_api/upload", chunks, **headers)
    assert (status, "--max-mb" in text) == (413, True)
    assert asked.unread > 100
    assert waiting_files(uploads) == 0


def test_files_that_are_too_large_together_are_refused(asked, uploads):
    body, kind = form([("a.png", b"1" * 600), ("b.png", b"1" * 600)])
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 413
    assert waiting_files(uploads) == 0


class FullDisk(Uploads):
    """A disk on which there is room for one file."""

    def add(self, name, content):
        if self._waiting:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().add(name, content)


def test_a_disk_that_fills_is_told_and_nothing_of_the_form_stays(tmp_path):
    uploads = FullDisk(tmp_path, 10**7)
    body, kind = form([("a.png", b"1"), ("b.png", b"2")])
    asked = Asked(uploads, tmp_path)
    status, text = asked("POST", "/gradio_api/upload", [body], content_type=kind)
    assert (status, "No space left on device" in text) == (503, True)
    assert waiting_files(uploads) == 0


def test_too_many_files_are_refused(asked, uploads):
    body, kind = form([("a.png", b"1")] * (MOST_FILES + 1))
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 400
    assert list(uploads.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"", "text/plain"), (b"x", "multipart/form-data; boundary=a"), form([])],
    ids=["no form", "a damaged form", "an empty form"],  # a boundary is drawn at random
)
def test_a_form_without_files_is_refused(asked, body, kind):
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 400


def test_a_call_reaches_gradio_with_its_files_alone(asked, uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    sent = file_data(path, url="http://evil.example/x", is_stream=True, orig_name="/etc/passwd")
    assert asked.join([[sent]], event_data={"x": 1}, simple_format=True)[0] == 200
    _, headers, body = asked.behind.seen[0]
    assert json.loads(body) == {
        "data": [[file_data(path)]],
        "event_data": None,
        "fn_index": 0,
        "session_hash": "s",
    }
    assert int(headers[b"content-length"]) == len(body)


@pytest.mark.parametrize(
    "data",
    [
        [[file_data("/etc/passwd")]],
        [[file_data("http://evil.example/x.png")]],
        [[file_data(["/etc/passwd"])]],
        [[{"path": None}]],
        [["/etc/passwd"]],
        ["/etc/passwd"],
        [file_data("/etc/passwd")],
        [{"value": [file_data("/etc/passwd")]}],
        [[], [file_data("/etc/passwd")]],
        {"path": "/etc/passwd"},
        None,
        "x",
    ],
)
def test_a_call_cannot_name_a_file_that_was_not_sent(asked, uploads, data):
    waiting(uploads, ("a.png", b"x"))
    assert asked.join(data)[0] == 400
    assert asked.behind.seen == []


def test_a_call_cannot_name_a_file_beside_one_that_was_sent(asked, uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    for near in (f"{path}/../../x", f"{uploads.folder}/./{Path(path).name}", str(uploads.folder)):
        assert asked.join([[file_data(path), file_data(near)]])[0] == 400
    assert asked.behind.seen == []


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"1", b'"x"', b"\xff", b" " * 200_000])
def test_a_call_that_is_none_is_refused(asked, body):
    assert asked("POST", "/gradio_api/queue/join", [body])[0] in (400, 413)
    assert asked.behind.seen == []
