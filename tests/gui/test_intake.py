"""What requests bring, and what is not taken in."""

import asyncio
import errno
from contextlib import ExitStack

import pytest
from starlette.requests import Request

from cxrtool.gui import intake as module
from cxrtool.gui.intake import Intake, Line, RefusedError, Room, images_in
from tests.support.asgi import finished
from tests.support.gui import png
from tests.support.serving import form

MOST = 5000


def request(*chunks, kind="", **headers):
    messages = [
        {"type": "http.request", "body": chunk, "more_body": n < len(chunks)}
        for n, chunk in enumerate(chunks, 1)
    ]

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    named = {"content-type": kind, **headers}
    scope = {"type": "http", "method": "POST", "path": "/", "app": None}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({**scope, "headers": raw}, receive)


def taken(asked, intake=None):
    """A question, and its images' names and contents."""

    async def take():
        async with (intake or Intake(room=Room(10 * MOST), most_bytes=MOST)).question(asked) as it:
            return it, [(one.name, one.read()) for one in it.images]

    return finished(take())


def refusal(asked, intake=None):
    with pytest.raises(RefusedError) as error:
        taken(asked, intake)
    return error.value.status, str(error.value)


def test_a_form_is_a_question_in_the_order_of_its_files():
    files = [("b.png", b"1"), ("a.png", b"2"), ("b.png", b"1")]
    body, kind = form(files, {"model": "m", "maps": "true", "film": "1", "thumb": "false"})
    question, images = taken(request(body[:50], body[50:], kind=kind))
    assert images == files
    assert (question.model, question.maps, question.film, question.thumb) == (
        "m",
        True,
        True,
        False,
    )


def test_files_are_gone_when_the_answer_is():
    body, kind = form([("a.png", b"1")])

    async def take():
        intake = Intake(room=Room(MOST), most_bytes=MOST)
        async with intake.question(request(body, kind=kind)) as question:
            image = question.images[0]
            assert image.read() == image.read() == b"1"
        return image

    with pytest.raises(ValueError, match="closed"):
        finished(take()).read()


@pytest.mark.parametrize(
    ("files", "fields", "status", "words"),
    [
        ([], {}, 422, "no file was sent"),
        ([], {"files": "a.png"}, 422, "no file was sent"),
        ([("a", b"1")] * 4, {}, 400, "1 to 3 images"),
        ([("a", b"1" * (MOST + 1))], {}, 413, "--max-mb"),
        ([("a", b"1" * (MOST // 2)), ("b", b"1" * (MOST // 2 + 1))], {}, 413, "--max-mb"),
        ([("a", b"1")], {"path": "/etc/passwd"}, 422, "path is not a field"),
        ([("a", b"1")], {"maps": "perhaps"}, 422, "send true or false"),
    ],
)
def test_what_is_no_question_is_refused(files, fields, status, words):
    body, kind = form(files, fields)
    intake = Intake(room=Room(10 * MOST), most_bytes=MOST, most_files=3)
    found, text = refusal(request(body, kind=kind), intake)
    assert found == status
    assert words in text


def test_a_form_that_is_cut_short_or_none_is_refused():
    body, kind = form([("a.png", b"1" * 100)])
    assert refusal(request(body[:60], b"", kind=kind))[0] in (400, 422)
    assert refusal(request(body, kind="multipart/form-data"))[0] == 400
    assert refusal(request(b"x", kind="text/plain"))[0] == 422


def test_a_disk_that_fills_is_told_and_nothing_of_the_form_stays(monkeypatch):
    class Full:
        def __init__(self, *_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", Full)
    body, kind = form([("a.png", b"1")])
    assert refusal(request(body, kind=kind)) == (
        503,
        "the images cannot be stored (No space left on device): try again later",
    )


def test_who_sends_too_slowly_is_told(monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 0.05)
    body, kind = form([("a.png", b"1")])
    asked = request(body, kind=kind)

    async def receive():
        await asyncio.sleep(3600)

    asked._receive = receive
    status, text = refusal(asked)
    assert status == 408
    assert "send fewer" in text


def test_room_is_counted_before_a_byte_is_read_and_free_again_after(monkeypatch):
    monkeypatch.setattr(module, "ROOM_SECONDS", 0.05)
    room = Room(MOST)
    intake = Intake(room=room, most_bytes=MOST)
    body, kind = form([("a.png", b"1")])
    size = {"content-length": str(len(body))}

    async def take():
        async with (
            room.of(MOST - len(body)),
            intake.question(request(body, kind=kind, **size)),
        ):
            pass
        async with room.of(MOST - len(body) + 1):
            asked = request(body, kind=kind, **size)
            with pytest.raises(RefusedError, match="too many images are waiting"):
                async with intake.question(asked):
                    pass
            assert not asked._stream_consumed
        async with room.of(MOST), intake.question(request(b'{"folder": "."}', kind="text/x")):
            pass

    with pytest.raises(RefusedError, match="too many"):  # of unknown length: as much as may be
        finished(take())
    assert room._left == MOST


def test_who_waits_for_room_has_it_as_soon_as_there_is():
    async def main():
        room, order = Room(10), []

        async def hold(name, size):
            async with room.of(size):
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(hold("a", 10), hold("b", 6), hold("c", 4))
        return order

    assert finished(main()) == ["a", "b", "c"]


def test_the_line_tells_each_how_many_are_before_and_lets_so_many_work():
    noted = []

    async def main():
        line, told, working = Line(noted.append, at_once=2), {}, []

        async def visit(name):
            with line.place() as ahead:
                told[name] = [before async for before in ahead()]
                working.append(name)
                assert len(working) <= 2
                await asyncio.sleep(0.01)
                working.remove(name)

        await asyncio.gather(*(visit(name) for name in "abcd"))
        return told

    told = finished(main())
    assert told["a"] == told["b"] == [0]
    assert told["c"][0] == 1
    assert told["d"][0] == 2
    assert all(seen == sorted(seen, reverse=True) and seen[-1] == 0 for seen in told.values())
    assert noted[-1] == 0


def test_the_line_has_an_end(monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    line = Line(lambda there: None)
    with ExitStack() as stack:
        stack.enter_context(line.place())
        stack.enter_context(line.place())
        with pytest.raises(RefusedError, match="too many"):
            stack.enter_context(line.place())
    with line.place():
        pass


@pytest.fixture
def root(tmp_path):
    inside = tmp_path / "root"
    (inside / "deep" / "er").mkdir(parents=True)
    (inside / "deep" / "b.png").write_bytes(png(9))
    (inside / "deep" / "er" / "a.png").write_bytes(png(10))
    (inside / "deep" / "notes.txt").write_text("x")
    (tmp_path / "secret.png").write_bytes(png(11))
    (inside / "deep" / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "away").symlink_to(tmp_path)
    (inside / "empty").mkdir()
    return inside


def test_a_folder_is_its_images_with_those_of_folders_in_it(root):
    found = images_in(root, "deep")
    assert [(one.name, one.read()) for one in found] == [
        ("b.png", png(9)),
        ("er/a.png", png(10)),
    ]
    assert [one.name for one in images_in(root, str(root))] == ["deep/b.png", "deep/er/a.png"]


@pytest.mark.parametrize(
    "folder", ["..", "away", "../root/../", "/etc", "none", "deep/b.png", "a\0b", "empty", "~"]
)
def test_no_folder_outside_the_root_is_read(root, folder):
    with pytest.raises(RefusedError) as error:
        images_in(root, folder)
    assert error.value.status == 404
    assert str(root.parent) not in str(error.value)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"folder": "deep"}', 403, "--root"),
        (b'{"folder": "deep", "url": "http://x"}', 422, "url"),
        (b'{"folder": 3}', 422, "folder"),
        (b"[" * 50_000, 422, "the body"),
        (b"", 422, "the body"),
    ],
)
def test_a_folder_is_named_in_json_and_only_where_a_root_allows_it(body, status, words):
    found, text = refusal(request(body, kind="application/json; charset=utf-8"))
    assert (found, words in text) == (status, True)
