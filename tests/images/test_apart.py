"""Decoding in a process of its own: what goes wrong there is one image's error, and no more."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cxrtool.images import apart as apart
from cxrtool.images.apart import APART
from cxrtool.images.decoding import decode_batches
from cxrtool.images.errors import ImageError
from cxrtool.images.film import read_film
from cxrtool.images.reading import read_for_scoring
from tests.support.apart import FILM, content


def test_errors_name_the_file_once(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_film("a.png", b"no image")
    assert str(caught.value) == "a.png: not a JPEG, PNG, TIFF or DICOM image"
    (tmp_path / "a.tif").write_bytes(content("TIFF", compression="tiff_lzw")[:-900])
    with pytest.raises(ImageError) as caught:
        read_for_scoring(tmp_path / "a.tif")
    assert str(caught.value).count("a.tif") == 1


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crash", "damaged: it crashes the decoder (signal 11)"),
        ("hang", "longer than the 30 s allowed for an image"),
        ("eat", "decoding took more than 1 GiB"),
    ],
)
def test_a_decoder_that_fails_costs_its_image_and_the_next_is_read(broken, name, said, fresh):
    with pytest.raises(apart.DataError) as caught:
        raise apart.DataError(broken(name, fresh)[0]["error"])
    assert said in str(caught.value)
    answer, pixels = broken("a", fresh)
    assert answer["size"] == [80, 60]
    assert pixels == FILM.tobytes()


def test_what_is_waited_for_too_long_is_given_up(broken, monkeypatch):
    monkeypatch.setattr(apart, "PATIENCE", 1)
    with pytest.raises(apart.DataError, match="longer than"):
        broken("wait")


def hanging(broken):
    """A decoder that hangs: who has it, who waits for it, and what was raised there."""
    made, caught = broken.__closure__[0].cell_contents, []

    def ask():
        try:
            broken("wait")
        except apart.DataError as error:
            caught.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    while not made._busy:
        time.sleep(0.01)
    return made, thread, caught


def test_stopping_ends_what_hangs(broken):
    made, thread, caught = hanging(broken)
    time.sleep(0.3)
    made.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert len(caught) == 1


def test_no_decoder_outlives_a_parent_that_is_killed(tmp_path):
    (tmp_path / "a.tif").write_bytes(content("TIFF", compression="tiff_lzw"))
    code = (
        "import sys, time\n"
        "from cxrtool.images.apart import APART\n"
        "from cxrtool.images.reading import read_for_scoring\n"
        "read_for_scoring(sys.argv[1])\n"
        "print(APART._idle[False][0]._popen.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.tif")], stdout=subprocess.PIPE
    ) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(600):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it is still there")


def test_threads_have_a_process_each_and_the_rows_keep_their_order(tmp_path):
    files = []
    for number in range(12):
        files.append(tmp_path / f"{number}.tif")
        files[-1].write_bytes(content("TIFF", np.roll(FILM, number), compression="tiff_lzw"))
    batches = list(decode_batches(files, [(16,)], batch=5, workers=3))
    found = [one for batch in batches for one in batch]
    assert [one.index for one in found] == list(range(12))
    assert all(one.pixels for one in found)
    assert len(APART._idle[False]) <= 3 + 1


def test_a_process_that_was_killed_while_it_was_idle_costs_no_image(broken):
    made = broken.__closure__[0].cell_contents
    for fresh in (True, False):
        broken("a", fresh)
        (idle,) = made._idle[fresh]
        idle._popen.kill()
        idle._popen.wait()
        assert broken("a", fresh)[1] == FILM.tobytes()
        assert idle not in made._idle[fresh]


def test_what_was_sent_is_never_decoded_by_a_process_that_held_an_image(broken):
    made = broken.__closure__[0].cell_contents
    broken("a", fresh=False)
    broken("a", fresh=True)
    held, new = made._idle[False], made._idle[True]
    assert len(held) == len(new) == 1
    assert held != new


def test_who_stops_decoding_stops_nobody_else(broken, monkeypatch, tmp_path):
    """As where two tables are made at once in one program, and one of them is done."""
    made, thread, caught = hanging(broken)
    monkeypatch.setattr("cxrtool.images.decoding.APART", made)
    (tmp_path / "a.png").write_bytes(content())
    assert list(decode_batches([tmp_path / "a.png"], [(16,)], batch=1, workers=1))
    time.sleep(0.3)
    assert thread.is_alive()
    assert caught == []
    made.stop()
    thread.join(30)
    assert len(caught) == 1
