"""The page as a command: from its start to its end, served to many at once."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cxrtool.core.config import GuiConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from cxrtool.workflows.gui import open_page
from tests.support.gui import MARKUP, png
from tests.support.serving import form, probabilities, serving


def test_without_its_libraries_the_message_says_what_to_install(trained_once, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.gui.find_spec", lambda name: None)
    with (
        pytest.raises(UsageError, match=r"fastapi.*pip install 'cxrtool\[gui\]'"),
        open_page(GuiConfig(), trained_once.workspace),
    ):
        pass


def test_the_command_line_does_not_import_the_server():
    code = "import sys, cxrtool.cli.app, cxrtool.workflows.gui; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


TINY = GuiConfig(engine="torch", device="cpu", precision="fp32", port=0)


def test_nothing_is_left_and_nobody_is_called(trained_once, monkeypatch, tmp_path):
    called = []
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, to: called.append(to) or real(self, to)
    )
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_page(TINY, trained_once.workspace):
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert tempfile.gettempdir() == str(folder)
    assert tempfile.tempdir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    time.sleep(0.2)
    assert [to for to in called if isinstance(to, tuple)] == []


class Warned(Reporter):
    def __init__(self):
        super().__init__(quiet=True)
        self.texts = []

    def warn(self, text):
        self.texts.append(text)


def opened(workspace, **options):
    """The address of a page, its token, and what was warned of."""
    reporter = Warned()
    with open_page(replace(TINY, **options), workspace, reporter) as page:
        return page.url, page.gate.token, " ".join(reporter.texts)


def test_other_machines_need_a_token_that_is_in_the_address(trained_once):
    url, token, said = opened(trained_once.workspace, host="0.0.0.0")
    assert url.startswith("http://127.0.0.1:")
    assert len(token) > 30
    assert url.endswith(f"/?token={token}")
    assert "unencrypted" in said
    assert token not in said
    assert opened(trained_once.workspace, host="0.0.0.0")[1] != token


def test_an_empty_token_lets_everybody_in_with_a_warning(trained_once):
    url, token, said = opened(trained_once.workspace, host="0.0.0.0", token="")
    assert (url[-1], token) == ("/", "")
    assert "everybody who reaches this machine" in said


def test_on_this_machine_alone_there_is_no_token_unless_one_is_given(trained_once):
    url, token, said = opened(trained_once.workspace)
    assert (url[-1], token) == ("/", "")
    assert "unencrypted" not in said
    assert opened(trained_once.workspace, token="abc")[0].endswith("/?token=abc")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"run": ["tiny", "tiny"]}, "twice"),
        ({"tls_cert": Path(__file__)}, "go together"),
        ({"tls_cert": Path(__file__), "tls_key": Path(__file__)}, "not a certificate"),
        ({"root": Path(__file__)}, "not a folder"),
    ],
)
def test_options_that_cannot_be_are_refused(trained_once, options, words):
    with pytest.raises(UsageError, match=words):
        opened(trained_once.workspace, **options)


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl in PATH")
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-keyout", files["tls_key"], "-out", files["tls_cert"]),
        ],
        check=True,
        capture_output=True,
    )
    return files


def test_it_is_served_encrypted_with_a_certificate(trained_once, warm, tmp_path, certificate):
    options = [f"--{name.replace('_', '-')}={path}" for name, path in certificate.items()]
    with serving(trained_once.workspace, tmp_path / "tmp", *options, program=[warm]) as page:
        assert page.told["url"].startswith("https://")
        context = ssl.create_default_context(cafile=certificate["tls_cert"])
        url = f"https://localhost:{page.port}/health"
        with urllib.request.urlopen(url, context=context) as answer:
            assert json.load(answer) == {"status": "ok"}


@pytest.fixture(scope="module")
def served(trained_once, warm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tmp")
    with serving(trained_once.workspace, folder, "--max-mb", "3", program=[warm]) as page:
        yield page


@pytest.fixture(scope="module")
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:10]


@pytest.fixture(scope="module")
def expected(trained_once, images):
    from cxrtool.images.reading import read_for_scoring
    from cxrtool.images.resizing import squish

    compute = Compute(engine="torch", device="cpu", precision="fp32")
    run = load_scorer(RunFolder(trained_once.workspace.runs / "tiny"), compute)
    pixels = [squish(read_for_scoring(image)[0], *run.image_sizes)[None] for image in images]
    return [dict(zip(run.labels, run(one)[0].tolist(), strict=True)) for one in pixels]


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_says_where_it_is(served):
    assert served.told == {
        "url": f"http://127.0.0.1:{served.port}/",
        "run": "tiny",
        "engine": "torch on cpu, fp32",
    }


def test_ten_people_at_once_get_ten_right_answers(served, images, expected):
    def ask(image):
        return served.predict((image.name, image.read_bytes()), maps="true")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, images))
    for answer, right in zip(answers, expected, strict=True):
        assert probabilities(answer["images"][0]) == pytest.approx(right, abs=1e-5)
        assert answer["maps"][0]["absent"] == ""
    assert files_in(served.temporary) == []


def test_the_same_image_from_all_at_once_is_answered_to_all(served, images, expected):
    content = images[0].read_bytes()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: served.predict(("a.jpg", content)), range(10)))
    for answer in answers:
        assert probabilities(answer["images"][0]) == pytest.approx(expected[0], abs=1e-5)


def test_two_who_read_at_once_see_nothing_of_each_other(served, images):
    """Their files, names and maps; beside it the decoders share no memory (images/apart)."""

    def read(mine):
        files = [(f"{mine}-{n}.jpg", images[n].read_bytes()) for n in range(3)]
        events = served.events(*files, maps="true", film="true", thumb="true")
        return json.dumps(events), {part["name"] for name, part in events if name == "row"}

    with ThreadPoolExecutor(2) as pool:
        (first, ours), (second, theirs) = pool.map(read, ("alice", "bob"))
    assert ours == {f"alice-{n}.jpg" for n in range(3)}
    assert theirs == {f"bob-{n}.jpg" for n in range(3)}
    assert "bob" not in first
    assert "alice" not in second


def bomb():
    """A small PNG that claims to have 40,000 by 40,000 pixels."""
    made = png(9)
    head = made[:16] + (40_000).to_bytes(4) * 2 + made[24:29]
    return head + zlib.crc32(head[12:29]).to_bytes(4) + made[33:]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a"),
        (b"hello", "not a"),
        (bomb(), "more pixels than"),
        (png(9)[:60], "cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_a_message(served, content, told):
    (row,) = served.predict((MARKUP, content))["images"]
    assert (row["state"], row["name"]) == ("failed", MARKUP)
    assert told in row["error"]
    assert str(served.temporary) not in row["error"]
    assert files_in(served.temporary) == []


def test_too_large_a_body_is_refused(served):
    status, text = served.send(("a.png", b"x" * (4 * 2**20)))
    assert (status, b"--max-mb" in text) == (413, True)
    assert files_in(served.temporary) == []


@pytest.mark.parametrize("path", ["/etc", "/proc/self", "http://127.0.0.1:9/x.png", "."])
def test_no_client_can_have_a_local_file_read(served, path):
    for name in ("folder", "url", "path", "file"):
        body = json.dumps({name: path})
        status, text = served.request(
            "POST", "/api/predict", body, {"content-type": "application/json"}
        )
        assert status == (403 if name == "folder" else 422)
        assert b"root:" not in text
        body, kind = form([(path, png(9))], {name: path})
        assert served.request("POST", "/api/predict", body, {"content-type": kind})[0] == 422


def test_strangers_are_refused(served):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        status, text = served.request("GET", "/", headers=headers)
        assert status == 403
        assert b"cxrtool" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked_also_while_somebody_waits(trained_once, warm, tmp_path, images, number):
    # With the interpreter's own end once; a fork of `warm` leaves that out.
    program = {} if number == signal.SIGINT else {"program": [warm]}
    with serving(trained_once.workspace, tmp_path / "tmp", **program) as page:
        page.predict(("a.jpg", images[0].read_bytes()))
        assert files_in(page.temporary) == []
        # Somebody who never comes to an end with sending.
        held = socket.create_connection(("127.0.0.1", page.port))
        told = "Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        held.sendall(f"POST /api/predict HTTP/1.1\r\n{told}Content-Length: 99\r\n\r\n--a".encode())
        time.sleep(0.3)
        assert page.stop(number) == 0, page.process.stderr.read()
        held.close()
        assert "Traceback" not in page.process.stderr.read()
