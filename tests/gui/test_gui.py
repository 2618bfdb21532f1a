import asyncio
import base64
import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image

from cxrtool.core.config import GuiConfig
from cxrtool.core.console import Reporter
from cxrtool.core.errors import DataError, RunError, UsageError
from cxrtool.core.json_files import read_json, write_json
from cxrtool.core.run_cards import read_card, sampling_remark
from cxrtool.core.runs import RunFolder
from cxrtool.data.logits import logits_of
from cxrtool.gui.answers import Item, failed_html, queue_html, shown_name
from cxrtool.gui.desk import Desk
from cxrtool.gui.guard import PASSED, Guard, host_name
from cxrtool.gui.heat_layers import SIDE, HeatMaps
from cxrtool.gui.model_card import facts_of_file, facts_of_run
from cxrtool.gui.pictures import LONGEST, xray_uri
from cxrtool.gui.private_folder import private_folder
from cxrtool.gui.server import _Server, bind, url_of
from cxrtool.gui.site import MOST_FILES, site
from cxrtool.gui.uploads import Uploads
from cxrtool.images.heat_grid import Cells
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import Scorer, load_scorer
from cxrtool.workflows.gui import NO_MAPS, open_page
from tests.support.sealing import change_model
from tests.support.serving import Parts, file_data, form, probabilities, serving

LABELS = ("Edema", "Fracture", "No Finding")
CELLS = Cells(0.25, 0.5)
MARKUP = "<img src=x onerror=alert(1)>.png"


@dataclass(frozen=True)
class MeanEngine:
    """Tells images apart by their brightness."""

    name: str = "torch"
    device: str = "cpu"
    precision: str = "fp32"
    depth: int = 1
    batch: int = 1

    def submit(self, pixels):
        mean = pixels.mean(axis=(1, 2)) / 255
        return lambda: logits_of(np.stack([mean, 1 - mean, np.full_like(mean, 0.5)], 1))


class BrokenEngine(MeanEngine):
    def submit(self, pixels):
        if pixels.mean() > 128:
            raise RuntimeError("no <memory>")
        return super().submit(pixels)


@dataclass(frozen=True)
class Explainer:
    """Looks into one corner for the first label, and nowhere for others."""

    cells: Cells = CELLS

    def maps(self, pixels, labels, method="gradcam"):
        found = np.zeros((len(labels), 2, 2), np.float32)
        found[[label == "Edema" for label in labels], 0, 1] = 3
        return found


def scorer(engine=None):
    return Scorer(
        name="made-up",
        labels=LABELS,
        image_sizes=(8,),
        raw_thresholds={"Edema": 0.4, "Fracture": 0.95, "No Finding": None},
        calibration=None,
        without={},
        fingerprint="",
        engine=engine or MeanEngine(),
    )


def png(brightness, size=(40, 50)):
    """An image of this mean brightness that is not blank."""
    file = io.BytesIO()
    halves = np.full(size[::-1], brightness, np.uint8)
    halves[:, : size[0] // 2] += 9
    halves[:, size[0] // 2 :] -= 9
    Image.fromarray(halves).save(file, "PNG")
    return file.getvalue()


def heat_maps():
    made = HeatMaps(Explainer)
    made.start()
    return made


def waiting(uploads, *files):
    return [uploads.add(name, io.BytesIO(content)) for name, content in files]


@pytest.fixture
def uploads(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    return Uploads(folder, 10**7)


@pytest.fixture
def desk(uploads):
    return Desk(scorer(), heat_maps(), uploads)


def last(parts):
    return list(parts)[-1]


# What is said of an image


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("/etc/a.png", "a.png"),
        ("C:\\films\\a.png", "a.png"),
        ("a\n\nb\x00\x1b[31m\u202e.png", "a  b  [31m .png"),
        ("", "image without a name"),
        ("x" * 500, "x" * 119 + "…"),
    ],
)
def test_a_name_is_shown_in_one_line(name, shown):
    assert shown_name(name) == shown


def test_markup_in_a_name_or_a_reason_stays_text(desk, uploads):
    paths = waiting(uploads, (MARKUP, png(200)), (f"2{MARKUP}", b"x"))
    text = last(desk.look_at(paths))
    text += failed_html(Item(name=MARKUP), "</template><script>alert(1)</script>")
    parts = Parts(text)
    assert parts.all("script") == []
    assert parts.all("img", src="x") == []
    assert parts.text().count(MARKUP) >= 4
    assert "</template><script>alert(1)</script>" in parts.text()


def test_markdown_finds_no_end_of_the_html(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("a\n\n# b.png", png(10)))))
    assert "\n" not in text
    assert text.startswith("<div>")


def test_a_bar_shows_probability_and_threshold(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("a.png", png(153)))))
    row = re.search(r'<tr [^>]*data-label="Edema".*?</tr>', text)[0]
    assert "width:60.00%" in row
    assert "left:40.00%" in row
    assert "0.600" in row
    assert "0.400" in row
    assert "positive" in row
    without = re.search(r'<tr [^>]*data-label="No Finding".*?</tr>', text)[0]
    assert "left:" not in without
    assert "n/a" in without


def test_an_image_that_is_no_x_ray_has_a_warning(desk, uploads):
    plain, wide = waiting(uploads, ("a.png", png(10)), ("b.png", png(10, (900, 100))))
    assert Parts(last(desk.look_at([wide]))).all("template", **{"data-state": "warned"})
    assert Parts(last(desk.look_at([plain]))).all("template", **{"data-state": "warned"}) == []


def test_a_file_that_cannot_be_read_has_no_findings_and_is_not_called_without_any(desk, uploads):
    text = last(desk.look_at(waiting(uploads, ("x.png", b"nothing"))))
    parts = Parts(text)
    assert "Could not be read:" in parts.text()
    assert "No findings" not in parts.text()
    assert parts.all("template", **{"data-told": "could not be read"})


@pytest.mark.parametrize("level", [0, 255, 200])
def test_nothing_is_decided_of_a_picture_that_shows_nothing(desk, uploads, level):
    file = io.BytesIO()
    Image.new("L", (40, 50), level).save(file, "png")
    text = last(desk.look_at(waiting(uploads, ("white.png", file.getvalue()))))
    parts = Parts(text)
    assert parts.all("template", **{"data-told": "no decision"})
    assert "Nothing is decided of it" in parts.text()
    assert {row["class"].split()[0] for row in parts.all("tr") if "data-label" in row} == {"na"}


def test_decisions_of_an_image_with_a_warning_are_grey_and_the_reason_comes_first(desk, uploads):
    wide, plain = waiting(uploads, ("b.png", png(200, (900, 100))), ("a.png", png(200)))
    text = last(desk.look_at([wide]))
    assert Parts(text).all("template", **{"data-told": "doubtful: 1 positive"})
    assert Parts(text).all("table", **{"class": "findings doubtful"})
    assert text.index("900x100") < text.index('<table class="findings doubtful')
    other = last(desk.look_at([plain]))
    assert Parts(other).all("table", **{"class": "findings"})
    assert Parts(other).all("template", **{"data-told": "1 positive"})


def test_no_finding_is_none_and_stands_apart(uploads):
    found = replace(scorer(), raw_thresholds={"Edema": 0.4, "Fracture": 0.95, "No Finding": 0.4})
    text = last(Desk(found, heat_maps(), uploads).look_at(waiting(uploads, ("a.png", png(153)))))
    assert Parts(text).all("template", **{"data-told": "1 positive"})
    rows = [
        (row["data-label"], row["class"]) for row in Parts(text).all("tr") if "data-label" in row
    ]
    assert rows == [("Edema", "positive"), ("Fracture", "negative"), ("No Finding", "yes apart")]


def test_a_label_without_a_threshold_says_why(uploads):
    why = {"No Finding": "valid has 3 patients with a positive"}
    found = replace(scorer(), without=why)
    text = Parts(
        last(Desk(found, heat_maps(), uploads).look_at(waiting(uploads, ("a.png", png(153)))))
    ).text()
    assert "missing or says little: valid has 3 patients with a positive: No Finding" in " ".join(
        text.split()
    )


# Pictures and maps


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_large_x_ray_is_made_smaller_and_keeps_its_shape():
    uri, width, height = xray_uri(Image.new("L", (3000, 2400), 90))
    assert (width, height) == (LONGEST, 800) == decoded(uri).size
    assert xray_uri(Image.new("L", (30, 20), 90))[1:] == (30, 20)


SEEN = np.zeros((8, 8), np.uint8)


def test_a_map_is_clear_where_there_is_nothing_and_full_at_its_greatest_value():
    layers = heat_maps().layers(SEEN, LABELS)
    assert layers[1:] == [None, None]
    opacity = layers[0][..., 3]
    assert opacity.shape == (SIDE, SIDE)
    assert (opacity[: SIDE // 4, 3 * SIDE // 4 :] > 250).all()
    assert (opacity[3 * SIDE // 4 :] == 0).all()


def test_what_kept_the_maps_from_coming_is_told():
    def fails():
        raise RunError("the weights are gone")

    broken = HeatMaps(fails)
    broken.start()
    assert broken.layers(SEEN, LABELS) == "the weights are gone"
    assert HeatMaps(None, "none here").layers(SEEN, LABELS) == "none here"


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


# Files that wait


def test_one_content_sent_twice_is_two_files(uploads):
    first, second = waiting(uploads, ("a.png", b"x"), ("a.png", b"x"))
    with uploads.take(first):
        pass
    with uploads.take(second) as found:
        assert found.read() == b"x"


def test_a_file_is_taken_once_and_gone_whatever_happens(uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    with pytest.raises(KeyError), uploads.take(path) as found:
        raise KeyError
    assert found.content.closed
    with pytest.raises(DataError, match="drop it again"), uploads.take(path):
        pass


def test_a_file_has_no_name_of_its_sender(uploads):
    (path,) = waiting(uploads, ("../../patient.png", b"x"))
    assert Path(path).parent == uploads.folder
    assert re.fullmatch(r"[0-9a-f]{32}\.png", Path(path).name)
    (path,) = waiting(uploads, ("a.svg", b"x"))
    assert re.fullmatch(r"[0-9a-f]{32}", Path(path).name)


def test_what_nobody_takes_is_removed_after_a_while(uploads):
    old, new = waiting(uploads, ("a.png", b"x")), time.monotonic()
    uploads.sweep(older_than=60)
    assert old[0] in uploads
    uploads.sweep(older_than=time.monotonic() - new)
    assert old[0] not in uploads


def test_no_more_waits_than_may(tmp_path):
    uploads = Uploads(tmp_path, 10)
    waiting(uploads, ("a", b"12345"), ("b", b"12345"))
    with pytest.raises(DataError, match="too many images are waiting"):
        waiting(uploads, ("c", b"1"))
    assert waiting_files(uploads) == 2


def test_what_is_being_sent_counts_and_no_longer_than_it_does(tmp_path):
    uploads = Uploads(tmp_path, 10)
    with uploads.room(6):
        with pytest.raises(DataError, match="too many images are waiting"), uploads.room(5):
            pass
        waiting(uploads, ("a", b"1234"))
    with pytest.raises(DataError, match="too many images are waiting"), uploads.room(7):
        pass
    with uploads.room(6):
        pass


def test_only_so_many_files_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrtool.gui.uploads.MOST_WAITING", 2)
    uploads = Uploads(tmp_path, 10)
    waiting(uploads, ("a", b"1"), ("b", b"1"))
    with pytest.raises(DataError, match="too many images are waiting"):
        waiting(uploads, ("c", b"1"))


def test_no_file_of_the_page_has_a_name_on_the_disk(uploads):
    (path,) = waiting(uploads, ("a.png", b"x" * 10**6))
    assert list(uploads.folder.iterdir()) == []
    assert not Path(path).exists()
    with uploads.take(path) as found:
        assert found.read() == b"x" * 10**6
        assert waiting_files(uploads) == 0


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


def test_a_file_is_asked_about_once(uploads):
    one, two = waiting(uploads, ("a.png", b"x"), ("b.png", b"y"))
    uploads.ask([one], "s")
    for paths in ([one], [two, two], [two, one], ["x"]):
        with pytest.raises(LookupError):
            uploads.ask(paths, "t")
    uploads.ask([two], "t")


def waiting_files(uploads):
    return len(uploads._waiting)


# Looking at images


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


# The model's card


def test_the_card_of_a_run_that_was_not_scored_says_so(trained_once):
    facts = facts_of_run(RunFolder(trained_once.workspace.runs / "tiny"), "torch on cpu, fp32")
    rows = dict(facts.rows)
    patients = json.loads((trained_once.workspace.runs / "tiny" / "patients.json").read_text())
    assert facts.score == "not scored on test yet"
    assert "cxrtool evaluate" in rows["Test"]
    assert rows["Network"] == "resnet18, 32 × 32 pixels"
    assert f"of {len(patients['train'])} patients" in rows["Trained on"]
    assert rows["Split"].startswith("by patient")
    assert rows["Computes with"] == "torch on cpu, fp32"
    assert rows["Epochs"].startswith("2, the best of them ")


def test_the_card_says_that_patients_are_on_both_sides(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    patients = read_json(run.patients)
    write_json(run.patients, {**patients, "valid": patients["train"][:1]})
    change_model(run)
    assert dict(facts_of_run(run, "").rows)["Split"].startswith("by image")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"mean_auroc": "high"}, 'mean_auroc is "high"'),
        ({"mean_auroc": 0.8, "mean_auroc_ci": [0.7]}, "mean_auroc_ci"),
        ({"mean_auroc": 0.8, "labels": {"Edema": {"auroc": True}}}, "labels.Edema.auroc is true"),
        ({"mean_auroc": 0.8, "labels": []}, "labels is a list of 0"),
    ],
)
def test_the_card_says_that_its_test_scores_cannot_be_read(trained, content, said):
    run = RunFolder(trained.workspace.runs / "tiny")
    write_json(run.metrics("test"), content)
    facts = facts_of_run(run, "")
    assert facts.score == "not scored on test yet"
    sampled, warning = facts.warnings
    assert sampled == sampling_remark(run, read_card(run))
    assert "weighted sampling" in sampled
    assert warning.startswith("metrics/test.json: ")
    assert said in warning
    assert warning.endswith("run `cxrtool evaluate` again")


def test_the_card_has_the_test_score_with_its_interval(trained):
    run = RunFolder(trained.workspace.runs / "tiny")
    scores = {
        "mean_auroc": 0.8125,
        "mean_auroc_ci": [0.75, 0.875],
        "intervals": {"level": 0.95},
        "labels": {"Edema": {"auroc": 0.5, "auroc_ci": [0.25, 0.75]}, "Fracture": {"auroc": None}},
        "n": 12,
        "patients": 7,
        "defined": 1,
        "protocol": {"trained_on": True},
    }
    write_json(run.metrics("test"), scores)
    facts = facts_of_run(run, "")
    assert facts.score == "mean AUROC on test 0.812 (0.750 to 0.875)"
    assert dict(facts.labels)["Edema"] == "0.500 (0.250 to 0.750)"
    assert dict(facts.labels)["Fracture"] == ""
    assert "trained on" in facts.warnings[0]


ABOUT = {"arch": "resnet18", "squish": [320, 80], "labels": list(LABELS)}


def test_an_exported_model_says_what_it_knows_and_no_more():
    facts = facts_of_file(Path("x/model.onnx"), ABOUT, "onnxruntime on cpu, fp32")
    assert facts.name == "model.onnx"
    assert facts.score == "not scored on test yet"
    assert facts.brief == "resnet18 at 80 px, onnxruntime on cpu, fp32"
    assert [label for label, _ in facts.labels] == list(LABELS)
    told = {"train_patients": 1, "test_mean_auroc": 0.75, "test_protocol": {"trained_on": True}}
    facts = facts_of_file(Path("x/model.onnx"), {**ABOUT, **told, "run": "a"}, "")
    assert facts.score == "mean AUROC on test 0.750"
    assert "trained on" in facts.warnings[0]
    assert dict(facts.rows)["Trained on"] == "1 patient"
    assert dict(facts.rows)["Exported from"] == "a"


# The document


def index(tmp_path, text=None):
    made = tmp_path / "index.html"
    scripts = '<script type="module" crossorigin src="./assets/index-a.js"></script>'
    sheets = '<link rel="stylesheet" crossorigin href="./assets/index-b.css">'
    made.write_text(text or f"<script>1</script>{scripts}{sheets}")
    return made


def test_the_document_asks_for_nothing_from_elsewhere(tmp_path):
    facts = replace(facts_of_file(Path("m.onnx"), ABOUT, ""), name=MARKUP)
    files = site(facts, index(tmp_path), most_mb=7, absent="")
    page = files["/"].content.decode()
    parts = Parts(page)
    asked = [one.get("src") or one.get("href") for one in parts.all("script") + parts.all("link")]
    assert len(asked) == 5
    assert not any("//" in address for address in asked)
    assert [one for one in parts.all("script") if "src" not in one] == []
    assert parts.all("img", src="x") == []
    assert parts.all("body")[0]["data-most-bytes"] == str(7 * 2**20)
    for path in ("/cxrtool/page.css", "/cxrtool/page.js", "/cxrtool/icon.svg"):
        text = files[path].content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(^|\s)// .*", "", text)


def test_another_gradio_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not supported"):
        site(facts_of_file(Path("m.onnx"), ABOUT, ""), index(tmp_path, "x"), most_mb=1, absent="")


# The guard


class Behind:
    """An application that says what came to it."""

    def __init__(self):
        self.seen = []

    async def __call__(self, scope, receive, send):
        body = b""
        while scope["method"] == "POST":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append((scope["path"], dict(scope["headers"]), body))
        headers = [(b"access-control-allow-origin", b"*"), (b"Cache-Control", b"public")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"gradio"})


class Asked:
    """A guard, and requests to it."""

    def __init__(self, uploads, tmp_path, **options):
        self.behind = Behind()
        facts = facts_of_file(Path("m.onnx"), ABOUT, "")
        options = {"host": "127.0.0.1", "most_bytes": 1000, **options}
        files = site(facts, index(tmp_path), most_mb=1, absent="")
        self.guard = Guard(self.behind, files, uploads, **options)

    def __call__(self, method, path, chunks=(b"",), server="127.0.0.1", **headers):
        headers = {"host": "127.0.0.1:7860", **headers}
        named = [
            (k.replace("_", "-").encode(), v.encode()) for k, v in headers.items() if v is not None
        ]
        scope = {
            **{"type": "http", "method": method, "path": path, "headers": named},
            **{"query_string": b"", "server": (server, 7860), "scheme": "http"},
        }
        messages = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks)}
            for n, chunk in enumerate(chunks, 1)
        ]
        sent = []

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        self.unread = len(messages)
        self.named = [name.decode().lower() for name, _ in sent[0]["headers"]]
        self.headers = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]).decode()

    def join(self, data, **more):
        call = {"data": data, "fn_index": 0, "session_hash": "s", **more}
        return self("POST", "/gradio_api/queue/join", [json.dumps(call).encode()])


@pytest.fixture
def asked(uploads, tmp_path):
    return Asked(uploads, tmp_path)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:7860", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("192.168.1.5", 403),
        ("", 403),
        ("[::1", 403),
        (None, 403),
    ],
)
def test_only_the_hosts_that_it_serves_are_answered(asked, host, status):
    assert asked("GET", "/", host=host)[0] == status
    assert asked("GET", "/config", host=host)[0] == status


def test_other_names_are_served_when_asked_to(uploads, tmp_path):
    asked = Asked(uploads, tmp_path, allowed=["cxr.example:8443"])
    assert asked("GET", "/", host="cxr.example")[0] == 200
    assert asked("GET", "/", host="other.example")[0] == 403
    assert host_name("cxr.example:8443") == "cxr.example"


def test_at_all_addresses_the_one_that_was_connected_to_is_a_name(uploads, tmp_path):
    asked = Asked(uploads, tmp_path, host="0.0.0.0")
    assert asked("GET", "/", host="192.168.1.5:80", server="192.168.1.5")[0] == 200
    assert asked("GET", "/", host="192.168.1.6:80", server="192.168.1.5")[0] == 403
    assert asked("GET", "/", host="rebound.example", server="192.168.1.5")[0] == 403
    assert asked("GET", "/", host="0.0.0.0", server="192.168.1.5")[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "https://127.0.0.1:7860"}, 200),  # behind a proxy that has the certificate
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://127.0.0.1:7860"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
    ],
)
def test_other_sites_cannot_use_the_page(asked, uploads, headers, status):
    (path,) = waiting(uploads, ("a.png", b"x"))
    call = json.dumps({"data": [[file_data(path)]], "fn_index": 0, "session_hash": "s"})
    assert asked("POST", "/gradio_api/queue/join", [call.encode()], **headers)[0] == status
    assert len(asked.behind.seen) == (status == 200)


def test_the_page_needs_few_of_gradios_parts(asked):
    for path in (*PASSED, "/assets/a.js"):
        assert asked("GET", path) == (200, "gradio")
    for path in (
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd"),
        *("/gradio_api/proxy=http://evil.example", "/static/x", "/svelte/x", "/monitoring"),
        *("/gradio_api/stream/a/b", "/login", "/docs", "/openapi.json", "/gradio_api/runs"),
        *("/gradio_api/call/answer/x", "/gradio_api/app_id", "/robots.txt", "/gradio_api"),
        *("/config/", "//config", "/gradio_api/queue/data/", "/gradio_api/heartbeat/s"),
    ):
        assert asked("GET", path)[0] == 404, path
    for path in ("/gradio_api/run/answer", "/gradio_api/component_server", "/config", "/"):
        assert asked("POST", path, [b"{}"])[0] == 405
    assert len(asked.behind.seen) == len(PASSED) + 1


def test_every_answer_forbids_what_is_not_of_this_server(asked):
    for path in ("/", "/config", "/nothing"):
        asked("GET", path)
        policy = asked.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert not re.search(r"https?:|\*|unsafe-eval", policy)
        assert asked.headers["cache-control"] == "no-store"
        assert asked.headers["x-content-type-options"] == "nosniff"
        assert len(asked.named) == len(set(asked.named))
        assert "access-control-allow-origin" not in asked.named


def test_gradio_is_told_nothing_by_a_proxy(asked):
    asked("GET", "/config", x_forwarded_host="evil.example", forwarded="host=evil.example")
    assert set(asked.behind.seen[0][1]) == {b"host"}


def test_what_is_sent_waits_under_a_path_of_its_own(asked, uploads):
    body, kind = form([("a.png", b"12"), ("../b.png", b"34")])
    status, text = asked("POST", "/gradio_api/upload", [body[:50], body[50:]], content_type=kind)
    assert status == 200
    assert [uploads._waiting[path].read() for path in json.loads(text)] == [b"12", b"34"]
    assert uploads.name_of(json.loads(text)[1]) == "../b.png"


@pytest.mark.parametrize("length", [None, "right", "0", "x"])
def test_what_is_too_large_is_refused_and_not_kept(asked, uploads, length):
    body, kind = form([("a.png", b"1" * 200_000)])
    headers = {"content_type": kind}
    if length is not None:
        headers["content_length"] = str(len(body)) if length == "right" else length
    chunks = [body[n : n + 1000] for n in range(0, len(body), 1000)]
    status, text = asked("POST", "/gradio_api/upload", chunks, **headers)
    assert (status, "--max-mb" in text) == (413, True)
    assert asked.unread > 100
    assert waiting_files(uploads) == 0


def test_files_that_are_too_large_together_are_refused(asked, uploads):
    body, kind = form([("a.png", b"1" * 600), ("b.png", b"1" * 600)])
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 413
    assert waiting_files(uploads) == 0


class FullDisk(Uploads):
    """A disk on which there is room for one file."""

    def add(self, name, content):
        if self._waiting:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().add(name, content)


def test_a_disk_that_fills_is_told_and_nothing_of_the_form_stays(tmp_path):
    uploads = FullDisk(tmp_path, 10**7)
    body, kind = form([("a.png", b"1"), ("b.png", b"2")])
    asked = Asked(uploads, tmp_path)
    status, text = asked("POST", "/gradio_api/upload", [body], content_type=kind)
    assert (status, "No space left on device" in text) == (503, True)
    assert waiting_files(uploads) == 0


def test_too_many_files_are_refused(asked, uploads):
    body, kind = form([("a.png", b"1")] * (MOST_FILES + 1))
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 400
    assert list(uploads.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"", "text/plain"), (b"x", "multipart/form-data; boundary=a"), form([])],
    ids=["no form", "a damaged form", "an empty form"],  # a boundary is drawn at random
)
def test_a_form_without_files_is_refused(asked, body, kind):
    assert asked("POST", "/gradio_api/upload", [body], content_type=kind)[0] == 400


def test_a_call_reaches_gradio_with_its_files_alone(asked, uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    sent = file_data(path, url="http://evil.example/x", is_stream=True, orig_name="/etc/passwd")
    assert asked.join([[sent]], event_data={"x": 1}, simple_format=True)[0] == 200
    _, headers, body = asked.behind.seen[0]
    assert json.loads(body) == {
        "data": [[file_data(path)]],
        "event_data": None,
        "fn_index": 0,
        "session_hash": "s",
    }
    assert int(headers[b"content-length"]) == len(body)


@pytest.mark.parametrize(
    "data",
    [
        [[file_data("/etc/passwd")]],
        [[file_data("http://evil.example/x.png")]],
        [[file_data(["/etc/passwd"])]],
        [[{"path": None}]],
        [["/etc/passwd"]],
        ["/etc/passwd"],
        [file_data("/etc/passwd")],
        [{"value": [file_data("/etc/passwd")]}],
        [[], [file_data("/etc/passwd")]],
        {"path": "/etc/passwd"},
        None,
        "x",
    ],
)
def test_a_call_cannot_name_a_file_that_was_not_sent(asked, uploads, data):
    waiting(uploads, ("a.png", b"x"))
    assert asked.join(data)[0] == 400
    assert asked.behind.seen == []


def test_a_call_cannot_name_a_file_beside_one_that_was_sent(asked, uploads):
    (path,) = waiting(uploads, ("a.png", b"x"))
    for near in (f"{path}/../../x", f"{uploads.folder}/./{Path(path).name}", str(uploads.folder)):
        assert asked.join([[file_data(path), file_data(near)]])[0] == 400
    assert asked.behind.seen == []


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"1", b'"x"', b"\xff", b" " * 200_000])
def test_a_call_that_is_none_is_refused(asked, body):
    assert asked("POST", "/gradio_api/queue/join", [body])[0] in (400, 413)
    assert asked.behind.seen == []


# Start and end


def test_a_port_in_use_names_the_next_step():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DataError, match=rf"port {port} is in use.*--port {port + 1}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "999.1.1.1"])
def test_an_address_that_is_not_this_machines_is_refused(host):
    with pytest.raises(UsageError, match="--host"):
        bind(host, 0)


def test_the_address_is_one_that_a_browser_can_open():
    with bind("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        assert url_of(made, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        assert url_of(made, "0.0.0.0") == f"http://127.0.0.1:{port}/"
        assert url_of(made, "::1") == f"http://[::1]:{port}/"


def test_what_nobody_takes_is_looked_for_once_a_minute():
    swept = []
    server = _Server(uvicorn.Config(lambda: None), lambda: swept.append(1))

    async def minute():
        for tick in range(600, 1200):
            assert not await server.on_tick(tick)

    asyncio.run(minute())
    assert swept == [1]


def test_without_gradio_the_message_says_what_to_install(trained_once, monkeypatch):
    monkeypatch.setattr("cxrtool.workflows.gui.find_spec", lambda name: None)
    with (
        pytest.raises(UsageError, match=r"pip install 'cxrtool\[gui\]'"),
        open_page(GuiConfig(), trained_once.workspace),
    ):
        pass


def test_the_command_line_does_not_import_gradio():
    code = "import sys, cxrtool.cli.app, cxrtool.workflows.gui; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


TINY = GuiConfig(engine="torch", device="cpu", precision="fp32", port=0)


def test_nothing_is_left_and_nobody_is_called(trained_once, monkeypatch, tmp_path):
    called = []
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, to: called.append(to) or real(self, to)
    )
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ)
    with open_page(TINY, trained_once.workspace) as page:
        assert "GRADIO_SHARE" not in os.environ
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert tempfile.gettempdir() == str(folder) == str(page.guard.uploads.folder)
    assert dict(os.environ) == before
    assert tempfile.tempdir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    time.sleep(0.2)
    assert [to for to in called if isinstance(to, tuple)] == []


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked")
def test_what_a_killed_page_left_is_removed_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = {name: tmp_path / f"cxrtool-gui-{name}" for name in ("left", "young", "linked")}
    others = tmp_path / "other"
    for folder in (made["left"], made["young"], others):
        folder.mkdir()
        (folder / "image.png").write_bytes(png(9))
    made["linked"].symlink_to(others)
    (tmp_path / "cxrtool-gui-file").touch()
    with private_folder() as at_work:
        for folder in tmp_path.iterdir():
            if folder != made["young"]:
                os.utime(folder, (0, 0), follow_symlinks=False)
        with private_folder() as own:
            left = {own, at_work, others, made["young"], made["linked"]}
            assert set(tmp_path.iterdir()) == left | {tmp_path / "cxrtool-gui-file"}
            assert own.stat().st_mode & 0o077 == 0
    assert not own.exists()
    assert not at_work.exists()
    assert (others / "image.png").is_file()


def test_other_machines_are_warned_of(trained_once):
    warned = []

    class Listening(Reporter):
        def warn(self, text):
            warned.append(text)

    config = replace(TINY, host="0.0.0.0")
    with open_page(config, trained_once.workspace, Listening(quiet=True)) as page:
        assert page.url.startswith("http://127.0.0.1:")
    assert sum("everybody who reaches this machine" in text for text in warned) == 1


# A page that is served


@pytest.fixture(scope="module")
def served(trained_once, tmp_path_factory):
    with serving(trained_once.workspace, tmp_path_factory.mktemp("tmp"), "--max-mb", "3") as page:
        yield page


@pytest.fixture(scope="module")
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:10]


@pytest.fixture(scope="module")
def expected(trained_once, images):
    from cxrtool.images.reading import read_for_scoring, squish

    compute = Compute(engine="torch", device="cpu", precision="fp32")
    run = load_scorer(RunFolder(trained_once.workspace.runs / "tiny"), compute)
    pixels = [squish(read_for_scoring(image)[0], *run.image_sizes)[None] for image in images]
    return [dict(zip(run.labels, run(one)[0].tolist(), strict=True)) for one in pixels]


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_says_where_it_is(served):
    assert served.told == {
        "url": f"http://127.0.0.1:{served.port}/",
        "run": "tiny",
        "engine": "torch on cpu, fp32",
    }


def test_ten_people_at_once_get_ten_right_answers(served, images, expected):
    def ask(image):
        return served.look((image.name, image.read_bytes()))

    with ThreadPoolExecutor(10) as pool:
        texts = list(pool.map(ask, images))
    for text, right in zip(texts, expected, strict=True):
        assert probabilities(text) == pytest.approx(right, abs=1e-5)
        assert Parts(text).all("template", **{"data-part": "maps", "data-absent": ""})
    assert files_in(served.temporary) == []


def test_the_same_image_from_all_at_once_is_answered_to_all(served, images, expected):
    content = images[0].read_bytes()
    with ThreadPoolExecutor(10) as pool:
        texts = list(pool.map(lambda _: served.look(("a.jpg", content)), range(10)))
    assert all(probabilities(one) == pytest.approx(expected[0], abs=1e-5) for one in texts)


def bomb():
    """A small PNG that claims to have 40,000 by 40,000 pixels."""
    made = png(9)
    head = made[:16] + (40_000).to_bytes(4) * 2 + made[24:29]
    return head + zlib.crc32(head[12:29]).to_bytes(4) + made[33:]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a"),
        (b"hello", "not a"),
        (bomb(), "more pixels than"),
        (png(9)[:60], "cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_a_message(served, content, told):
    text = served.look((MARKUP, content))
    assert Parts(text).all("template", **{"data-state": "failed"})
    assert told in Parts(text).text()
    assert str(served.temporary) not in text
    assert files_in(served.temporary) == []


def test_too_large_a_body_is_refused(served):
    status, text = served.upload(("a.png", b"x" * (4 * 2**20)))
    assert (status, "--max-mb" in text) == (413, True)
    assert files_in(served.temporary) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "http://127.0.0.1:9/x.png"])
def test_no_client_can_have_a_local_file_read(served, path):
    status, text = served.join([file_data(path)], "aaaa")
    assert status == 400
    assert b"root:" not in text
    for route in ("file=", "file/", "proxy="):
        assert served.request("GET", f"/gradio_api/{route}{path}")[0] == 404
    assert served.request("POST", "/gradio_api/run/answer", "{}")[0] == 405
    assert files_in(served.temporary) == []


def test_the_private_folder_cannot_be_read_either(served, images):
    _, (path,) = served.upload(("a.jpg", images[0].read_bytes()))
    assert served.request("GET", f"/gradio_api/file={path}")[0] == 404
    served.join([file_data(path)], "bbbb")


def test_strangers_are_refused(served):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        status, text = served.request("GET", "/", headers=headers)
        assert status == 403
        assert b"cxrtool" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked_also_while_somebody_waits(trained_once, tmp_path, images, number):
    with serving(trained_once.workspace, tmp_path / "tmp") as page:
        page.upload(("a.jpg", images[0].read_bytes()))
        assert files_in(page.temporary) == []
        # Somebody who never comes to an end with sending.
        held = socket.create_connection(("127.0.0.1", page.port))
        told = "Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        held.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\n{told}Content-Length: 99\r\n\r\n--a".encode()
        )
        time.sleep(0.3)
        assert page.stop(number) == 0, page.process.stderr.read()
        held.close()
        assert "Traceback" not in page.process.stderr.read()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_queue_lists_all_images():
    items = [Item(name="a.png"), Item(name="b.png")]
    listed = Parts(queue_html(items)).all("li")
    assert [one["data-item"] for one in listed] == [item.id for item in items]
