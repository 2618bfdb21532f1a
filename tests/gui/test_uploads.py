"""Files that wait for their answer."""

import re
import time
from pathlib import Path

import pytest

from cxrtool.core.errors import DataError
from cxrtool.gui.uploads import Uploads
from tests.support.gui import waiting, waiting_files


def test_one_content_sent_twice_is_two_files(uploads):
    first, second = waiting(uploads, ("a.png", b"x"), ("a.png", b"x"))
    with uploads.take(first):
        pass
    with uploads.take(second) as found:
        assert found.read() == b"x"


def test_a_file_is_taken_once_and_gone_whatever_happens(uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    with pytest.raises(KeyError), uploads.take(path) as found:
        raise KeyError
    assert found.content.closed
    with pytest.raises(DataError, match="drop it again"), uploads.take(path):
        pass


def test_a_file_has_no_name_of_its_sender(uploads):
    (path,) = waiting(uploads, ("../../patient.png", b"x"))
    assert Path(path).parent == uploads.folder
    assert re.fullmatch(r"[0-9a-f]{32}\.png", Path(path).name)
    (path,) = waiting(uploads, ("a.svg", b"x"))
    assert re.fullmatch(r"[0-9a-f]{32}", Path(path).name)


def test_what_nobody_takes_is_removed_after_a_while(uploads):
    old, new = waiting(uploads, ("a.png", b"x")), time.monotonic()
    uploads.sweep(older_than=60)
    assert old[0] in uploads
    uploads.sweep(older_than=time.monotonic() - new)
    assert old[0] not in uploads


def test_no_more_waits_than_may(tmp_path):
    uploads = Uploads(tmp_path, 10)
    waiting(uploads, ("a", b"12345"), ("b", b"12345"))
    with pytest.raises(DataError, match="too many images are waiting"):
        waiting(uploads, ("c", b"1"))
    assert waiting_files(uploads) == 2


def test_what_is_being_sent_counts_and_no_longer_than_it_does(tmp_path):
    uploads = Uploads(tmp_path, 10)
    with uploads.room(6):
        with pytest.raises(DataError, match="too many images are waiting"), uploads.room(5):
            pass
        waiting(uploads, ("a", b"1234"))
    with pytest.raises(DataError, match="too many images are waiting"), uploads.room(7):
        pass
    with uploads.room(6):
        pass


def test_only_so_many_files_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrtool.gui.uploads.MOST_WAITING", 2)
    uploads = Uploads(tmp_path, 10)
    waiting(uploads, ("a", b"1"), ("b", b"1"))
    with pytest.raises(DataError, match="too many images are waiting"):
        waiting(uploads, ("c", b"1"))


def test_no_file_of_the_page_has_a_name_on_the_disk(uploads):
    (path,) = waiting(uploads, ("a.png", b"x" * 10**6))
    assert list(uploads.folder.iterdir()) == []
    assert not Path(path).exists()
    with uploads.take(path) as found:
        assert found.read() == b"x" * 10**6
        assert waiting_files(uploads) == 0


def test_a_file_is_asked_about_once(uploads):
    one, two = waiting(uploads, ("a.png", b"x"), ("b.png", b"y"))
    uploads.ask([one], "s")
    for paths in ([one], [two, two], [two, one], ["x"]):
        with pytest.raises(LookupError):
            uploads.ask(paths, "t")
    uploads.ask([two], "t")
