"""How long the page takes, beside the same work done bare, and what it holds.

python tests/benchmarks/bench_page.py [--arch densenet121] [--pairs 5] [--images 200] [--clients 50]

A server with a network of drawn X-rays and a real Chromium. In turn: a 10 MB DICOM, then 20 JPEGs,
from the drop to the first finding on the screen, and bare: the same file decoded and scored in this
process. Then many clients of the HTTP interface at once, each answer compared with the bare one.
Then the memory that the browser's page has after many images. Medians of the pairs.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from playwright.sync_api import sync_playwright

from cxrtool.core.config import PrepareConfig, SplitConfig, TrainConfig
from cxrtool.core.runs import RunFolder
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.images.reading import read_for_scoring
from cxrtool.images.resizing import squish
from cxrtool.inference.engines.base import Compute
from cxrtool.inference.scorer import load_scorer
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from cxrtool.workflows.train import train_model
from tests.support.dicoms import dicom
from tests.support.serving import probabilities, serving
from tests.support.watched_page import CHROMIUM, FLAGS

SIZE = 320
FINDING = "#table tbody tr"
MIB = 2**20
AT_ONCE = 10
"""Films that are dropped together."""


def make_workspace(folder, arch):
    """A workspace with one run, and the drawn X-rays."""
    drawn = draw_dataset(folder / "data", patients=60, seed=1, valid_patients=6)
    workspace = Workspace(folder / "cxr")
    prepare_manifest(PrepareConfig(data=drawn.folder, cache_size=SIZE), workspace)
    split_manifest(SplitConfig(sizes="60,20,20"), workspace, seed=1)
    small = {"weights": "none", "epochs": 1, "limit": 16, "batch_size": 16}
    config = TrainConfig(arch=arch, image_size=SIZE, name="run", **small)
    train_model(config, workspace, seed=1)
    return workspace, sorted(drawn.folder.rglob("*frontal.jpg"))


def large_dicom(path):
    """A film of 2,000 by 2,500 pixels in 16 bits: 10 MB."""
    rng = np.random.default_rng(0)
    slope = np.linspace(200, 3500, 2500)[:, None] + rng.normal(0, 40, (2500, 2000))
    return dicom(path, slope.clip(0, 4095).astype(np.uint16), bits=12)


def bare(scorer, path):
    """One image decoded and scored, without a server."""
    pixels = squish(read_for_scoring(path)[0], *scorer.image_sizes)
    return dict(zip(scorer.labels, scorer(pixels[None])[0].tolist(), strict=True))


def timed(work):
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def drop_to_finding(context, url, files):
    """Seconds from a drop to the first finding on the screen."""
    page = context.new_page()
    page.goto(url)
    page.locator("#status", has_text="Ready").wait_for()
    seconds = timed(
        lambda: (
            page.set_input_files("#files", [str(one) for one in files]),
            page.locator(FINDING).first.wait_for(),
        )
    )
    page.locator("#status", has_text="Ready").wait_for(timeout=300_000)
    page.close()
    return seconds


def show_drops(browser, served, scorer, files, name, pairs):
    """A line on the drop of files, beside the bare work on the first of them."""
    context = browser.new_context()
    both = []
    for _ in range(pairs):
        seconds = drop_to_finding(context, served.told["url"], files)
        both.append((seconds, timed(lambda: bare(scorer, files[0]))))
    context.close()
    print(
        f"{name}: first finding after {statistics.median(one for one, _ in both):.2f} s, bare "
        f"{statistics.median(one for _, one in both):.2f} s, "
        f"{statistics.median(one - other for one, other in both):.2f} s more",
        flush=True,
    )


def show_clients(served, scorer, images, clients):
    """A line on many clients at once."""
    right = {image: bare(scorer, image) for image in images}
    chosen = [images[n % len(images)] for n in range(clients)]

    def ask(image):
        answer = served.predict((image.name, image.read_bytes()))["images"][0]
        found, wanted = probabilities(answer), right[image]
        return max(abs(found[label] - wanted[label]) for label in wanted)

    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        worst = max(pool.map(ask, chosen))
        seconds = time.perf_counter() - began
    alone = timed(lambda: [bare(scorer, image) for image in chosen])
    print(
        f"{clients} clients at once: all answered, within {worst:.1e} of bare, in {seconds:.1f} s; "
        f"bare one after another {alone:.1f} s: {seconds / alone:.2f} times that",
        flush=True,
    )


def resident(kind):
    """MiB of memory of the browser's processes of a kind."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if b"chromium" in command and f"--type={kind}".encode() in command:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total / 1024


def show_memory(browser, served, film, images):
    """A line on what the browser holds after many images, each a 10 MB film."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.told["url"])
    page.locator("#status", has_text="Ready").wait_for()
    held = [resident("renderer")]
    for first in range(0, images, AT_ONCE):
        links = [film.with_name(f"{first + n}.dcm") for n in range(AT_ONCE)]
        for link in links:
            link.hardlink_to(film)
        page.set_input_files("#files", [str(link) for link in links])
        page.locator("#status", has_text="Ready").wait_for(timeout=600_000)
        held.append(resident("renderer"))
    tools = context.new_cdp_session(page)
    tools.send("HeapProfiler.collectGarbage")
    print(
        f"the browser's page: {held[0]:.0f} MiB empty, {held[1]:.0f} after {AT_ONCE} films "
        f"of {film.stat().st_size / MIB:.0f} MiB, {held[-1]:.0f} after {images}; "
        f"{resident('renderer'):.0f} once it has tidied up",
        flush=True,
    )
    context.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="densenet121")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--clients", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as tool:
        folder = Path(name)
        workspace, images = make_workspace(folder, options.arch)
        compute = Compute(engine="torch", device="cpu", precision="fp32")
        scorer = load_scorer(RunFolder(workspace.runs / "run"), compute)
        film = large_dicom(folder / "film.dcm")
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with serving(workspace, folder / "tmp") as served:
            show_drops(browser, served, scorer, [film], "a DICOM of 10 MB", options.pairs)
            show_drops(browser, served, scorer, images[:20], "20 JPEGs", options.pairs)
            show_clients(served, scorer, images, options.clients)
            show_memory(browser, served, film, options.images)
        browser.close()


if __name__ == "__main__":
    main()
