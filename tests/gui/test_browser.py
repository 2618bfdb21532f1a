"""The page in a real browser: what a person drops, reads, clicks, and what the browser asks for."""

import shutil
import time
from urllib.parse import urlsplit

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import squish
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from tests.support.copies import copy_folder
from tests.support.sealing import change_model, change_thresholds
from tests.support.serving import serving

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
MARKUP = "<img src=x onerror=alert(1)>.png"
MOST_MB = 3
SIDE = 96

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium in PATH: apt-get install chromium"
)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


class Watched:
    """A page in a browser, and all that it asked for and complained of."""

    def __init__(self, context, address):
        self.requests, self.complaints = [], []
        self.page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self.listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.page.set_default_timeout(60_000)
        self.page.goto(address)
        self.page.locator("#status", has_text="Ready").wait_for()

    def listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def drop(self, *files):
        self.page.set_input_files("#drop input[type=file]", [str(file) for file in files])

    def drop_beside(self, *files):
        """Drop files one by one, at once, where Gradio has no place for them."""
        self.each_at_once(
            "#main",
            """const event = { dataTransfer: carried, bubbles: true, cancelable: true };
            place.dispatchEvent(new DragEvent("dragover", event));
            place.dispatchEvent(new DragEvent("drop", event));""",
            files,
        )

    def choose(self, *files):
        """Choose files one by one, at once, where Gradio has its place for them."""
        self.each_at_once(
            "#drop input[type=file]",
            """place.files = carried.files;
            place.dispatchEvent(new Event("change", { bubbles: true }));""",
            files,
        )

    def each_at_once(self, place, action, files):
        self.page.locator(place).evaluate(
            """(place, files) => files.forEach(([name, bytes]) => {
                const carried = new DataTransfer();
                carried.items.add(new File([new Uint8Array(bytes)], name));
                ACTION
            })""".replace("ACTION", action),
            [[file.name, list(file.read_bytes())] for file in files],
        )

    def settle(self):
        """Wait until all that was dropped has its answer and its maps.

        What is dropped changes the status at once, and what was held is sent before it says Ready.
        """
        self.page.locator("#status", has_text="Ready").wait_for()
        assert self.page.locator('#images [data-state="waiting"]').count() == 0

    @property
    def answer(self):
        return self.page.locator("#answers article:not([hidden])")

    def findings(self):
        """Label to probability, in the order of the table."""
        assert self.answer.count() == 1
        rows = self.answer.locator("tbody tr").all()
        return {
            row.get_attribute("data-label"): float(row.locator("td").nth(1).inner_text())
            for row in rows
        }

    def shown_map(self):
        """The map that lies over the image, and how opaque it is there."""
        heat = self.answer.locator(".heat:not([hidden])")
        return heat.get_attribute("src"), heat.evaluate("one => getComputedStyle(one).opacity")


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
def served(workspace, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("tmp")
    with serving(workspace, temporary, "--max-mb", str(MOST_MB)) as page:
        yield page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as tool:
        profile = tmp_path_factory.mktemp("profile")
        context = tool.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1280, "height": 800}
        )
        yield context
        context.close()


@pytest.fixture
def watched(served, browser):
    watched = Watched(browser, served.told["url"])
    yield watched
    watched.page.close()
    hosts = {urlsplit(url).hostname for url in watched.requests if not url.startswith("data:")}
    assert hosts == {"127.0.0.1"}
    assert watched.complaints == []
    assert [path for path in served.temporary.rglob("*") if path.is_file()] == []


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


def test_what_is_read_is_what_the_network_says(watched, images, scorer):
    watched.drop(images[0])
    watched.answer.wait_for()
    found, right = watched.findings(), expected(scorer, images[0])
    assert found == pytest.approx(right, abs=6e-4)
    *others, no_finding = found
    assert no_finding == "No Finding"
    assert [found[one] for one in others] == sorted((found[one] for one in others), reverse=True)
    for row in watched.answer.locator("tbody tr").all():
        label = row.get_attribute("data-label")
        limit = scorer.thresholds[label]
        told = row.locator(".decision").inner_text()
        words = ("yes", "no") if label == "No Finding" else ("positive", "negative")
        assert told == ("n/a" if limit is None else words[right[label] < limit])
        if limit is not None:
            mark, track = row.locator(".mark").bounding_box(), row.locator(".track").bounding_box()
            place = (mark["x"] + mark["width"] / 2 - track["x"]) / track["width"]
            assert place == pytest.approx(min(limit, 1), abs=0.03)


def test_what_it_is_and_is_not_is_in_sight(watched, images):
    watched.drop(images[0])
    watched.answer.wait_for()
    watched.page.mouse.wheel(0, 5000)
    for text in ("not a medical device", "not scored on test yet", f"resnet18 at {SIDE} px"):
        assert watched.page.get_by_text(text).first.is_visible()
    assert watched.page.get_by_text("torch on cpu, fp32").first.is_visible()


def test_another_finding_shows_another_map_and_the_slider_its_opacity(watched, images):
    watched.drop(*images)
    watched.settle()
    assert watched.page.locator("article[data-mapped]").count() == 3
    maps = watched.answer.locator(".heat")
    assert maps.count() == 14
    seen = {}
    for row in (3, 8):
        line = watched.answer.locator("tbody tr").nth(row)
        line.locator("td").last.click()
        assert line.locator("input").is_checked()
        assert line.get_attribute("data-label") in watched.answer.locator(".where").inner_text()
        seen[row], opacity = watched.shown_map()
        assert float(opacity) == 0.7
    assert seen[3] != seen[8]
    assert maps.evaluate_all("all => all.filter((one) => !one.hidden).length") == 1
    slider = watched.answer.get_by_label("Opacity of the heat map")
    slider.focus()
    for _ in range(5):
        watched.page.keyboard.press("ArrowRight")
    assert float(watched.shown_map()[1]) == 0.75
    slider.fill("0")
    assert float(watched.shown_map()[1]) == 0
    assert watched.answer.locator("output").inner_text() == "0 %"


def test_findings_are_chosen_by_keyboard(watched, images):
    watched.drop(images[0])
    watched.page.locator("article[data-mapped]").wait_for()
    first = watched.answer.locator("tbody input").first
    first.focus()
    watched.page.keyboard.press("ArrowDown")
    second = watched.answer.locator("tbody tr").nth(1)
    assert second.locator("input").is_checked()
    assert "chosen" in second.get_attribute("class")
    assert second.get_attribute("data-label") in watched.answer.locator(".where").inner_text()


def test_several_images_are_a_list(watched, images, scorer):
    watched.drop(*images)
    items = watched.page.locator("#images li")
    watched.settle()
    assert items.count() == 3
    assert watched.page.locator("#delivery template").count() == 0  # else the server keeps it too
    assert watched.findings() == pytest.approx(expected(scorer, images[0]), abs=6e-4)
    items.nth(2).locator("button").click()
    assert watched.findings() == pytest.approx(expected(scorer, images[2]), abs=6e-4)
    watched.drop(images[1])
    watched.settle()
    assert items.count() == 4
    assert watched.findings() == pytest.approx(expected(scorer, images[1]), abs=6e-4)
    watched.page.get_by_role("button", name="Remove all").click()
    assert items.count() == 0
    assert watched.page.get_by_text("Drop chest X-rays to see").is_visible()


def test_a_file_that_is_no_image_is_a_message(watched, images, tmp_path):
    broken = tmp_path / MARKUP
    broken.write_bytes(b"hello")
    watched.drop(broken, images[0])
    problem = watched.answer.locator(".problem")
    problem.wait_for()
    assert "not a" in problem.inner_text()
    assert watched.answer.locator("h2").inner_text() == MARKUP
    assert "Traceback" not in watched.page.content()
    watched.settle()
    watched.page.locator("#images li").nth(1).locator("button").click()
    assert len(watched.findings()) == 14


def test_an_image_that_is_no_x_ray_has_a_warning(watched, tmp_path):
    Image.effect_noise((900, 200), 60).save(tmp_path / "wide.png")
    watched.drop(tmp_path / "wide.png")
    warning = watched.answer.locator(".warning")
    warning.wait_for()
    assert "900" in warning.inner_text()


def test_too_much_is_refused_before_it_is_sent(watched, tmp_path):
    (tmp_path / "large.png").write_bytes(b"1" * (MOST_MB * 2**20 + 1))
    watched.drop(tmp_path / "large.png")
    watched.page.locator("#status.problem", has_text="--max-mb").wait_for()
    assert not any("/upload" in url for url in watched.requests)


def test_what_the_server_refuses_is_told_and_ends_the_waiting(watched, images, served):
    def refuse(route):
        route.fulfill(status=503, body="too many images are waiting: try again in a minute\n")

    watched.page.route("**/gradio_api/upload*", refuse)
    watched.drop(images[0])
    problem = watched.page.locator("#status.problem")
    problem.wait_for()
    assert problem.inner_text() == "too many images are waiting: try again in a minute"
    watched.page.unroute("**/gradio_api/upload*")
    watched.drop(images[0])
    watched.answer.wait_for()
    watched.complaints.clear()  # the browser's own line about the 503


def test_a_server_that_is_gone_is_told(watched, images):
    watched.page.route("**/*", lambda route: route.abort())
    watched.drop(images[0])
    problem = watched.page.locator("#status.problem", has_text="does not answer")
    problem.wait_for()
    assert problem.is_visible()
    watched.complaints.clear()


def test_a_file_beside_the_drop_zone_is_taken_too(watched, images, scorer):
    watched.drop_beside(images[0])
    watched.answer.wait_for()
    assert watched.findings() == pytest.approx(expected(scorer, images[0]), abs=6e-4)


def test_what_is_dropped_while_others_are_at_work_comes_after_them(watched, images):
    watched.drop_beside(*images)
    watched.settle()
    assert watched.page.locator("#images li").count() == 3


def test_what_is_chosen_while_others_are_sent_comes_after_them(watched, images):
    watched.choose(*images)
    watched.settle()
    assert watched.page.locator("#images li").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_off_at_the_side(served, browser, images, width, scheme):
    watched = Watched(browser, served.told["url"])
    watched.page.emulate_media(color_scheme=scheme)
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.drop(images[0])
    watched.page.locator("article[data-mapped]").wait_for()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    scroll = watched.answer.locator(".scroll")
    assert scroll.evaluate("one => one.scrollWidth <= one.clientWidth")
    ground = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, ground[4:-1].split(","))) / 3
    assert (light > 128) == (scheme == "light")
    watched.page.close()


def test_the_pages_policy_is_enforced(watched):
    """Not by what is asked of it: a script, a picture and a request of another origin fail."""
    watched.page.evaluate(
        """() => {
            window.broken = [];
            document.addEventListener("securitypolicyviolation", (event) =>
                window.broken.push(event.effectiveDirective));
            new Image().src = "http://192.0.2.1/x.png";
            fetch("http://192.0.2.1/x").catch(() => 0);
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.head.append(script);
        }"""
    )
    refused = set()
    until = time.monotonic() + 60
    while len(refused) < 3 and time.monotonic() < until:
        watched.page.wait_for_timeout(20)
        # A script's is script-src or, to newer browsers, script-src-elem.
        refused = {"-".join(one.split("-")[:2]) for one in watched.page.evaluate("window.broken")}
    assert refused == {"img-src", "connect-src", "script-src"}
    assert watched.page.evaluate("window.ran") is None
    watched.complaints.clear()
    watched.requests[:] = [url for url in watched.requests if "192.0.2.1" not in url]
