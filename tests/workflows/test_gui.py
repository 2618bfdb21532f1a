"""The page as a command: from its start to its end, served to many at once."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cxrtool.core.config import GuiConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.core.runs import RunFolder
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from cxrtool.workflows.gui import open_page
from tests.support.gui import MARKUP, png
from tests.support.serving import Parts, file_data, probabilities, serving


def test_without_gradio_the_message_says_what_to_install(trained_once, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.gui.find_spec", lambda name: None)
    with (
        pytest.raises(UsageError, match=r"pip install 'cxrtool\[gui\]'"),
        open_page(GuiConfig(), trained_once.workspace),
    ):
        pass


def test_the_command_line_does_not_import_gradio():
    code = "import sys, cxrtool.cli.app, cxrtool.workflows.gui; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


TINY = GuiConfig(engine="torch", device="cpu", precision="fp32", port=0)


def test_nothing_is_left_and_nobody_is_called(trained_once, monkeypatch, tmp_path):
    called = []
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, to: called.append(to) or real(self, to)
    )
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ)
    with open_page(TINY, trained_once.workspace) as page:
        assert "GRADIO_SHARE" not in os.environ
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert tempfile.gettempdir() == str(folder) == str(page.guard.uploads.folder)
    assert dict(os.environ) == before
    assert tempfile.tempdir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    time.sleep(0.2)
    assert [to for to in called if isinstance(to, tuple)] == []


def test_other_machines_are_warned_of(trained_once):
    warned = []

    class Listening(Reporter):
        def warn(self, text):
            warned.append(text)

    config = replace(TINY, host="0.0.0.0")
    with open_page(config, trained_once.workspace, Listening(quiet=True)) as page:
        assert page.url.startswith("http://127.0.0.1:")
    assert sum("everybody who reaches this machine" in text for text in warned) == 1


@pytest.fixture(scope="module")
def served(trained_once, tmp_path_factory):
    with serving(trained_once.workspace, tmp_path_factory.mktemp("tmp"), "--max-mb", "3") as page:
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
        return served.look((image.name, image.read_bytes()))

    with ThreadPoolExecutor(10) as pool:
        texts = list(pool.map(ask, images))
    for text, right in zip(texts, expected, strict=True):
        assert probabilities(text) == pytest.approx(right, abs=1e-5)
        assert Parts(text).all("template", **{"data-part": "maps", "data-absent": ""})
    assert files_in(served.temporary) == []


def test_the_same_image_from_all_at_once_is_answered_to_all(served, images, expected):
    content = images[0].read_bytes()
    with ThreadPoolExecutor(10) as pool:
        texts = list(pool.map(lambda _: served.look(("a.jpg", content)), range(10)))
    assert all(probabilities(one) == pytest.approx(expected[0], abs=1e-5) for one in texts)


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
    text = served.look((MARKUP, content))
    assert Parts(text).all("template", **{"data-state": "failed"})
    assert told in Parts(text).text()
    assert str(served.temporary) not in text
    assert files_in(served.temporary) == []


def test_too_large_a_body_is_refused(served):
    status, text = served.upload(("a.png", b"x" * (4 * 2**20)))
    assert (status, "--max-mb" in text) == (413, True)
    assert files_in(served.temporary) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "http://127.0.0.1:9/x.png"])
def test_no_client_can_have_a_local_file_read(served, path):
    status, text = served.join([file_data(path)], "aaaa")
    assert status == 400
    assert b"root:" not in text
    for route in ("file=", "file/", "proxy="):
        assert served.request("GET", f"/gradio_api/{route}{path}")[0] == 404
    assert served.request("POST", "/gradio_api/run/answer", "{}")[0] == 405
    assert files_in(served.temporary) == []


def test_the_private_folder_cannot_be_read_either(served, images):
    _, (path,) = served.upload(("a.jpg", images[0].read_bytes()))
    assert served.request("GET", f"/gradio_api/file={path}")[0] == 404
    served.join([file_data(path)], "bbbb")


def test_strangers_are_refused(served):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        status, text = served.request("GET", "/", headers=headers)
        assert status == 403
        assert b"cxrtool" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked_also_while_somebody_waits(trained_once, tmp_path, images, number):
    with serving(trained_once.workspace, tmp_path / "tmp") as page:
        page.upload(("a.jpg", images[0].read_bytes()))
        assert files_in(page.temporary) == []
        # Somebody who never comes to an end with sending.
        held = socket.create_connection(("127.0.0.1", page.port))
        told = "Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        held.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\n{told}Content-Length: 99\r\n\r\n--a".encode()
        )
        time.sleep(0.3)
        assert page.stop(number) == 0, page.process.stderr.read()
        held.close()
        assert "Traceback" not in page.process.stderr.read()
    assert list((tmp_path / "tmp").iterdir()) == []
