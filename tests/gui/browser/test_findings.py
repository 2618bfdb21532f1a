"""The panel of findings: order, decisions, what is known of each, and the heat map."""

import re

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


def show(desk, look, shown, layers=None, **settings):
    """A page with one image on it, of which the server says this."""
    layers = layers or maps(*LABELS)
    desk.script = lambda asked: answers(asked, film(GREYS), {**shown, "name": asked.name}, layers)
    watched = look(**settings)
    watched.named("a.png")
    watched.settle()
    watched.page.locator("#about").click()
    return watched


def test_the_servers_order_and_digits(desk, look):
    watched = show(desk, look, row(""))
    assert list(watched.findings()) == list(LABELS)
    for one in FINDINGS:
        text = watched.finding(one["label"]).inner_text()
        assert one["shown"] in text
        assert (one["shown_threshold"] or "no threshold") in text
    apart = watched.page.locator("#table tbody.apart tr")
    assert [one.get_attribute("data-label") for one in apart.all()] == ["No Finding"]


def test_decisions_are_words_and_shapes(desk, look):
    found = (*FINDINGS[:3], finding("No Finding", 0.75))
    watched = show(desk, look, row("", findings=found))
    told = [one.inner_text() for one in watched.page.locator("#table .decision").all()]
    assert told == ["▲ positive", "▲ positive", "– no decision", "■ yes"]


def test_the_mark_stands_at_the_threshold_and_the_bar_ends_at_the_probability(desk, look):
    watched = show(desk, look, row("", findings=[finding("Edema", 0.25, 0.75), FINDINGS[2]]))
    track = watched.finding("Edema").locator(".track").bounding_box()
    mark = watched.finding("Edema").locator(".mark").bounding_box()
    fill = watched.finding("Edema").locator(".fill").bounding_box()
    assert (mark["x"] + mark["width"] / 2 - track["x"]) / track["width"] == pytest.approx(
        0.75, abs=0.03
    )
    assert fill["width"] / track["width"] == pytest.approx(0.25, abs=0.03)
    assert watched.finding("Fracture").locator(".mark").count() == 0


def test_how_well_each_is_told_apart_is_in_sight(desk, look):
    watched = show(desk, look, row(""))
    for index, label in enumerate(LABELS):
        told = watched.finding(label).locator("small").first
        assert told.is_visible()
        assert told.inner_text() == f"AUROC 0.8{index}1 (0.780 to 0.820)"
    unknown = card("first")
    unknown["labels"] = [{**one, "shown_auroc": "", "auroc": None} for one in unknown["labels"]]
    desk.about = about(unknown)
    watched = show(desk, look, row(""))
    assert "not scored on test" in watched.finding("Edema").inner_text()


def test_before_an_image_the_labels_have_their_scores(desk, watched):
    told = watched.page.locator("#table").inner_text()
    assert "AUROC (95 % interval)" in told
    for index, label in enumerate(LABELS):
        assert re.search(rf"{label}\s+0\.8{index}1 \(0\.780 to 0\.820\)", told)


def test_warnings_and_contradictions_stand_above(desk, look):
    shown = row(
        "",
        state="warned",
        warning="900 × 200 pixels is no chest X-ray's shape",
        contradictions=["No Finding is yes beside Edema"],
        why_none=["Fracture: 3 positives, too few for a threshold"],
    )
    watched = show(desk, look, shown)
    first, second = watched.page.locator("#table .warning").all()
    assert "900 × 200 pixels" in first.inner_text()
    assert "No Finding is yes beside Edema" in second.inner_text()
    table = watched.page.locator("#table table").bounding_box()
    assert second.bounding_box()["y"] < table["y"]
    why = watched.page.get_by_text("Fracture: 3 positives")
    assert why.bounding_box()["y"] > table["y"]
    assert watched.states() == [("a.png", "2 positive · warning")]


def test_undecided_is_no_decision(desk, look):
    found = [{**one, "decision": "n/a"} for one in FINDINGS]
    shown = row("", state="undecided", warning="blank: every pixel is 0", findings=found)
    watched = show(desk, look, shown)
    told = watched.page.locator("#table .warning").inner_text()
    assert "Nothing is decided" in told
    assert "every pixel is 0" in told
    decisions = {one.inner_text() for one in watched.page.locator("#table .decision").all()}
    assert decisions == {"– no decision"}
    assert watched.page.locator("#table tr.positive").count() == 0
    assert watched.states() == [("a.png", "nothing decided")]


def test_the_heat_map_is_off_until_it_is_asked_for(desk, look):
    watched = show(desk, look, row(""))
    assert not any(one.fields.get("maps") for one in desk.asked)
    plain = watched.greys()
    assert (plain[..., 0] == plain[..., 1]).all()
    watched.press("h")
    watched.settle()
    assert desk.asked[-1].fields["maps"] == "true"
    assert not desk.asked[-1].fields.get("film")
    assert watched.button("heat").get_attribute("aria-pressed") == "true"
    shown = watched.greys()
    assert (shown[..., 0] != shown[..., 1]).any()
    assert watched.page.locator("#where").inner_text() == "Where the network looked for Edema"
    watched.button("heat").click()
    assert (watched.greys() == plain).all()


def test_the_slider_is_its_opacity(desk, look):
    watched = show(desk, look, row(""))
    plain = watched.greys().astype(int)
    watched.press("h")
    watched.settle()
    slider = watched.page.get_by_label("Opacity of the heat map")
    changes = []
    for value in ("0", "30", "60", "100"):
        slider.fill(value)
        assert watched.page.locator("#opaque").inner_text() == f"{value} %"
        changes.append(np.abs(watched.greys().astype(int) - plain).mean())
    assert changes[0] == 0
    assert changes == sorted(set(changes))
    slider.focus()
    watched.press("ArrowLeft")
    assert watched.page.locator("#opaque").inner_text() == "99 %"


def test_cells_are_a_grid_over_the_film(desk, look):
    watched = show(desk, look, row(""))
    watched.press("h")
    watched.settle()
    watched.page.get_by_label("Opacity of the heat map").fill("0")
    plain = watched.greys().astype(int)
    watched.page.get_by_label("show cells").check()
    changed = np.abs(watched.greys().astype(int) - plain).sum(-1) > 30
    seen = np.argwhere(plain[..., 3] == 255)
    (top, left), (bottom, right) = seen.min(0), seen.max(0)
    height, width = bottom - top, right - left
    lines = [top + round(height * share) for share in (0.25, 0.5, 0.75)]
    columns = [left + round(width * share) for share in (0.25, 0.5, 0.75)]
    for line in lines:
        assert changed[line - 2 : line + 3].sum(1).max() > 0.9 * width
    for column in columns:
        assert changed[:, column - 2 : column + 3].sum(0).max() > 0.9 * height
    assert changed.mean() < 0.1


def test_where_nothing_speaks_it_is_said(desk, look):
    layers = maps(*LABELS)
    layers["layers"][1]["png"] = ""
    watched = show(desk, look, row(""), layers)
    plain = watched.greys()
    watched.press("h")
    watched.settle()
    watched.finding(LABELS[1]).click()
    watched.frame()
    told = watched.page.locator("#where").inner_text()
    assert told == f"Nothing in the image speaks for {LABELS[1]}"
    assert (watched.greys() == plain).all()


def test_a_model_without_maps_says_why(desk, look):
    desk.about = about(card("first", maps="an exported model has no maps"))
    watched = show(desk, look, row(""))
    assert watched.button("heat").is_disabled()
    assert "an exported model has no maps" in watched.page.locator("#where").inner_text()
    watched.press("h")
    watched.settle()
    assert not any(one.fields.get("maps") for one in desk.asked)


def test_findings_are_chosen_by_keyboard_and_kept_from_image_to_image(desk, look):
    watched = show(desk, look, row(""))
    watched.named("b.png")
    watched.settle()
    watched.page.locator("#table input").first.focus()
    watched.press("ArrowDown")
    chosen = watched.page.locator("#table tr.chosen")
    assert chosen.get_attribute("data-label") == LABELS[1]
    assert chosen.locator("input").is_checked()
    assert watched.page.locator("#about").inner_text() == "b.png"  # the arrow went no further
    watched.press("k")
    watched.settle()
    assert watched.page.locator("#about").inner_text() == "a.png"
    assert chosen.get_attribute("data-label") == LABELS[1]
    watched.press("ArrowDown")
    assert chosen.get_attribute("data-label") == LABELS[2]


def test_the_card_and_what_it_is_not_are_in_sight(desk, look):
    desk.about = about(
        card("first", warnings=["Too good to be true."], banner="Trained on drawings.")
    )
    watched = show(desk, look, row(""))
    watched.page.mouse.wheel(0, 5000)
    for text in (
        "not a medical device",
        "mean AUROC on test 0.812 (0.794 to 0.829)",
        "densenet121 at 320 px",
        "Too good to be true.",
        "Trained on drawings.",
        "Model card",
    ):
        assert watched.page.get_by_text(text).first.is_visible()
