"""For everybody: names and contrast, keys, narrow screens, other languages, both schemes."""

import pytest

from tests.support.scripted_desk import (
    FINDINGS,
    GREYS,
    about,
    answers,
    card,
    film,
    finding,
    maps,
    row,
    window,
)

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RULES["resultTypes"] = ["violations"]
LONG = "Enlarged Cardiomediastinum with a Name that no Table was made for, Donaudampfschifffahrt"
SIZES = ((1600, 1000), (1280, 800), (390, 844))


def script(asked):
    """Each state by the file's name."""
    name = asked.name
    found = {"findings": [*FINDINGS, finding(LONG, 0.4)]}
    if name == "warned.dcm":
        found |= {"state": "warned", "warning": "no PA view", "contradictions": ["both"]}
    if name == "undecided.dcm":
        none = [{**one, "decision": "n/a"} for one in FINDINGS]
        found = {"state": "undecided", "warning": "blank: every pixel is 0", "findings": none}
    if name == "failed.dcm":
        found = {"state": "failed", "error": "is no image", "findings": [], "thumb": ""}
    made = film(GREYS, window(100, 200), spacing=[1, 1], sides=["R", "L"])
    labels = [one["label"] for one in found["findings"]]
    return answers(asked, made, row(name, study="x", why_none=["why"], **found), maps(*labels))


def first_card():
    made = card("first", warnings=["Careful."], banner="Drawn.")
    made["labels"].append({**made["labels"][0], "label": LONG})
    return made


@pytest.fixture
def states(desk, look):
    """Walk through every state of the page: its name, each time it is there."""

    def walk(**settings):
        desk.about = about(first_card(), card("second"), limits={"files": 20, "mb": 1})
        desk.script = script
        watched = look(**settings)
        yield "empty", watched
        desk.held.clear()
        watched.named(
            "plain.dcm", "warned.dcm", "undecided.dcm", "failed.dcm", f"{'long' * 20}.dcm"
        )
        watched.page.locator('#images [data-state="work"]').first.wait_for()
        yield "at work", watched
        desk.held.set()
        watched.settle()
        yield "findings", watched
        for name in ("warned", "undecided", "failed", "longlong", "plain"):
            watched.open_image(name)
            yield name, watched
        watched.button("heat").click()
        watched.page.get_by_label("show cells").check()
        watched.settle()
        yield "heat map", watched
        watched.button("compare").click()
        watched.settle()
        yield "two", watched
        watched.page.get_by_text("Export").click()
        yield "export", watched
        watched.page.get_by_text("Export").click()
        watched.named("1.png", content=bytes(2**20 + 1))
        watched.page.locator(".problem #status").wait_for()
        yield "problem", watched
        watched.button("help").click()
        yield "help", watched

    return walk


@pytest.mark.parametrize(("scheme", "size"), [("light", SIZES[1]), ("dark", SIZES[2])])
def test_axe_finds_nothing(states, scheme, size):
    checker, told = axe.Axe(), []
    for state, watched in states(
        color_scheme=scheme, viewport={"width": size[0], "height": size[1]}
    ):
        if state == "findings":
            continue  # as "plain"
        watched.frame()
        found = checker.run(watched.page, options=RULES)
        told += [
            (state, one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in found.response["violations"]
        ]
        ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, ground[4:-1].split(","))) / 3
        assert (light > 128) == (scheme == "light")
    assert told == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_nothing_is_cut_off_at_the_side(states, size):
    width = size[0]
    for state, watched in states(viewport={"width": width, "height": size[1]}):
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, state
        for place in ("#findings", "#table table", "header", ".toolbar"):
            wide = watched.page.evaluate(
                "(place) => { const one = document.querySelector(place); "
                "return one ? one.scrollWidth - one.clientWidth : 0; }",
                place,
            )
            assert wide <= 0, (state, place)


def test_a_phone_has_the_film_then_the_queue_then_the_findings(states):
    walk = states(viewport={"width": 390, "height": 844})
    watched = next(page for state, page in walk if state == "findings")
    tops = [
        watched.page.locator(one).first.bounding_box()["y"]
        for one in ("canvas", "#images", "#table")
    ]
    assert tops == sorted(tops)
    entries = watched.page.locator("#images li").all()
    assert len({round(one.bounding_box()["y"]) for one in entries}) == 1  # a strip
    canvas = watched.page.locator("canvas").first.bounding_box()
    assert canvas["height"] > 844 / 3
    assert canvas["width"] > 380


def test_the_help_names_every_key_and_gives_the_focus_back(desk, watched):
    watched.named("a.png")
    watched.settle()
    watched.button("invert").focus()
    watched.press("?")
    dialog = watched.page.get_by_role("dialog")
    keys = dialog.locator("kbd").all_inner_texts()
    assert {"J", "K", "W", "I", "R", "F", "1", "H", "C", "+", "-", "?"} <= set(keys)
    watched.press("i")  # while it is open, keys do nothing behind it
    watched.press("Escape")
    dialog.wait_for(state="hidden")
    assert watched.button("invert").get_attribute("aria-pressed") == "false"
    assert watched.page.evaluate("document.activeElement.dataset.act") == "invert"


def test_single_keys_can_be_switched_off(desk, watched):
    watched.named("a.png")
    watched.settle()
    watched.button("help").click()
    watched.page.get_by_label("Single keys work").uncheck()
    watched.page.get_by_role("button", name="Close").click()
    watched.page.locator("#about").click()
    watched.press("i", "h", "r")
    assert watched.button("invert").get_attribute("aria-pressed") == "false"
    assert watched.button("heat").get_attribute("aria-pressed") == "false"


def test_everything_is_reached_by_tab_and_seen_there(desk, watched):
    watched.named("a.png", "b.png")
    watched.settle()
    reached, seen = set(), True
    for _ in range(60):
        watched.page.keyboard.press("Tab")
        name, outline = watched.page.evaluate(
            """() => {
                const one = document.activeElement;
                const { outlineStyle, outlineWidth } = getComputedStyle(one);
                const name = one.dataset.act || one.id || one.className || one.name || one.tagName;
                return [name, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
            }"""
        )
        reached.add(name)
        seen = seen and (outline or name in ("BODY", "HTML"))
    wanted = {"help", "files", "folder", "open", "remove", "clear", "windows", "presentation"}
    wanted |= {"invert", "rotate", "fit", "actual", "reset", "compare", "heat", "finding", "CANVAS"}
    assert wanted <= reached
    assert seen


@pytest.mark.parametrize("locale", ["de-DE", "fr-FR"])
def test_numbers_are_the_same_in_every_language(desk, look, locale):
    shown = film(GREYS, window(1000.5, 2345.75), slope=0.5, intercept=-7.25, spacing=[1, 1])
    desk.script = lambda asked: answers(asked, shown, row(asked.name), maps())
    watched = look(locale=locale)
    watched.named("a.png")
    watched.settle()
    watched.page.mouse.move(*watched.middle())
    watched.frame()
    assert watched.told("window") == "centre 1000.5, width 2345.75"
    assert "," not in watched.told("value").partition(":")[2]
    assert "." in watched.told("value")
    assert watched.finding("Edema").locator("td").first.inner_text() == "0.910"


def test_less_motion_where_it_is_asked_for(desk, look):
    watched = look(reduced_motion="reduce")
    desk.held.clear()
    watched.named("a.png")
    watched.page.locator('#images [data-state="work"]').wait_for()
    moving = watched.page.evaluate("document.getAnimations().length")
    desk.held.set()
    watched.settle()
    assert moving == 0
