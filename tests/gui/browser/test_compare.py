"""Two side by side: another image or another run, moved together, each with its own window."""

import numpy as np
import pytest

from tests.support.scripted_desk import (
    FINDINGS,
    GREYS,
    LABELS,
    about,
    answers,
    card,
    film,
    finding,
    maps,
    row,
)

OTHERS = (finding("Edema", 0.111), *FINDINGS[1:])


@pytest.fixture
def runs(desk):
    """Two runs, of which the second says something else."""
    second = card("second", warnings=["Scored on patients of its own training."])
    second["labels"] = [{**one, "shown_auroc": "0.711 (0.7 to 0.72)"} for one in second["labels"]]
    desk.about = about(card("first"), second)

    def script(asked):
        found = OTHERS if asked.fields["model"] == "second" else FINDINGS
        return answers(asked, film(GREYS), row(asked.name, findings=found), maps(*LABELS))

    desk.script = script
    return desk


def partner(watched):
    return watched.page.get_by_label("Compare with").locator("option:checked").inner_text()


def compare(watched, *names):
    watched.named(*names)
    watched.settle()
    watched.page.locator("#about").click()
    watched.press("c")
    watched.settle()


def test_the_one_before_in_its_study_is_compared(desk, watched):
    studies = {"b.png": "x", "c.png": "x"}
    desk.script = lambda asked: answers(
        asked, film(GREYS), row(asked.name, study=studies.get(asked.name, "")), maps()
    )
    watched.named("a.png", "b.png", "c.png")
    watched.settle()
    for name, other in (("c.png", "b.png"), ("a.png", "b.png")):
        watched.open_image(name)
        watched.button("compare").click()
        watched.settle()
        assert (watched.told("name"), partner(watched)) == (name, other)
        watched.button("compare").click()


def test_both_have_their_findings(desk, watched):
    def script(asked):
        found = FINDINGS if asked.name == "a.png" else OTHERS
        return answers(asked, film(GREYS), row(asked.name, findings=found), maps())

    desk.script = script
    compare(watched, "a.png", "b.png")
    assert watched.page.locator("#table thead th").all_inner_texts() == [
        "Finding",
        "A a.png",
        "B b.png",
    ]
    assert watched.findings(0) == {one["label"]: one["probability"] for one in FINDINGS}
    assert watched.findings(1) == {one["label"]: one["probability"] for one in OTHERS}
    edema = watched.finding("Edema").locator("td")
    assert "positive" in edema.nth(0).inner_text()
    assert "negative" in edema.nth(1).inner_text()
    assert "threshold 0.500" in edema.nth(1).inner_text()


def test_zoom_and_place_are_shared_and_windows_are_not(desk, watched):
    compare(watched, "a.png", "b.png")
    assert (watched.greys(0) == watched.greys(1)).all()
    x, y = watched.middle()
    watched.page.mouse.move(x + 30, y + 10)
    watched.wheel(-500)
    watched.page.mouse.down()
    watched.page.mouse.move(x + 60, y + 40)
    watched.page.mouse.up()
    assert (watched.greys(0) == watched.greys(1)).all()
    before = watched.greys(0).astype(int)
    watched.page.mouse.click(*watched.middle(1))
    watched.press("i")
    assert (watched.greys(0) == before).all()
    seen = before[..., 3] == 255
    inverted = watched.greys(1)[..., 0].astype(int)
    assert np.abs(255 - inverted - before[..., 0])[seen].max() <= 2
    watched.press("s", "i")
    assert (watched.greys(0) == watched.greys(1)).all()


def test_another_image_is_chosen_from_the_list(desk, watched):
    compare(watched, "a.png", "b.png", "c.png")
    assert partner(watched) == "b.png"
    watched.page.get_by_label("Compare with").select_option(label="c.png")
    watched.settle()
    assert watched.page.locator("#table thead th").last.inner_text() == "B c.png"
    watched.entry("c.png").get_by_role("button", name="Remove c.png").click()
    watched.settle()
    assert watched.pane(1).is_hidden()


def test_one_image_by_two_runs(runs, watched):
    compare(watched, "a.png")
    assert partner(watched) == "second"
    assert watched.page.locator("#table thead th").all_inner_texts()[1:] == ["A first", "B second"]
    assert watched.findings(0)["Edema"] == 0.91
    assert watched.findings(1)["Edema"] == 0.111
    auroc = watched.finding("Edema").locator("th small").inner_text()
    assert "0.801 (0.780 to 0.820)" in auroc
    assert "0.711 (0.7 to 0.72)" in auroc


def test_another_run_scores_what_is_open_and_the_others_when_opened(runs, watched):
    watched.named("a.png", "b.png")
    watched.settle()
    before = len(runs.asked)
    watched.page.get_by_label("Run").select_option("second")
    watched.settle()
    assert watched.findings()["Edema"] == 0.111
    assert watched.page.get_by_text("Scored on patients of its own training").is_visible()
    assert watched.page.title().startswith("second")
    assert runs.names[before:] == ["a.png"]
    watched.open_image("b.png")
    assert watched.findings()["Edema"] == 0.111
    watched.page.get_by_label("Run").select_option("first")
    watched.settle()
    assert watched.findings()["Edema"] == 0.91
    assert len(runs.asked) == before + 2


def test_with_nothing_to_compare_the_button_rests(desk, watched):
    watched.named("a.png")
    watched.settle()
    assert watched.button("compare").is_disabled()
    watched.page.locator("#about").click()
    watched.press("c")
    assert watched.pane(1).is_hidden()


def test_two_runs_stay_beside_each_other_from_image_to_image(runs, watched):
    watched.named("a.png", "b.png")
    watched.settle()
    watched.button("compare").click()
    watched.settle()
    watched.page.get_by_label("Compare with").select_option("run second")
    watched.settle()
    watched.open_image("b.png")
    assert partner(watched) == "second"
    assert watched.page.locator("#about").inner_text() == "b.png"
    assert watched.findings(0)["Edema"] == 0.91
    assert watched.findings(1)["Edema"] == 0.111


def test_another_run_is_that_of_both_images(runs, watched):
    compare(watched, "a.png", "b.png")
    watched.page.get_by_label("Run").select_option("second")
    watched.settle()
    assert watched.findings(0)["Edema"] == 0.111
    assert watched.findings(1)["Edema"] == 0.111
