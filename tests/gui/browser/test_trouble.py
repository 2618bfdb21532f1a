"""What goes wrong on the way is said in plain words, and can be tried again."""

import time

import pytest

from tests.support.scripted_desk import (
    GREYS,
    RefusedError,
    about,
    answers,
    card,
    film,
    maps,
    plain,
    row,
)


def refuse(status, detail=""):
    """A script that refuses all, what comes second later than what comes first."""

    def script(asked):
        time.sleep(0 if asked.name == "a.png" else 0.2)
        raise RefusedError(status, detail)

    return script


def problem(watched, text):
    """Wait until it is said and all who were asked have answered: two are asked at once."""
    watched.page.locator(".problem #status", has_text=text).wait_for()
    watched.rest()


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (503, "too many images are waiting: try again in a minute", "too many images are waiting"),
        (401, "", "address with the token"),
        (503, "", "too much to do"),
    ],
)
def test_what_fails_for_all_stops_the_queue_until_it_is_tried_again(
    desk, watched, status, detail, said
):
    watched.expect(f"status of {status}")
    desk.script = refuse(status, detail)
    watched.named("a.png", "b.png", "c.png")
    problem(watched, said)
    assert len(desk.asked) <= 2  # the others would fare the same
    assert {state for _, state in watched.states()} == {"waiting"}
    desk.script = plain
    watched.button("again").click()
    watched.settle()
    assert {state for _, state in watched.states()} == {"2 positive"}


def test_a_file_that_is_too_large_for_the_server_fails_alone(desk, watched):
    desk.script = lambda asked: refuse(413)(asked) if asked.name == "a.png" else plain(asked)
    watched.expect("status of 413")
    watched.named("a.png", "b.png")
    watched.settle()
    assert watched.states() == [("a.png", "no answer"), ("b.png", "2 positive")]
    assert "too large" in watched.page.locator("#table .problem").inner_text()


def test_a_server_that_is_gone_and_comes_back(desk, watched):
    watched.named("first.png")
    watched.settle()
    watched.expect("Failed to load resource: net::")
    watched.page.context.set_offline(True)
    watched.named("a.png", "b.png")
    problem(watched, "does not answer")
    assert watched.states()[1:] == [("a.png", "waiting"), ("b.png", "waiting")]
    watched.entry("first.png").locator(".open").click()
    watched.page.locator("#table tbody tr").first.wait_for()  # what is known is still there
    watched.page.context.set_offline(False)
    watched.button("again").click()
    watched.settle()
    assert {state for _, state in watched.states()} == {"2 positive"}


@pytest.mark.parametrize("how", ["cut", "error", "no film"])
def test_an_answer_that_breaks_off_is_said_and_tried_again(desk, watched, how):
    def script(asked):
        if asked.name != "a.png":
            yield from plain(asked)
            return
        yield "row", row(asked.name)
        if how == "cut":
            return
        if how == "error":
            yield "error", {"detail": "the network fell over"}
        yield "done", {}

    desk.script = script
    watched.named("a.png", "b.png")
    watched.settle()
    said = {"cut": "broke", "error": "fell over", "no film": "not complete"}[how]
    assert said in watched.pane().locator(".message").inner_text()
    assert watched.states()[1] == ("b.png", "2 positive")
    desk.script = plain
    watched.button("again").click()
    watched.settle()
    assert not watched.pane().locator(".message").is_visible()


def test_a_file_that_is_no_longer_there_is_said(desk, look, tmp_path):
    desk.about = about(card("first"), card("second"))
    watched = look()
    place = tmp_path / "a.png"
    place.write_bytes(b"x")
    watched.choose(place)
    watched.settle()
    watched.expect("Failed to load resource: net::")
    place.unlink()
    watched.page.get_by_label("Run").select_option("second")
    watched.page.get_by_text("it was changed or moved").first.wait_for()


def test_a_server_without_models_is_asked_again(desk, watched):
    watched.expect("status of 503")
    desk.about = 503
    watched.page.reload()
    problem(watched, "too much to do")
    desk.about = about()
    watched.button("again").click()
    watched.settle()
    watched.named("a.png")
    watched.settle()
    assert watched.states() == [("a.png", "2 positive")]


def test_a_failed_image_says_why_and_has_no_findings(desk, watched):
    failed = row("a.png", state="failed", findings=[], thumb="", error="it is not an image at all")
    desk.script = lambda asked: answers(asked, film(GREYS), failed, maps())
    watched.named("a.png")
    watched.settle()
    assert watched.states() == [("a.png", "could not be read")]
    assert "it is not an image at all" in watched.page.locator("#table .problem").inner_text()
    assert watched.page.locator("#table table").count() == 0
    assert watched.button("heat").is_hidden()
