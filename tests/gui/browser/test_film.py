"""The film as it is looked at: zoom, window, turns, and what stands beside it."""

import re

import numpy as np
import pytest

from tests.support.scripted_desk import answers, film, maps, row, text_of, window
from tests.support.watched_page import work_of

WIDE, HIGH = 400, 300
RAMP = (np.arange(WIDE * HIGH, dtype=np.uint32) * 4095 // (WIDE * HIGH - 1)).astype(np.uint16)
RAMP = RAMP.reshape(HIGH, WIDE)
STEEP = window(2000, 1000, name="STEEP")
TABLE = {
    "kind": "table",
    "name": "TABLE",
    "greys": text_of((255 - np.arange(4096) // 16).astype(np.uint8)),
}
MADE = film(
    RAMP,
    window(2048, 4096, name="WIDE"),
    STEEP,
    TABLE,
    intercept=-100.0,
    spacing=[0.5, 0.25],
    sides=["R", "L"],
)


@pytest.fixture
def films(desk, look):
    """Open a page with one film on it."""

    def opened(shown=MADE, **settings):
        desk.script = lambda asked: answers(asked, shown, row(asked.name), maps("Edema"))
        watched = look(**settings)
        watched.named("film.dcm")
        watched.settle()
        return watched

    return opened


def grey(watched, index=0):
    return watched.greys(index)[..., 0].astype(int)


def value_at(watched, x, y):
    watched.page.mouse.move(x, y)
    watched.frame()
    column, line, value = re.match(r"(\d+), (\d+): (.+)", watched.told("value")).groups()
    return int(column), int(line), float(value)


def drag(watched, right, down, button="left", start=None):
    x, y = start or watched.middle()
    watched.page.mouse.move(x, y)
    watched.page.mouse.down(button=button)
    watched.page.mouse.move(x + right / 2, y + down / 2)
    watched.page.mouse.move(x + right, y + down)
    watched.page.mouse.up(button=button)
    watched.frame()


def test_the_film_is_whole_at_first_and_as_large_as_fits(films):
    watched = films()
    shown = watched.greys()
    seen = np.argwhere(shown[..., 3] > 0)
    (top, left), (bottom, right) = seen.min(0), seen.max(0) + 1
    height, width = shown.shape[:2]
    assert (right - left == width) or (bottom - top == height)
    assert (right - left) / (bottom - top) == pytest.approx(WIDE / HIGH, rel=0.02)


def test_one_to_one_shows_the_greys_of_the_first_presentation(films):
    watched = films()
    watched.press("1")
    assert watched.told("zoom") == "100 %"
    shown = watched.greys()
    seen = np.argwhere(shown[..., 3] == 255)
    (top, left), (bottom, right) = seen.min(0), seen.max(0) + 1
    assert (bottom - top, right - left) == (HIGH, WIDE)
    expected = ((RAMP - 100.0) - 2047.5) / 4095 * 255 + 127.5
    found = shown[top:bottom, left:right, 0]
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 1


def test_the_value_under_the_pointer_is_the_films(films):
    watched = films()
    x, y = watched.middle()
    for right, down in ((0, 0), (-90, 60), (120, -100)):
        column, line, value = value_at(watched, x + right, y + down)
        assert value == RAMP[line, column] - 100


def test_the_wheel_zooms_at_the_pointer(films):
    watched = films()
    x, y = watched.middle()
    before = value_at(watched, x + 100, y - 80)
    zoom = int(watched.told("zoom").split()[0])
    watched.wheel(-400)
    after = value_at(watched, x + 100, y - 80)
    assert int(watched.told("zoom").split()[0]) == pytest.approx(zoom * np.exp(0.6), abs=2)
    assert after[:2] == pytest.approx(before[:2], abs=1)


def test_dragging_pans_and_a_double_click_resets(films):
    watched = films()
    first = grey(watched)
    watched.press("+", "+", "+")
    x, y = watched.middle()
    before = value_at(watched, x, y)
    drag(watched, 60, 30)
    assert value_at(watched, x + 60, y + 30)[:2] == pytest.approx(before[:2], abs=1)
    watched.press("r", "i")
    drag(watched, 40, 40, "right")
    watched.page.mouse.dblclick(x, y)
    assert np.abs(grey(watched) - first).max() <= 1
    assert watched.told("window") == "centre 2048, width 4096"


@pytest.mark.parametrize("how", ["right", "held", "mode"])
def test_window_and_level_by_dragging(films, how):
    watched = films()
    if how == "mode":
        watched.button("windows").click()
        watched.frame()
        assert watched.button("windows").get_attribute("aria-pressed") == "true"
    if how == "held":
        watched.page.keyboard.down("w")
    value = value_at(watched, *watched.middle())
    drag(watched, -100, -50, "right" if how == "right" else "left")
    if how == "held":
        watched.page.keyboard.up("w")
        watched.frame()
        assert watched.button("windows").get_attribute("aria-pressed") == "false"
    centre, width = map(
        float, re.match(r"centre (.+), width (.+)", watched.told("window")).groups()
    )
    assert width < 4096
    assert centre < 2048
    assert value_at(watched, *watched.middle()) == value  # it did not pan
    expected = np.clip((RAMP[HIGH // 2, WIDE // 2] - 100 - centre) / width * 255 + 127.5, 0, 255)
    shown = grey(watched)
    assert shown[shown.shape[0] // 2, shown.shape[1] // 2] == pytest.approx(expected, abs=3)
    select = watched.page.get_by_label("Presentation", exact=True)
    assert select.locator("option:checked").inner_text() == "Your window"


def test_presentations_by_list_and_key(films):
    watched = films()
    wide = grey(watched)
    select = watched.page.get_by_label("Presentation", exact=True)
    assert select.locator("option").all_inner_texts() == ["WIDE", "STEEP", "TABLE"]
    select.select_option("STEEP")
    steep = grey(watched)
    assert (steep == 255).sum() > (wide == 255).sum() + 1000
    watched.page.locator("#about").click()
    select.evaluate("one => one.blur()")
    watched.press("p")
    assert select.locator("option:checked").inner_text() == "TABLE"
    shown = grey(watched)
    middle = RAMP[HIGH // 2, WIDE // 2]
    assert shown[shown.shape[0] // 2, shown.shape[1] // 2] == pytest.approx(
        255 - middle // 16, abs=2
    )


def test_a_window_begins_where_a_table_ends(films):
    """Right-dragging by nothing but a pixel must not make another picture of it."""
    table = (np.clip((np.arange(4096) - 1000) / 2000, 0, 1) * 255).astype(np.uint8)
    made = film(RAMP, {"kind": "table", "name": "T", "greys": text_of(table)})
    watched = films(made)
    before = grey(watched)
    drag(watched, 1, 0, "right")
    assert watched.told("window").startswith("centre ")
    assert np.abs(grey(watched) - before).max() <= 4


def test_invert(films):
    watched = films()
    before, seen = grey(watched), watched.greys()[..., 3] == 255
    watched.press("i")
    assert np.abs(255 - before - grey(watched))[seen].max() <= 2
    assert watched.button("invert").get_attribute("aria-pressed") == "true"
    watched.button("invert").click()
    assert (grey(watched) == before).all()


def test_where_white_is_zero_a_window_is_turned_over(films):
    plain = grey(films(film(RAMP)))
    turned = grey(films(film(RAMP, white_is_zero=True)))
    inside = plain > 0
    assert np.abs(255 - plain - turned)[inside & (turned > 0)].max() <= 2


def test_turning_takes_the_markers_along(films):
    watched = films()
    first = grey(watched)
    markers = {}
    for turns in range(4):
        markers[turns] = {
            edge: watched.told(f"edge.{edge}") for edge in ("left", "top", "right", "bottom")
        }
        shown = watched.greys()
        seen = np.argwhere(shown[..., 3] == 255)
        corner = tuple(seen.min(0)), tuple(seen.max(0))
        # The darkest corner is the film's first pixel: at the left and at the top.
        dark = int(shown[corner[0]][0]), int(shown[corner[1]][0])
        assert (dark[0] < dark[1]) == (turns in (0, 3))
        watched.press("r")
    assert [list(one.values()) for one in markers.values()] == [
        ["R", "", "L", ""],
        ["", "R", "", "L"],
        ["L", "", "R", ""],
        ["", "L", "", "R"],
    ]
    assert (grey(watched) == first).all()


def test_the_ruler_measures_in_the_direction_of_the_screen(films):
    watched = films()
    for spacing in (0.25, 0.5):
        length = float(watched.told("ruler").split()[0])
        wide = watched.pane().locator(".ruler i").bounding_box()["width"]
        zoom = watched.page.evaluate(
            "Number(document.querySelector('.zoom').textContent.split(' ')[0])"
        )
        assert length == pytest.approx(wide / (zoom / 100) * spacing, rel=0.02)
        watched.press("r")


def test_without_spacing_and_sides_nothing_is_claimed(films):
    watched = films(film(RAMP))
    assert not watched.pane().locator(".ruler").is_visible()
    assert watched.pane().locator(".edge:visible").count() == 0


def test_sharp_on_a_fine_screen(films):
    watched = films(device_scale_factor=2)
    box = watched.pane().locator("canvas").bounding_box()
    shown = watched.greys()
    assert shown.shape[1] == pytest.approx(2 * box["width"], abs=1)
    watched.press("1")
    seen = np.argwhere(watched.greys()[..., 3] == 255)
    assert tuple(seen.max(0) + 1 - seen.min(0)) == (HIGH, WIDE)


def test_arrows_on_the_film_pan_or_change_the_window(films):
    watched = films()
    watched.press("+", "+", "+", "+")
    before = value_at(watched, *watched.middle())
    watched.pane().locator("canvas").focus()
    watched.press("ArrowRight")
    after = value_at(watched, *watched.middle())
    assert after[0] > before[0]
    assert after[1] == before[1]
    watched.press("w", "ArrowLeft")
    assert float(watched.told("window").split()[-1]) < 4096
    watched.press("w", "f")
    assert value_at(watched, *watched.middle())[:2] == pytest.approx((WIDE // 2, HIGH // 2), abs=1)


def test_fingers_pan_and_pinch(films):
    watched = films(has_touch=True, viewport={"width": 390, "height": 844}, is_mobile=True)
    session = watched.page.context.new_cdp_session(watched.page)
    x, y = watched.middle()

    def touch(kind, *points):
        places = [{"x": one, "y": other, "id": index} for index, (one, other) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    zoom = int(watched.told("zoom").split()[0])
    touch("touchStart", (x - 30, y), (x + 30, y))
    for apart in (40, 50, 60):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    watched.frame()
    assert int(watched.told("zoom").split()[0]) == pytest.approx(2 * zoom, rel=0.05)
    before = watched.greys()[..., 0].astype(int)
    touch("touchStart", (x, y))
    touch("touchMove", (x + 20, y))
    touch("touchMove", (x + 40, y))
    touch("touchEnd")
    assert watched.page.evaluate("scrollY") == 0
    after = watched.greys()[..., 0].astype(int)
    moved = 40 * watched.page.evaluate("devicePixelRatio")
    assert np.abs(after[:, int(moved) :] - before[:, : -int(moved)]).mean() < 2


def test_a_large_films_window_changes_at_once(films):
    """Much slower than on a quiet machine would be a loop over objects, not numbers."""
    large = np.resize(RAMP, (3000, 2500))
    watched = films(film(large))
    spent = [work_of(watched.page, lambda: watched.press("i")) for _ in range(6)]
    assert sorted(spent)[2] < 0.3
