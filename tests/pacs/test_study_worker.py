"""Studies and the process that scores them, which may die on them."""

import time

import pytest

from cxrtool.core.errors import RunError
from cxrtool.pacs import study_worker as module
from cxrtool.pacs.listen_counts import ListenCounts
from cxrtool.pacs.scoring_process import Model
from cxrtool.pacs.spool import INCOMING, OUTBOX, REFUSED, Spool
from cxrtool.pacs.study_worker import StudyWorker
from tests.support.lines import Lines
from tests.support.spooling import put

PATIENCE = 60
"""Seconds for what a busy machine does."""


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(module, "MODULE", "tests.support.scripted_scoring")
    monkeypatch.setattr(module, "PAUSE", 0.01)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def start(spool):
    started = []

    def begin(*models):
        model = Model(runs="", models=models or (None,))
        worker = StudyWorker(model, spool, ListenCounts(), Lines(), quiet=0)
        started.append(worker)
        return worker

    yield begin
    for worker in started:
        worker.stop(5)


def until(state):
    end = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_quiet_studies_get_results_and_a_line_each(spool, start):
    worker = start()
    assert worker.wait_until_ready()["model"] == "scripted"
    one = put(spool)
    until(lambda: spool.studies(OUTBOX))
    (study,) = spool.studies(OUTBOX)
    assert [path.read_bytes() for path in study.result_files()] == [b"report"]
    until(lambda: len(worker.reporter.lines) == 2)
    assert worker.reporter.lines[0] == "it is scripted"
    assert worker.reporter.lines[1].startswith(
        f"study {one.study[:10]}: 1 image, 1 scored (others: a lateral), 1 result, "
    )
    assert 'cxrtool_studies_total{state="answered"} 1.0' in worker.counts.text()
    assert list((spool.folder / "making").iterdir()) == []


@pytest.mark.parametrize("how", ["DIES", "FAILS"])
def test_a_study_that_fails_twice_is_answered_by_a_report_that_says_so(spool, start, how):
    bad = put(spool, StudyDescription=how)
    good = put(spool)
    worker = start()
    until(lambda: len(spool.studies(OUTBOX)) == 2)
    assert spool.find(good.study).result_files()[0].read_bytes() == b"report"
    said = spool.find(bad.study).result_files()[0].read_text()
    assert ("signal 9" if how == "DIES" else "ValueError") in said
    assert 'cxrtool_studies_total{state="crashed"} 2.0' in worker.counts.text()
    assert 'cxrtool_studies_total{state="failed"} 1.0' in worker.counts.text()
    assert worker.wait_until_ready()


def test_a_study_that_cannot_be_answered_is_put_aside_and_told(spool, start):
    one = put(spool, StudyDescription="MIXED")
    worker = start()
    until(lambda: spool.studies(REFUSED))
    until(lambda: len(worker.reporter.lines) == 2)
    assert worker.reporter.lines[1] == f"study {one.study[:10]} is put aside: of several patients"
    assert len(spool.find(one.study).files()) == 1


def test_studies_wait_where_nothing_can_be_written(spool, start):
    put(spool, StudyDescription="FULL")
    worker = start()
    until(lambda: any("disk is full" in line for line in worker.reporter.lines))
    assert len(spool.studies(INCOMING)) == 1


def test_a_study_at_work_stays_in_the_queue_when_the_listener_ends(spool, start):
    put(spool, StudyDescription="SLOW")
    worker = start()
    worker.wait_until_ready()
    until(lambda: list((spool.folder / "making").iterdir()))
    worker.stop(0)
    assert len(spool.studies(INCOMING)) == 1
    assert spool.claim_quiet(0) is not None
    assert worker.reporter.lines == ["it is scripted"]


@pytest.mark.parametrize(("name", "said"), [("none", "no run 'none'"), ("dies", "exit code 3")])
def test_a_model_that_cannot_be_loaded_is_an_error(start, name, said):
    with pytest.raises(RunError, match=said):
        start(name).wait_until_ready()
