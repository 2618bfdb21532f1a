"""The queue: order, groups, two at a time, what is kept and what is let go."""

import hashlib
import threading

import numpy as np
import pytest

from tests.support.scripted_desk import GREYS, LABELS, RefusedError, answers, film, maps, row

NAMES = ("a.png", "b.png", "c.png", "d.png")


def test_the_first_is_open_and_all_keep_their_order(desk, watched):
    watched.named(*NAMES)
    watched.settle()
    assert watched.states() == [(name, "2 positive") for name in NAMES]
    assert watched.page.locator("#about").inner_text() == "a.png"
    assert watched.page.locator("#images .thumb img").count() == 4
    watched.named("e.png")
    watched.settle()
    assert [name for name, _ in watched.states()] == [*NAMES, "e.png"]
    assert watched.page.locator("#about").inner_text() == "e.png"


def test_states_while_at_work(desk, watched):
    desk.held.clear()
    watched.named(*NAMES)
    watched.page.locator('#images [data-state="work"]').nth(1).wait_for()
    assert [state for _, state in watched.states()] == ["at work", "at work", "waiting", "waiting"]
    watched.page.locator("#status", has_text="4 images to go").wait_for()
    watched.page.locator("#status", has_text="after 1 other request").wait_for()
    watched.named("late.png")
    assert [name for name, _ in watched.states()] == [*NAMES, "late.png"]
    desk.held.set()
    watched.settle()
    assert {state for _, state in watched.states()} == {"2 positive"}
    assert desk.most_at_once == 2


def test_two_requests_at_most_and_one_image_each(desk, watched):
    watched.named(*NAMES)
    watched.settle()
    assert desk.most_at_once <= 2
    assert all(len(one.files) == 1 for one in desk.asked)
    assert sorted(desk.names) == sorted(NAMES)
    # Of the image that is open, its pixels too.
    assert [one.name for one in desk.asked if one.fields.get("film")] == ["a.png"]


def test_what_is_opened_comes_first(desk, watched):
    names = [f"{index}.png" for index in range(5)]
    desk.held.clear()
    watched.named(*names)
    watched.entry("4.png").locator(".open").click()
    desk.free = 2
    desk.hear(4)
    # Two are asked about at once, and the server hears of either first.
    assert set(desk.names[:2]) == {"0.png", "1.png"}
    assert "4.png" in desk.names[2:4]
    desk.held.set()
    watched.settle()


def test_studies_stand_together_where_their_first_image_was(desk, watched):
    studies = {"a.png": "x", "c.png": "x", "d.png": "y"}
    desk.script = lambda asked: answers(
        asked, film(GREYS), row(asked.name, study=studies.get(asked.name, "")), maps()
    )
    watched.named(*NAMES)
    watched.settle()
    assert [name for name, _ in watched.states()] == ["a.png", "c.png", "b.png", "d.png"]
    assert watched.page.locator("#images h2:visible").all_inner_texts() == ["Study 1"]
    watched.page.locator("#about").click()
    watched.press("j")
    assert watched.page.locator("#about").inner_text() == "c.png"


def test_a_folder_is_a_group_without_what_is_no_image(desk, watched, tmp_path):
    place = tmp_path / "patient 7"
    (place / "old").mkdir(parents=True)
    for name in ("b.dcm", "IM0001", "notes.txt", "DICOMDIR", ".hidden"):
        (place / name).write_bytes(b"x")
    (place / "old" / "c.jpg").write_bytes(b"x")
    watched.choose(place)
    watched.page.locator(".problem #status", has_text="3 files left out").wait_for()
    watched.until("document.querySelectorAll('[data-state=scored]').length === 3")
    assert sorted(name for name, _ in watched.states()) == ["IM0001", "b.dcm", "c.jpg"]
    headings = watched.page.locator("#images h2:visible").all_inner_texts()
    assert sorted(headings) == ["patient 7", "patient 7/old"]


def test_a_dropped_folder_is_read_to_its_end(functions):
    """A browser gives a folder's entries in parts, of which the last is empty."""
    found = functions.evaluate(
        """async () => {
            const { dropped } = await import("/static/files.js");
            const file = (name) => ({
                name, isFile: true, file: (done) => done(new File([], name)) });
            const folder = (name, ...parts) => ({ name, isDirectory: true, createReader: () => ({
                readEntries: (done) => setTimeout(() => done(parts.shift() ?? [])) }) });
            const inner = folder("g", [file("c")]);
            const tree = folder("f", [file("b10"), file("b9")], [inner], [file("a")]);
            const items = [tree, file("alone")].map((one) => ({ webkitGetAsEntry: () => one }));
            const found = await dropped({ items, files: [] });
            return found.map(({ file, folder }) => `${folder}:${file.name}`);
        }"""
    )
    assert found == ["f:a", "f:b9", "f:b10", "f/g:c", ":alone"]


def test_removing_ends_the_request(desk, watched):
    desk.held.clear()
    watched.named(*NAMES[:2])
    watched.wait_for(lambda: set(desk.names), {"a.png", "b.png"})
    watched.entry("a.png").get_by_role("button", name="Remove a.png").click()
    first = next(one for one in desk.asked if one.name == "a.png")
    assert first.gone.wait(20)
    assert [name for name, _ in watched.states()] == ["b.png"]
    assert watched.page.locator("#about").inner_text() == "b.png"
    desk.held.set()
    watched.settle()
    assert watched.states() == [("b.png", "2 positive")]


def test_remove_all_is_as_at_the_start(desk, watched):
    watched.named(*NAMES)
    watched.settle()
    watched.page.get_by_role("button", name="Remove all").click()
    watched.settle()
    assert watched.page.locator("#images li").count() == 0
    assert watched.page.get_by_text("Drop chest X-rays to see").is_visible()
    watched.named("again.png")
    watched.settle()
    assert watched.states() == [("again.png", "2 positive")]


def test_a_failed_image_can_be_retried(desk, watched):
    answered = threading.Event()

    def script(asked):
        if answered.is_set():
            return answers(asked, film(GREYS), row(asked.name), maps())
        raise RefusedError(400, "the file came broken: send it again")

    watched.expect("status of 400")
    desk.script = script
    watched.named("a.png", "b.png")
    watched.settle()
    assert {state for _, state in watched.states()} == {"no answer"}
    assert watched.page.locator("#table .problem").inner_text().endswith("send it again")
    answered.set()
    watched.entry("b.png").get_by_role("button", name="Retry b.png").click()
    watched.settle()
    assert watched.states() == [("a.png", "no answer"), ("b.png", "2 positive")]
    watched.button("again").click()
    watched.settle()
    assert watched.states() == [("a.png", "2 positive"), ("b.png", "2 positive")]


def test_the_pixels_of_few_images_are_kept(desk, watched):
    desk.about["limits"]["files"] = 200
    watched.page.reload()
    watched.settle()
    names = [f"{index}.png" for index in range(7)]
    watched.named(*names)
    watched.settle()
    watched.page.locator("#about").click()
    watched.press(*["j"] * 6)
    for name in names:
        watched.open_image(name)
    kept = watched.page.evaluate(
        """async () => {
            const { queue } = await import("/static/desk.js");
            return queue.items.filter((one) => one.film).length;
        }"""
    )
    assert kept <= 4
    before = len(desk.asked)
    watched.open_image(names[-2])
    assert len(desk.asked) == before  # kept
    watched.open_image(names[0])
    assert desk.names[before:] == [names[0]]
    assert desk.asked[-1].fields.get("maps") is None
    assert not watched.pane().locator(".message").is_visible()


def test_many_images_leave_the_order(desk, look):
    desk.about["limits"]["files"] = 60
    watched = look()
    names = [f"{index:03}.png" for index in range(60)]
    watched.named(*names)
    watched.settle()
    assert [name for name, _ in watched.states()] == names
    assert desk.most_at_once == 2


@pytest.mark.parametrize("how", ["too many", "too large"])
def test_too_much_is_refused_before_it_is_sent(desk, watched, how):
    if how == "too many":
        watched.named(*(f"{index}.png" for index in range(6)))
        watched.page.locator(".problem #status", has_text="6 files are too many").wait_for()
        assert "5 or fewer" in watched.status.inner_text()
    else:
        watched.named("large.png", content=bytes(2**20 + 1))
        watched.page.locator(".problem #status", has_text="--max-mb").wait_for()
        assert "large.png has 2 MiB" in watched.status.inner_text()
    assert desk.asked == []
    assert watched.states() == []


def test_what_is_not_too_large_is_taken(desk, watched):
    watched.drop(("large.png", bytes(2**20 + 1)), ("small.png", b"x"))
    watched.page.locator('#images [data-state="scored"]').wait_for()
    assert watched.states() == [("small.png", "2 positive")]
    assert "large.png" in watched.status.inner_text()


def test_a_name_is_text(desk, watched):
    name = "<img src=x onerror=alert(1)>.png"
    watched.named(name, "b.png")
    watched.settle()
    watched.button("compare").click()
    watched.settle()
    assert watched.states()[0][0] == name
    assert watched.page.locator("#about").inner_text() == name
    assert watched.told("name") == name
    assert watched.page.locator('img[src="x"]').count() == 0


def test_nothing_stays_in_the_browser(desk, watched):
    watched.named(*NAMES)
    watched.settle()
    kept = watched.page.evaluate(
        """async () => [localStorage.length, sessionStorage.length, document.cookie,
            (await indexedDB.databases()).length, (await caches.keys()).length]"""
    )
    assert kept == [0, 0, "", 0, 0]


def test_stepping_by_keys(desk, watched):
    watched.named(*NAMES)
    watched.settle()
    about = watched.page.locator("#about")
    watched.page.locator("#about").click()
    for key, name in (("j", "b"), ("ArrowDown", "c"), ("k", "b"), ("ArrowUp", "a"), ("k", "a")):
        watched.press(key)
        assert about.inner_text() == f"{name}.png"
    watched.press("Delete")
    assert about.inner_text() == "b.png"
    assert [name for name, _ in watched.states()] == ["b.png", "c.png", "d.png"]


def test_large_films_come_whole(desk, watched):
    values = np.random.default_rng(3).integers(0, 65536, (1500, 1250), dtype=np.uint16)
    desk.script = lambda asked: answers(asked, film(values), row(asked.name), maps(*LABELS))
    watched.named("a.dcm")
    watched.settle()
    same = watched.page.evaluate(
        """async () => {
            const { queue } = await import("/static/desk.js");
            const { values } = queue.items[0].film;
            const digest = await crypto.subtle.digest("SHA-256", values);
            return [...new Uint8Array(digest)];
        }"""
    )
    assert bytes(same) == hashlib.sha256(values.astype("<u2").tobytes()).digest()
