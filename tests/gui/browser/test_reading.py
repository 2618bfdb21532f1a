"""The page before a real network: what is read is what it says, what is shown is what it saw."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.images.film import read_film
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import squish
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from tests.support.copies import copy_folder
from tests.support.dicoms import NAME, NUMBER, dicom
from tests.support.sealing import change_model, change_thresholds
from tests.support.serving import serving
from tests.support.watched_page import MARKUP

SIDE = 96
MOST_MB = 3


@pytest.fixture(scope="module")
def workspace(trained_once, tmp_path_factory):
    """The tiny run at a size at which its maps have nine cells, and something in each."""
    folder = tmp_path_factory.mktemp("mapped") / "cxr"
    copy_folder(trained_once.workspace.folder, folder)
    run = RunFolder(folder / "runs" / trained_once.run)
    weights = load_file(run.weights)
    weights["fc.weight"] = weights["fc.weight"].abs()
    save_file(weights, run.weights)
    change_model(run, image_size=SIDE, squish=[SIDE])
    change_thresholds(run)
    return Workspace(folder)


@pytest.fixture(scope="module")
def served(workspace, warm, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("tmp")
    with serving(workspace, temporary, "--max-mb", str(MOST_MB), program=[warm]) as page:
        yield page


@pytest.fixture
def reading(served, look):
    """A page of the real server; nothing is left in its temporary folder."""
    yield look(served.told["url"])
    left = time.monotonic() + 10
    while files := [path for path in served.temporary.rglob("*") if path.is_file()]:
        assert time.monotonic() < left, files
        time.sleep(0.05)


@pytest.fixture(scope="module")
def images(trained_once):
    return sorted((trained_once.data / "train").rglob("*frontal.jpg"))[:3]


@pytest.fixture(scope="module")
def scorer(workspace, trained_once):
    run = RunFolder(workspace.runs / trained_once.run)
    return load_scorer(run, Compute(engine="torch", device="cpu", precision="fp32"))


def expected(scorer, image):
    pixels = squish(read_for_scoring(image)[0], *scorer.image_sizes)
    return dict(zip(scorer.labels, scorer(pixels[None])[0].tolist(), strict=True))


def choose(watched, *images):
    """Choose files, a copy of each where they are of one name."""
    watched.drop(*((f"{index}.{one.name}", one.read_bytes()) for index, one in enumerate(images)))
    watched.settle()


def test_what_is_read_is_what_the_network_says(reading, images, scorer):
    reading.choose(images[0])
    reading.settle()
    found, right = reading.findings(), expected(scorer, images[0])
    assert found == pytest.approx(right, abs=6e-4)
    *others, no_finding = found
    assert no_finding == "No Finding"
    assert [found[one] for one in others] == sorted((found[one] for one in others), reverse=True)
    for label, probability in right.items():
        limit = scorer.thresholds[label]
        told = reading.finding(label).locator(".decision").inner_text()
        words = ("yes", "no") if label == "No Finding" else ("positive", "negative")
        assert told.split(" ", 1)[1] == (
            "no decision" if limit is None else words[probability < limit]
        )


def test_what_it_is_and_is_not_is_in_sight(reading, images):
    choose(reading, images[0])
    reading.page.mouse.wheel(0, 5000)
    for text in ("not a medical device", "not scored on test yet", f"resnet18 at {SIDE} px"):
        assert reading.page.get_by_text(text).first.is_visible()
    assert reading.page.get_by_text("torch on cpu, fp32").first.is_visible()


def test_several_images_each_have_their_own(reading, images, scorer):
    choose(reading, *images)
    for index, image in enumerate(images):
        reading.page.locator("#images .open").nth(index).click()
        reading.settle()
        assert reading.findings() == pytest.approx(expected(scorer, image), abs=6e-4)


def shown_one_to_one(watched):
    """The greys on the screen, one pixel each."""
    watched.page.locator("#about").click()
    watched.press("1")
    shown = watched.greys()
    seen = np.argwhere(shown[..., 3] == 255)
    (top, left), (bottom, right) = seen.min(0), seen.max(0) + 1
    return shown[top:bottom, left:right, 0].astype(int)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("windowed", [True, False])
def test_a_deep_film_is_shown_as_the_network_saw_it(reading, tmp_path, photometric, windowed):
    pixels = np.random.default_rng(7).integers(200, 3900, (50, 60)).repeat(6, 0).repeat(6, 1)
    elements = {"WindowCenter": 2000, "WindowWidth": 2500} if windowed else {}
    path = dicom(
        tmp_path / "deep.dcm",
        pixels.astype(np.uint16),
        bits=12,
        PhotometricInterpretation=photometric,
        ViewPosition="PA",
        **elements,
    )
    reading.choose(path)
    reading.settle()
    scored = np.asarray(read_film("deep.dcm", path.read_bytes()).grey).astype(int)
    shown = shown_one_to_one(reading)
    assert shown.shape == scored.shape
    assert np.abs(shown - scored).max() <= 1
    text = reading.page.content()
    assert NAME not in text
    assert NUMBER not in text


def test_a_jpeg_is_shown_as_the_network_saw_it(reading, images):
    reading.choose(images[0])
    reading.settle()
    scored = np.asarray(read_for_scoring(images[0])[0]).astype(int)
    assert np.abs(shown_one_to_one(reading) - scored).max() <= 1


def test_every_finding_has_its_own_map(reading, images):
    choose(reading, images[0])
    reading.button("heat").click()
    reading.settle()
    seen = {}
    for index in (3, 8):
        line = reading.page.locator("#table tbody tr").nth(index)
        line.locator("td").last.click()
        assert line.locator("input").is_checked()
        label = line.get_attribute("data-label")
        reading.page.locator("#where", has_text=f"Where the network looked for {label}").wait_for()
        seen[index] = reading.greys()
    assert (seen[3] != seen[8]).any()


def test_a_file_that_is_no_image_is_a_message(reading, images, tmp_path):
    reading.drop((MARKUP, b"hello"), ("good.jpg", images[0].read_bytes()))
    reading.settle()
    problem = reading.page.locator("#table .problem")
    assert "not a" in problem.inner_text()
    assert reading.page.locator("#about").inner_text() == MARKUP
    assert "Traceback" not in reading.page.content()
    reading.open_image("good.jpg")
    assert len(reading.findings()) == 14


def test_an_image_that_is_no_x_ray_has_a_warning(reading, tmp_path):
    Image.effect_noise((900, 200), 60).save(tmp_path / "wide.png")
    reading.choose(tmp_path / "wide.png")
    reading.settle()
    assert "900" in reading.page.locator("#table .warning").first.inner_text()


def test_a_blank_image_has_no_decision(reading, tmp_path):
    Image.new("L", (300, 300), 90).save(tmp_path / "blank.png")
    reading.choose(tmp_path / "blank.png")
    reading.settle()
    told = {one.inner_text() for one in reading.page.locator("#table .decision").all()}
    assert told <= {"– no decision"}
    assert "blank" in reading.page.locator("#table .warning").inner_text()
    assert reading.states() == [("blank.png", "nothing decided")]


def test_too_much_is_refused_before_it_is_sent(reading):
    reading.drop(("large.png", bytes(MOST_MB * 2**20 + 1)))
    reading.page.locator(".problem #status", has_text="--max-mb").wait_for()
    assert not any("/api/predict" in url for url in reading.requests)


def test_the_pages_policy_is_enforced(reading):
    """Not by what is asked of it: a script, a picture and a request of another origin fail."""
    reading.expect("Content Security Policy")
    reading.page.evaluate(
        """() => {
            window.broken = [];
            document.addEventListener("securitypolicyviolation", (event) =>
                window.broken.push(event.effectiveDirective));
            new Image().src = "http://192.0.2.1/x.png";
            fetch("http://192.0.2.1/x").catch(() => 0);
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.head.append(script);
            document.body.setAttribute("style", "color: red");
        }"""
    )
    reading.wait_for(
        # A script's is script-src or, to newer browsers, script-src-elem.
        lambda: {"-".join(one.split("-")[:2]) for one in reading.page.evaluate("window.broken")},
        {"img-src", "connect-src", "script-src", "style-src"},
    )
    assert reading.page.evaluate("window.ran") is None
    reading.requests[:] = [url for url in reading.requests if "192.0.2.1" not in url]


def test_a_pdf_of_what_is_open(reading, images):
    choose(reading, images[0])
    reading.page.get_by_text("Export").click()
    with reading.page.expect_download() as waited:
        reading.button("pdf").click()
    assert Path(waited.value.path()).read_bytes().startswith(b"%PDF-")
    reading.settle()
