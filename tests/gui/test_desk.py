"""Looking at images: each is read, scored and explained."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cxrtool.core.console import Reporter
from cxrtool.core.errors import UsageError
from cxrtool.gui.desk import Desk, NotScoredError
from cxrtool.gui.heat_layers import HeatMaps
from cxrtool.workflows.gui import NO_MAPS
from tests.support.gui import LABELS, MeanEngine, model, png


class Warned(Reporter):
    def __init__(self):
        super().__init__(quiet=True)
        self.texts = []

    def warn(self, text):
        self.texts.append(text)


def look(desk, content, name="a.png"):
    film = desk.read(name, content)
    return desk.score(desk.model(), film)


def test_an_image_is_scored_by_the_model_that_is_named(desk):
    film = desk.read("a.png", png(51))
    for name, right in (("", 0.2), ("made-up", 0.2), ("other", 0.8)):
        found = desk.score(desk.model(name), film).findings
        scores = {one.label: one.probability for one in found}
        assert scores["Edema"] == pytest.approx(right, abs=0.01)
    with pytest.raises(UsageError, match="made-up, other"):
        desk.model("none")


@pytest.mark.parametrize("content", [b"", b"hello", png(9)[:60]])
def test_what_cannot_be_read_is_told_without_its_name(desk, content):
    with pytest.raises(NotScoredError) as error:
        desk.read("secret name.png", content)
    assert "secret" not in str(error.value)


def test_a_fault_of_ours_is_told_and_others_go_on():
    class Broken(MeanEngine):
        def submit(self, pixels):
            if pixels.mean() > 128:
                raise RuntimeError("no memory")
            return super().submit(pixels)

    reporter = Warned()
    desk = Desk(models=(model(Broken()),), reporter=reporter)
    with pytest.raises(NotScoredError, match=r"scoring failed \(RuntimeError: no memory\)"):
        look(desk, png(200))
    assert reporter.texts == ["scoring failed (RuntimeError: no memory)"]
    assert len(look(desk, png(20)).findings) == 3


def test_ten_at_once_get_their_own_answers(desk):
    levels = list(range(20, 220, 20))
    ready = threading.Barrier(len(levels))

    def ask(level):
        ready.wait()
        found = look(desk, png(level)).findings
        return next(one.probability for one in found if one.label == "Edema")

    with ThreadPoolExecutor(len(levels)) as pool:
        scores = list(pool.map(ask, levels))
    assert scores == pytest.approx([level / 255 for level in levels], abs=0.01)


def test_maps_are_in_the_order_that_is_asked_for(desk):
    looked = look(desk, png(20))
    found = desk.maps(desk.model(), looked, ["Fracture", "Edema"])
    assert [(label, float(heat.values.max())) for label, heat in found.items()] == [
        ("Fracture", 0.0),
        ("Edema", 3.0),
    ]


def test_without_a_run_the_answer_says_why_there_are_no_maps():
    desk = Desk(models=(model(heat=HeatMaps(None, NO_MAPS)),))
    assert desk.maps(desk.model(), look(desk, png(20)), LABELS) == NO_MAPS


def test_maps_that_fail_are_told():
    class Broken:
        cells = None

        def maps(self, *_):
            raise ValueError("odd")

    heat = HeatMaps(Broken)
    heat.start()
    desk = Desk(models=(model(heat=heat),))
    assert desk.maps(desk.model(), look(desk, png(20)), LABELS) == (
        "the heat maps failed (ValueError: odd)"
    )


def test_a_study_is_told_from_others_and_nothing_of_it_is_said(desk):
    film = desk.read("a.png", png(20))
    one, same, other = (replace(film, study=uid) for uid in ("1.2.3", "1.2.3", "1.2.4"))
    assert desk.study(film) == ""
    assert desk.study(one) == desk.study(same) != desk.study(other)
    assert "1.2.3" not in desk.study(one)
    assert Desk(models=desk.models).study(one) != desk.study(one)


def test_the_pixels_are_those_that_prediction_gives_the_network(desk, tmp_path):
    from cxrtool.images.resizing import load_pixels

    (tmp_path / "a.png").write_bytes(png(77))
    assert np.array_equal(look(desk, png(77)).pixels, load_pixels(tmp_path / "a.png", 8))
