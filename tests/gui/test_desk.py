"""Looking at images, one after the other."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from cxrtool.core.console import Reporter
from cxrtool.gui.desk import Desk
from cxrtool.gui.heat_layers import HeatMaps
from cxrtool.workflows.gui import NO_MAPS
from tests.support.gui import (
    Explainer,
    MeanEngine,
    heat_maps,
    last,
    png,
    scorer,
    waiting,
    waiting_files,
)
from tests.support.serving import Parts, probabilities


class BrokenEngine(MeanEngine):
    def submit(self, pixels):
        if pixels.mean() > 128:
            raise RuntimeError("no <memory>")
        return super().submit(pixels)


def test_findings_do_not_wait_for_the_maps(uploads):
    let_go = threading.Event()

    def slow():
        let_go.wait(10)
        return Explainer()

    heat = HeatMaps(slow)
    heat.start()
    parts = Desk(scorer(), heat, uploads).look_at(waiting(uploads, ("a.png", png(10))))
    assert 'data-part="queue"' in next(parts)
    assert 'data-part="answer"' in next(parts)
    let_go.set()
    assert 'data-part="maps"' in next(parts)


def test_maps_come_in_the_order_of_the_findings(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("a.png", png(10)))))
    labels = [row["data-label"] for row in Parts(text).all("tr") if "data-label" in row]
    assert labels == ["Fracture", "Edema", "No Finding"]
    maps = Parts(text.partition('data-part="maps"')[2]).all("img")
    assert [one["data-row"] for one in maps] == ["1"]


def test_nothing_is_done_for_who_does_not_listen(desk, uploads, monkeypatch):
    monkeypatch.setattr("cxrtool.gui.uploads.LISTEN_SECONDS", 0.1)
    paths = waiting(uploads, ("a.png", png(10)), ("b.png", png(90)))
    uploads.ask(paths, "s")
    assert list(desk.look_at(paths)) == []
    assert waiting_files(uploads) == 0
    paths = waiting(uploads, ("a.png", png(10)))
    uploads.ask(paths, "s")
    with uploads.listening("s"):
        assert "Edema" in last(desk.look_at(paths))
    assert uploads._listening == {}


def test_a_delivery_only_grows_and_no_image_outlives_its_findings(desk, uploads):
    paths = waiting(uploads, ("a.png", png(10)), ("b.png", b"x"), ("c.png", png(90)))
    texts = []
    for text in desk.look_at(paths):
        texts.append(text)
        done = Parts(text).all("template", **{"data-part": "answer"})
        assert waiting_files(uploads) == 3 - len(done)
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    kinds = [part["data-part"] for part in Parts(texts[-1]).all("template")]
    assert kinds == ["queue", "answer", "answer", "answer", "maps", "maps"]


def test_a_file_that_is_no_image_is_a_message_without_paths(desk, uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    text = last(desk.look_at([path]))
    assert Parts(text).all("template", **{"data-state": "failed"})
    assert "not a" in Parts(text).text()
    assert path not in text
    assert "Traceback" not in text


def test_a_reader_who_leaves_leaves_no_file(desk, uploads):
    parts = desk.look_at(waiting(uploads, ("a.png", png(10)), ("b.png", png(20))))
    next(parts)
    parts.close()
    assert waiting_files(uploads) == 0


def test_a_fault_of_ours_is_told_and_the_others_go_on(uploads):
    told = []

    class Listening(Reporter):
        def warn(self, text):
            told.append(text)

    desk = Desk(scorer(BrokenEngine()), heat_maps(), uploads, Listening(quiet=True))
    text = last(desk.look_at(waiting(uploads, ("a.png", png(240)), ("b.png", png(10)))))
    states = [part.get("data-state") for part in Parts(text).all("template")]
    assert states == [None, "failed", "done", None]
    assert told == ["scoring failed (RuntimeError: no <memory>)"]
    assert "no &lt;memory&gt;" in text


def test_ten_at_once_get_their_own_answers(desk, uploads):
    levels = [20 * n for n in range(1, 11)]
    paths = waiting(uploads, *((f"{level}.png", png(level)) for level in levels))
    with ThreadPoolExecutor(10) as pool:
        texts = list(pool.map(lambda path: last(desk.look_at([path])), paths))
    for level, text in zip(levels, texts, strict=True):
        assert f"{level}.png" in text
        assert probabilities(text)["Edema"] == pytest.approx(level / 255, abs=1e-6)


def test_without_a_run_the_answer_says_why_there_are_no_maps(uploads):
    text = last(
        Desk(scorer(), HeatMaps(None, NO_MAPS), uploads).look_at(
            waiting(uploads, ("a.png", png(10)))
        )
    )
    assert "An exported model has no heat maps" in text
    assert 'data-part="maps"' not in text
