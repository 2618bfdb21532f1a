"""A watched folder: whole images are taken once, all else is left and told by kind."""

import pytest

from cxrtool.core.errors import DataError
from cxrtool.pacs import watch_folder as module
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.spool import INCOMING, OutOfRoomError, Spool
from cxrtool.pacs.watch_folder import WatchFolder
from tests.support.dicoms import NAME
from tests.support.lines import Lines
from tests.support.spooling import arriving


class Clock:
    """The monotonic clock of what is tested."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def watched(folder):
    spool = Spool(folder.parent / "spool")
    return WatchFolder(folder, spool, ListenCounts(), Lines(), settle=5, most_bytes=50_000)


def taken(watch):
    return sum(len(study.files()) for study in watch.spool.studies(INCOMING))


def look(watch, clock, seconds=0):
    clock.now += seconds
    watch.look()


def test_images_are_taken_once_when_they_have_stopped_growing(folder, clock):
    (folder / "deep" / "er").mkdir(parents=True)
    content = arriving()[1]
    (folder / f"{NAME}.dcm").write_bytes(content[:3000])
    (folder / "deep" / "er" / "IM1").write_bytes(arriving()[1])
    (folder / ".hidden").write_bytes(arriving()[1])
    watch = watched(folder)
    look(watch, clock)
    look(watch, clock, 4)
    assert taken(watch) == 0
    (folder / f"{NAME}.dcm").write_bytes(content)
    look(watch, clock, 2)
    assert taken(watch) == 1  # the other one has just grown
    look(watch, clock, 6)
    assert taken(watch) == 2
    look(watch, clock, 600)
    assert taken(watch) == 2
    assert watch.reporter.lines == []
    assert (folder / f"{NAME}.dcm").read_bytes() == content


def test_what_was_taken_is_known_after_a_restart(folder, clock, monkeypatch):
    (folder / "one").write_bytes(arriving()[1])
    watch = watched(folder)
    look(watch, clock)
    look(watch, clock, 6)
    again = watched(folder)
    monkeypatch.setattr(again, "_take", lambda *_: pytest.fail("it was taken before"))
    look(again, clock)
    look(again, clock, 6)
    names = (watch.spool.folder / "taken.txt").read_text().split()
    assert len(names) == 1
    (folder / "one").unlink()
    watched(folder)
    assert (watch.spool.folder / "taken.txt").read_text() == ""


def test_empty_half_and_other_files_are_left_and_told_by_kind_alone(folder, clock):
    (folder / f"{NAME} empty.dcm").touch()
    (folder / f"{NAME} half.dcm").write_bytes(arriving()[1][:-100])
    (folder / f"{NAME}.txt").write_text("notes")
    (folder / "large.dcm").write_bytes(bytes(60_000))
    (folder / "link.dcm").symlink_to(folder / "nowhere")
    watch = watched(folder)
    look(watch, clock)
    look(watch, clock, 30)
    assert watch.reporter.lines == []
    look(watch, clock, 40)
    said = " ".join(watch.reporter.lines)
    for reason in ("it is empty", "ends before", "not a DICOM file", "larger than --max-mb"):
        assert reason in said
    assert NAME not in said
    number = len(watch.reporter.lines)
    look(watch, clock, 100)
    assert len(watch.reporter.lines) == number
    assert len(list(folder.iterdir())) == 5
    (folder / f"{NAME} half.dcm").write_bytes(arriving()[1])
    look(watch, clock, 1)
    look(watch, clock, 6)
    assert taken(watch) == 1


def test_files_wait_while_the_disk_is_full(folder, clock):
    (folder / "one").write_bytes(arriving()[1])
    watch = watched(folder)
    watch.spool.reserve = 2**60
    look(watch, clock)
    with pytest.raises(OutOfRoomError):
        look(watch, clock, 6)
    watch.spool.reserve = 0
    look(watch, clock, 1)
    assert taken(watch) == 1


def test_no_folder_is_refused(tmp_path):
    watch = WatchFolder(tmp_path / "none", Spool(tmp_path / "spool"), ListenCounts())
    with pytest.raises(DataError, match="--folder"), watch.open():
        pass
