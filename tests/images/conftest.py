"""Small images, and which of them were decoded."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtool.data import image_checks as prepare_images
from cxrtool.images import apart as apart
from cxrtool.images.apart import Apart
from tests.support.apart import content


@pytest.fixture
def data(tmp_path):
    """A folder of 30 small images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (40, 50 + i)).astype(np.uint8)).save(
            folder / f"{i}.png"
        )
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in this process."""
    seen = []

    def decode(file):
        seen.append(Path(file).name)
        return original(file)

    original = prepare_images.decode
    monkeypatch.setattr(prepare_images, "decode", decode)
    return seen


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Processes whose decoder does something else; with it, how they are told to."""
    (tmp_path / "broken.py").write_text(
        "import os, signal, socket, time, warnings\n"
        "import cxrtool.images.apart_process as process, cxrtool.images.reading as images\n"
        "real, before = images.read_content, []\n"
        "def read(name, content, *, look):\n"
        "    if name == 'crash': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if name == 'hang':\n"
        "        while True: pass\n"
        "    if name == 'wait': time.sleep(600)\n"
        "    if name == 'eat': bytes(3 * 10**9)\n"
        "    if name == 'shout': os.write(2, b'libtiff: so it is\\n'); print('and so')\n"
        "    if name == 'warn': warnings.warn('in ' + __file__)\n"
        "    if name == 'before':\n"
        "        before.append(content)\n"
        "        os.write(2, b'%d' % len(before))\n"
        "    if name == 'open':\n"
        "        for take in (lambda: open('/etc/hostname'), socket.socket, os.pipe):\n"
        "            try: take()\n"
        "            except OSError as error: os.write(2, error.strerror.encode() + b'\\n')\n"
        "    return real(name, content, look=look)\n"
        "process.SECONDS = 0\n"
        "process.read_content = read\n"
        "process.main()\n"
    )
    monkeypatch.setattr(apart, "MODULE", "broken")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    )
    made = Apart()
    yield lambda name, fresh=True: made.decode(
        name, content(), look=False, dicom=False, fresh=fresh
    )
    made.close()
