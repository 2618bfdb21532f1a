"""Results on their way: destinations that are away, refuse, or take them; across restarts."""

import json
import time

import pytest

from cxrtool.core.errors import DataError
from cxrtool.pacs import outbox as module
from cxrtool.pacs.delivery import Answer, Delivery, DestinationError, TransientError
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.outbox import Line, Outbox
from cxrtool.pacs.spool import DONE, INCOMING, OUTBOX, REFUSED, Spool
from tests.support.lines import Lines
from tests.support.spooling import answer, put

PATIENCE = 60


class Scripted:
    """A destination that does one thing after another, and then takes all."""

    def __init__(self, name, *does):
        self.name, self.does, self.got = name, list(does), []

    def send(self, files):
        does = self.does.pop(0) if self.does else True
        if isinstance(does, Exception):
            raise does
        if callable(does):
            does()
        self.got.append([path.read_bytes() for path in files])
        status = "stored" if does is not False else "it takes no Comprehensive 3D SR: --sr-class"
        answers = tuple(
            Answer(file=one, sop_instance_uid="1", accepted=does is not False, status=status)
            for one in files
        )
        return Delivery(destination=self.name, answers=answers)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "PAUSE", 0.01)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def open_outbox(spool):
    opened = []

    def begin(*destinations, of=None):
        made = Outbox(destinations, of or spool, ListenCounts(), Lines())
        opened.append(made)
        return made

    yield begin
    for one in opened:
        one.stop(5)


def until(state):
    end = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < end
        time.sleep(0.01)


def answered(spool):
    one = put(spool)
    answer(spool)
    return one


def test_each_destination_gets_the_results_once(spool, open_outbox):
    for _ in range(3):
        answered(spool)
    here, there = Scripted("HERE"), Scripted("THERE", TransientError("THERE is away"))
    outbox = open_outbox(here, there)
    until(lambda: len(spool.studies(DONE)) == 3)
    assert here.got == there.got == [[b"report"]] * 3
    text = outbox.counts.text()
    assert 'cxrtool_sendings_total{state="delivered"} 6.0' in text
    assert 'cxrtool_sendings_total{state="failed"} 1.0' in text
    assert sum("THERE is away" in line for line in outbox.reporter.lines) == 1
    assert "THERE takes results again" in outbox.reporter.lines
    assert sum(": sent to HERE, 1 of 1 result" in line for line in outbox.reporter.lines) == 3


def test_what_could_not_be_sent_is_sent_after_a_restart(tmp_path, spool, open_outbox):
    one = answered(spool)
    away = Scripted("ARCHIVE", *[TransientError("ARCHIVE cannot be reached")] * 9999)
    outbox = open_outbox(away)
    until(lambda: outbox.lines[0].failures > 2)
    outbox.stop(5)
    assert any("1 study in the queue" in line for line in outbox.reporter.lines)
    again = Spool(tmp_path / "spool")
    (study,) = again.studies(OUTBOX)
    assert study.sendings()["ARCHIVE"].attempts > 2
    assert study.sendings()["ARCHIVE"].why == "ARCHIVE cannot be reached"
    there = Scripted("ARCHIVE")
    open_outbox(there, of=again)
    until(lambda: again.studies(DONE))
    assert there.got == [[b"report"]]
    assert again.find(one.study).sendings()["ARCHIVE"].state == "delivered"


def test_a_destination_that_was_delivered_is_not_sent_to_again_for_another_one(spool, open_outbox):
    answered(spool)
    here = Scripted("HERE")
    away = Scripted("AWAY", *[DestinationError("AWAY does not know CXRTOOL")] * 5)
    open_outbox(here, away)
    until(lambda: spool.studies(DONE))
    assert (len(here.got), len(away.got)) == (1, 1)


def test_what_is_refused_is_kept_and_the_next_step_is_named(spool, open_outbox):
    one = answered(spool)
    outbox = open_outbox(Scripted("OLD", False), Scripted("NEW"))
    until(lambda: spool.studies(REFUSED))
    study = spool.find(one.study)
    assert len(study.files()) == 1
    assert "--sr-class" in json.loads((study.folder / "refused.json").read_text())["why"]
    said = " ".join(outbox.reporter.lines)
    assert "OLD refuses results: it takes no Comprehensive 3D SR: --sr-class" in said
    assert "--retry-refused" in said


def test_results_that_are_none_are_put_aside(spool, open_outbox):
    answered(spool)
    open_outbox(Scripted("HERE", DataError("not a DICOM file that can be sent")))
    until(lambda: spool.studies(REFUSED))


def test_an_image_that_comes_while_results_are_sent_opens_a_new_round(spool, open_outbox):
    one = answered(spool)
    here = Scripted("HERE", lambda: put(spool, one.study_uid))
    open_outbox(here)
    until(lambda: spool.studies(INCOMING))
    assert len(spool.studies(INCOMING)[0].files()) == 2
    answer(spool, b"both")
    until(lambda: spool.studies(DONE))
    assert here.got == [[b"report"], [b"both"]]


def test_waits_grow_to_a_limit_and_a_destination_may_ask_for_more(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 1.0)
    line = Line(Scripted("HERE"))
    assert [line.wait(None) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert line.wait(1e9) == 300
    line.failures = 0
    assert line.wait(20) == 20
