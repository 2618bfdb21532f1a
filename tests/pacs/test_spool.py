"""The queue on disk: what a kill, a full disk and late or repeated images do to it."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from pydicom.uid import generate_uid

from cxrtool.core.errors import DataError
from cxrtool.pacs.spool import (
    DONE,
    INCOMING,
    OUTBOX,
    REFUSED,
    OutOfRoomError,
    Spool,
    Stored,
    open_spool,
)
from tests.support.dicoms import NAME, NUMBER
from tests.support.spooling import answer, arriving, put, send


@pytest.fixture
def spool(tmp_path):
    with open_spool(tmp_path / "spool") as made:
        yield made


def state(spool, identity):
    return spool.find(identity.study).folder.parent.name


def test_a_study_goes_from_incoming_to_done(spool):
    one = put(spool)
    assert state(spool, one) == INCOMING
    assert spool.claim_quiet(60) is None
    answer(spool)
    assert state(spool, one) == OUTBOX
    assert [path.read_bytes() for path in spool.find(one.study).result_files()] == [b"report"]
    send(spool, one.study)
    assert state(spool, one) == DONE
    assert spool.counts() == {INCOMING: 0, OUTBOX: 0, DONE: 1, REFUSED: 0}


def test_bytes_are_kept_as_they_came_and_names_say_nothing(spool):
    identity, content = arriving()
    assert spool.store(identity, content) is Stored.NEW
    (file,) = spool.find(identity.study).files()
    assert file.read_bytes() == content
    assert file.stat().st_mode & 0o077 == 0
    names = " ".join(str(path.relative_to(spool.folder)) for path in spool.folder.rglob("*"))
    for told in (NAME, "Secret", NUMBER, "19500102", "ACC-9", identity.study_uid):
        assert told not in names


def test_the_same_instance_is_kept_once_and_the_first_content_stays(spool):
    identity, content = arriving()
    spool.store(identity, content)
    assert spool.store(identity, content) is Stored.AGAIN
    assert spool.store(identity, content + b"\0\0") is Stored.OTHER
    (file,) = spool.find(identity.study).files()
    assert file.read_bytes() == content


def test_a_repeated_instance_does_not_open_an_answered_study_again(spool):
    identity, content = arriving()
    spool.store(identity, content)
    answer(spool)
    send(spool, identity.study)
    assert spool.store(identity, content) is Stored.AGAIN
    assert state(spool, identity) == DONE


@pytest.mark.parametrize("sent", [False, True])
def test_a_late_image_opens_a_new_round_of_the_whole_study(spool, sent):
    study = generate_uid()
    first = put(spool, study)
    before = answer(spool).results.name
    if sent:
        send(spool, first.study)
    put(spool, study)
    assert state(spool, first) == INCOMING
    assert len(spool.find(first.study).files()) == 2
    after = answer(spool, b"both")
    assert after.results.name != before
    assert [path.name for path in after.folder.glob("results-*")] == [after.results.name]


def test_images_that_come_while_a_study_is_scored_are_scored_with_it(spool):
    study = generate_uid()
    put(spool, study)
    claimed = spool.claim_quiet(0)
    names, made = claimed.names(), spool.new_folder()
    put(spool, study)
    assert not spool.commit(claimed, names, made)
    assert not made.exists()
    assert spool.claim_quiet(0) is None  # it is still at work
    spool.release(claimed.name)
    assert len(spool.claim_quiet(0).files()) == 2


def test_an_image_that_comes_while_results_are_sent_is_scored_afterwards(spool):
    study = generate_uid()
    first = put(spool, study)
    answered = answer(spool)
    assert spool.claim_answered(answered)
    assert not spool.claim_answered(answered)
    put(spool, study)
    assert state(spool, first) == OUTBOX
    spool.release(first.study, finished=True)
    assert state(spool, first) == INCOMING
    assert spool.claim_quiet(0).name == first.study


def test_what_was_put_aside_stays_there_with_its_later_images_until_it_is_retried(spool):
    study = generate_uid()
    one = put(spool, study)
    claimed = spool.claim_quiet(0)
    spool.refuse(claimed, "of several patients")
    spool.release(claimed.name)
    put(spool, study)
    assert state(spool, one) == REFUSED
    assert spool.claim_quiet(0) is None
    assert spool.retry_refused() == 1
    assert len(spool.claim_quiet(0).files()) == 2


def test_cleaned_studies_still_know_their_images(spool):
    identity, content = arriving()
    spool.store(identity, content)
    answer(spool)
    send(spool, identity.study)
    assert spool.clean(3600) == 0
    assert spool.clean(0) == 1
    assert spool.clean(0) == 0
    assert spool.store(identity, content) is Stored.AGAIN
    assert [path.name for path in spool.find(identity.study).folder.iterdir()] == ["cleaned.txt"]
    put(spool, identity.study_uid)
    assert len(answer(spool).names()) == 2


def test_sendings_are_known_after_a_restart(tmp_path):
    with open_spool(tmp_path) as spool:
        one = put(spool)
        study = answer(spool)
        study.note_sending("PACS", "waiting", "unreachable")
    with open_spool(tmp_path) as spool:
        (study,) = spool.studies(OUTBOX)
        assert study.note_sending("PACS", "delivered").attempts == 2
        assert study.name == one.study


@pytest.mark.parametrize("late", [False, True])
def test_a_move_that_a_kill_interrupted_is_made_at_the_next_start(tmp_path, late):
    spool = Spool(tmp_path)
    one = put(spool)
    study = answer(spool)
    if late:  # an image came while its results were sent
        assert spool.claim_answered(study)
        put(spool, one.study_uid)
    else:  # results were there, and the study had not moved yet
        study.folder.rename(tmp_path / INCOMING / study.name)
    again = Spool(tmp_path)
    assert state(again, one) == (INCOMING if late else OUTBOX)
    assert (again.claim_quiet(0) is not None) == late


def test_one_process_has_a_spool(spool):
    with pytest.raises(DataError, match="another listen is running"), open_spool(spool.folder):
        pass


def test_a_disk_below_its_reserve_takes_nothing(tmp_path):
    spool = Spool(tmp_path, reserve=2**60)
    with pytest.raises(OutOfRoomError, match="--spool-reserve-mb"):
        put(spool)
    assert spool.counts()[INCOMING] == 0


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_disk_that_fills_up_leaves_nothing_half(spool, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        opened = os.fdopen  # of the file that is being written
        monkeypatch.setattr(os, "fdopen", lambda *a, **k: _Failing(opened(*a, **k)))
    with pytest.raises(OutOfRoomError):
        put(spool)
    monkeypatch.undo()
    assert list((spool.folder / "making").iterdir()) == []
    put(spool)
    assert spool.counts()[INCOMING] == 1


class _Failing:
    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")


KILLED = """
import sys
from pathlib import Path
from cxrtool.pacs.spool import Spool
from tests.support.spooling import answer, arriving, send
spool = Spool(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    one = arriving()
    both = [one, arriving(one[0].study_uid)]
    for identity, content in both:
        spool.store(identity, content)
        print("stored", identity.study, identity.name, flush=True)
    while spool.claim_quiet(0) is not None:
        spool._claimed.clear()
        name = answer(spool).name
        print("answered", name, flush=True)
        send(spool, name)
        print("sent", name, flush=True)
"""


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path):
    seed = random.Random(1)
    told = []
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(seed.uniform(0.02, 0.3))
        process.send_signal(signal.SIGKILL)
        told += process.communicate()[0].splitlines()
    spool = Spool(tmp_path)
    assert list((tmp_path / "making").iterdir()) == []
    places = [path.name for state in spool.counts() for path in (tmp_path / state).iterdir()]
    assert len(places) == len(set(places))
    assert len(places) > 4
    for line in told:
        words = line.split()
        study = spool.find(words[1])
        if words[0] == "stored":
            assert study.has(words[2]), line
        elif words[0] == "answered":
            assert study.answered or len(study.names()) == 2, line
        elif words[0] == "sent" and study.folder.parent.name != DONE:
            raise AssertionError(line)
    for study in spool.studies(OUTBOX) + spool.studies(DONE):
        assert study.answered
        assert [path.read_bytes() for path in study.result_files()] == [b"report"]
