"""The HTTP interface: what is asked, and what is answered."""

import asyncio
import csv
import io
import json
import re
from dataclasses import replace

import pytest

from cxrtool import __version__
from cxrtool.core.numbers import Estimate
from cxrtool.gui.about import about
from cxrtool.gui.app import make_app
from cxrtool.gui.desk import Desk
from cxrtool.gui.intake import Intake, Room
from cxrtool.gui.model_card import LabelScore
from tests.support.asgi import finished
from tests.support.gui import LABELS, MARKUP, MeanEngine, model, png
from tests.support.serving import events_of, form, probabilities


def send(asked, *files, accept="application/json", path="/api/predict", **fields):
    body, kind = form(files, fields)
    half = len(body) // 2
    return asked("POST", path, [body[:half], body[half:]], content_type=kind, accept=accept)


def test_a_prediction_names_the_model_and_has_a_row_an_image_in_order(asked):
    status, text = send(asked, ("b.png", png(51)), ("a.png", b"x"), ("b.png", png(102)))
    assert status == 200
    answer = json.loads(text)
    assert answer["model"]["name"] == "made-up"
    assert answer["version"] == __version__
    assert "not a medical device" in answer["notice"]
    rows = answer["images"]
    assert [(row["index"], row["name"], row["state"]) for row in rows] == [
        (0, "b.png", "scored"),
        (1, "a.png", "failed"),
        (2, "b.png", "scored"),
    ]
    assert probabilities(rows[0])["Edema"] == pytest.approx(0.2, abs=0.01)
    assert probabilities(rows[2])["Edema"] == pytest.approx(0.4, abs=0.01)
    assert "not a JPEG, PNG, TIFF or DICOM" in rows[1]["error"]
    assert rows[1]["findings"] == []


def test_another_model_answers_where_it_is_named(asked):
    _, text = send(asked, ("a.png", png(51)), model="other")
    answer = json.loads(text)
    assert answer["model"]["name"] == "other"
    assert probabilities(answer["images"][0])["Edema"] == pytest.approx(0.8, abs=0.01)
    for accept in ("application/json", "text/event-stream"):
        status, text = send(asked, ("a.png", png(51)), model="none", accept=accept)
        assert (status, "made-up, other" in text) == (422, True)


def test_events_come_as_they_are_known_films_before_rows_and_maps_last(asked):
    options = {"maps": "true", "film": "true", "thumb": "true"}
    _, text = send(
        asked, ("a.png", png(51)), ("b.png", b"x"), accept="text/event-stream", **options
    )
    names, parts = zip(*events_of(text.encode()), strict=True)
    assert names == ("queued", "film", "row", "row", "maps", "done")
    assert parts[0]["images"] == [{"index": 0, "name": "a.png"}, {"index": 1, "name": "b.png"}]
    assert parts[2]["thumb"].startswith("data:image/jpeg;base64,")
    assert parts[4]["index"] == 0
    assert [layer["png"] != "" for layer in parts[4]["layers"]] == [
        row["label"] == "Edema" for row in parts[2]["findings"]
    ]


def test_nothing_more_is_sent_than_is_asked_for(asked):
    _, text = send(asked, ("a.png", png(51)), accept="text/event-stream")
    names, parts = zip(*events_of(text.encode()), strict=True)
    assert names == ("queued", "row", "done")
    assert parts[1]["thumb"] == ""


def test_a_table_is_the_one_that_predict_writes(asked):
    status, text = send(asked, ("a.png", png(204)), ("b.png", b"x"), accept="text/csv")
    assert status == 200
    assert asked.headers["content-type"].startswith("text/csv")
    first, second = csv.DictReader(io.StringIO(text))
    assert list(first) == ["path", *LABELS, "positive", "warning", "error"]
    assert (first["path"], first["positive"]) == ("a.png", "Edema")
    assert float(first["Edema"]) == pytest.approx(0.8, abs=0.01)
    assert (second["Edema"], second["positive"]) == ("", "")
    assert "not a JPEG" in second["error"]


def test_a_folder_of_the_root_is_read(asked, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(51))
    body = json.dumps({"folder": "in"}).encode()
    status, text = asked("POST", "/api/predict", [body], content_type="application/json")
    assert status == 200
    assert [row["name"] for row in json.loads(text)["images"]] == ["a.png"]


def test_a_body_of_no_said_length_is_read_to_the_limit_and_no_further(asked):
    body, kind = form([("a.png", bytes(3 * 2**20))])
    chunks = [body[start : start + 2**16] for start in range(0, len(body), 2**16)]
    status, text = asked("POST", "/api/predict", chunks, content_type=kind)
    assert (status, "--max-mb" in text) == (413, True)
    assert asked.unread > len(chunks) // 2


def test_markup_and_paths_in_a_name_stay_text(asked):
    _, text = send(asked, (f"..\\folder/{MARKUP}", png(51)), ("a\x07" + "n" * 500, png(51)))
    first, second = json.loads(text)["images"]
    assert first["name"] == MARKUP
    assert len(second["name"]) <= 120
    assert second["name"].isprintable()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/api/predict", 405),
        ("PUT", "/api/predict", 405),
        ("DELETE", "/", 405),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_there_is_nothing_else(asked, method, path, status):
    found, text = asked(method, path)
    assert found == status
    assert set(json.loads(text)) == {"detail"}


def test_the_model_says_what_it_is(asked):
    answer = json.loads(asked("GET", "/api/model")[1])
    assert [one["name"] for one in answer["models"]] == ["made-up", "other"]
    assert answer["limits"] == {"files": 200, "mb": 1}
    assert answer["root"] is True
    (edema, *_) = answer["models"][0]["labels"]
    assert (edema["label"], edema["threshold"], edema["auroc"]) == ("Edema", 0.4, None)


def test_what_is_said_of_a_model_is_said_before_anything_of_an_image():
    scores = (LabelScore(label="Edema", auroc=Estimate(0.8, (0.7, 0.9))),)
    said = {"banner": "Trained on drawings.", "warnings": ("Odd.",), "labels": scores}
    facts = replace(model().facts, **said, level=0.95)
    desk = Desk(models=(replace(model(), facts=facts),))
    (found,) = about(desk, Intake(room=Room(1), most_bytes=1), most_mb=1).models
    assert (found.banner, found.warnings) == ("Trained on drawings.", ["Odd."])
    edema, fracture, _ = found.labels
    assert edema.auroc.model_dump() == {"value": 0.8, "low": 0.7, "high": 0.9, "level": 0.95}
    assert edema.shown_auroc == "0.800 (0.700 to 0.900)"
    assert (fracture.auroc, fracture.shown_auroc) == (None, "")


def test_counts_are_for_prometheus_and_of_nobody(asked):
    send(asked, ("secret.png", png(51)), ("b.png", b"x"))
    asked("GET", "/nothing")
    text = asked("GET", "/metrics")[1]
    for line in (
        'cxrtool_images_total{state="scored"} 1.0',
        'cxrtool_images_total{state="failed"} 1.0',
        'cxrtool_requests_total{status="200"} 1.0',
        'cxrtool_requests_total{status="404"} 1.0',
        "cxrtool_scoring_seconds_count 1.0",
        "cxrtool_line 0.0",
    ):
        assert line in text
    assert "secret" not in text


def test_the_description_is_whole_and_asks_for_nothing_from_elsewhere(asked):
    status, text = asked("GET", "/api/docs")
    schema = json.loads(asked("GET", "/api/openapi.json")[1])
    assert status == 200
    for path in schema["paths"]:
        assert f"<code>{path}</code>" in text
    assert {"/api/predict", "/api/pdf", "/api/dicom", "/api/model", "/health", "/metrics"} <= set(
        schema["paths"]
    )
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert addresses
    assert not any("//" in one for one in addresses)
    assert "<script" not in text


def test_who_leaves_ends_the_work(desk):
    """The work of an answer that nobody waits for stops at the next image."""
    scored = []

    class Noting(MeanEngine):
        def submit(self, pixels):
            scored.append(1)
            return super().submit(pixels)

    room = Room(10**7)
    app = make_app(Desk(models=(model(Noting()),)), Intake(room=room, most_bytes=10**6), most_mb=1)
    for accept in (b"application/json", b"text/event-stream"):
        scored.clear()
        body, kind = form([("a.png", png(51))] * 50)
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive(messages=messages):
            if messages:
                return messages.pop(0)
            while not scored:
                await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        headers = [(b"content-type", kind.encode()), (b"accept", accept)]
        scope = {"type": "http", "method": "POST", "path": "/api/predict", "headers": headers}
        finished(app({**scope, "query_string": b"", "scheme": "http"}, receive, send))
        assert 1 <= len(scored) < 50
        assert room._left == room._most
