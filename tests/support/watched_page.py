"""The page in a real Chromium: what a person drops and reads, and what the browser asks for."""

import base64
import shutil
import time
import zlib
from urllib.parse import urlsplit

import numpy as np

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
MARKUP = "<img src=x onerror=alert(1)>.png"
CARRIED = """(files) => {
    const carried = new DataTransfer();
    for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        carried.items.add(new File([bytes], name));
    }
    return carried;
}"""
DRAWN = """(async () => {
    const { panes } = await import("/static/desk.js");
    const turn = () =>
        new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done))));
    await turn();
    const pictures = panes.map((pane) => pane.heat?.image).filter(Boolean);
    if (!pictures.length) return;
    const come = (one) => one.complete || new Promise((done) => {
        for (const end of ["load", "error"]) one.addEventListener(end, done);
    });
    await Promise.all(pictures.map(come));
    await turn();
})()"""
NOTHING_AT_WORK = """(async () => {
    const { queue } = await import("/static/desk.js");
    return queue.items.every((one) => one.jobs.size === 0);
})()"""
PACKED = """async (canvas) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const packed = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
    let text = "";
    for (let start = 0; start < bytes.length; start += 8192) {
        text += String.fromCharCode(...bytes.subarray(start, start + 8192));
    }
    return [width, height, btoa(text)];
}"""
LONGEST = 60
"""Seconds that the page may take for anything, on a machine with other work."""


def work_of(page, act):
    """Seconds of processor time that a page takes for something, whatever else is at work."""
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def so_far():
        metrics = tools.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    before = so_far()
    act()
    spent = so_far() - before
    tools.detach()
    return spent


class Watched:
    """A page in a browser, and all that it asked for and complained of."""

    def __init__(self, page, address):
        self.requests, self.complaints, self.expected = [], [], ()
        self.page, self.address = page, address
        self.listeners = {
            "request": lambda request: self.requests.append(request.url),
            "console": self.listen,
            "pageerror": lambda error: self.complaints.append(str(error)),
            "dialog": lambda dialog: self.complaints.append(f"dialog {dialog.message}"),
        }
        for event, listener in self.listeners.items():
            page.on(event, listener)
        page.set_default_timeout(LONGEST * 1000)

    def listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self):
        self.page.mouse.move(0, 0)
        self.page.goto(self.address)
        self.settle()
        return self

    def leave(self):
        """End all that the page does, and leave the browser's page to the next."""
        self.page.context.set_offline(False)
        self.page.goto("about:blank")
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)

    def expect(self, *complaints):
        """Take these for the browser's own lines about what a test does; they may come late."""
        self.expected = complaints

    def check(self):
        """It asked nobody but the server, and complained of nothing that was not expected."""
        hosts = {urlsplit(one).hostname for one in self.requests if not one.startswith("data:")}
        assert hosts == {"127.0.0.1"}, hosts
        unexpected = [
            one for one in self.complaints if not any(text in one for text in self.expected)
        ]
        assert unexpected == [], unexpected

    def choose(self, *files):
        """Choose files or, as one, a folder."""
        place = "#folders" if files[0].is_dir() else "#files"
        self.page.set_input_files(place, [str(one) for one in files])

    def drop(self, *files, beside="main"):
        """Drop (name, content) pairs together."""
        self.page.locator(beside).first.evaluate(
            f"""(place, files) => {{
                const dataTransfer = ({CARRIED})(files);
                const event = {{ dataTransfer, bubbles: true, cancelable: true }};
                place.dispatchEvent(new DragEvent("dragover", event));
                place.dispatchEvent(new DragEvent("drop", event));
            }}""",
            [[name, base64.b64encode(content).decode()] for name, content in files],
        )

    def named(self, *names, content=b"x"):
        """Drop small files of these names together."""
        self.drop(*((name, content) for name in names))

    def settle(self):
        """Wait until all went well, nothing is at work, and what came is drawn."""
        self.frame()  # what was done changes the status in the next turn
        self.page.locator("#status", has_text="Ready").wait_for()
        self.frame()

    def rest(self):
        """Wait until nothing is at work, whatever came of it."""
        self.until(NOTHING_AT_WORK)
        self.frame()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        self.frame()

    def button(self, name):
        return self.page.locator(f'[data-act="{name}"]').first

    @property
    def status(self):
        return self.page.locator("#status")

    def states(self):
        """Name and state of each entry of the queue, as they are read."""
        self.frame()
        read = """(entries) => entries.map((one) =>
            [".name", ".state"].map((part) => one.querySelector(part).textContent))"""
        return [tuple(one) for one in self.page.locator("#images li").evaluate_all(read)]

    def entry(self, name):
        return self.page.locator("#images li", has_text=name)

    def open_image(self, name):
        self.entry(name).locator(".open").click()
        self.settle()

    def findings(self, column=0):
        """Label to probability, in the order of the table."""
        self.frame()
        read = """(rows, column) => rows.map((one) =>
            [one.dataset.label, one.querySelectorAll("td")[column].innerText])"""
        lines = self.page.locator("#table tbody tr").evaluate_all(read, column)
        return {label: float(text.split()[0]) for label, text in lines}

    def finding(self, label):
        return self.page.locator(f'#table tr[data-label="{label}"]')

    def pane(self, index=0):
        return self.page.locator(".pane").nth(index)

    def told(self, part, index=0):
        """What stands beside a film: zoom, window, value, ruler, name."""
        self.frame()
        return self.pane(index).locator(f".{part}").first.inner_text()

    def middle(self, index=0):
        box = self.pane(index).locator("canvas").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def wheel(self, down):
        """Turn the wheel, and wait until the film is larger or smaller: a browser does not."""
        before = self.told("zoom")
        self.page.mouse.wheel(0, down)
        self.wait_for(lambda: self.told("zoom") != before, True)

    def until(self, condition):
        """Wait for an expression in the page; its own waiting would evaluate text there."""
        self.wait_for(lambda: bool(self.page.evaluate(condition)), True, condition)

    def wait_for(self, read, right, about=""):
        """Wait until what is read is this."""
        end = time.monotonic() + LONGEST
        while (found := read()) != right:
            assert time.monotonic() < end, f"after {LONGEST} s {found}, not {right} {about}"
            self.page.wait_for_timeout(20)

    def frame(self):
        """Wait until what was changed is shown, and drawn."""
        self.page.evaluate(DRAWN)

    def greys(self, index=0):
        """All that a film's canvas shows: rows of grey, or of colours where there are any."""
        self.frame()
        width, height, text = self.pane(index).locator("canvas").evaluate(PACKED)
        values = zlib.decompress(base64.b64decode(text))
        return np.frombuffer(values, np.uint8).reshape(height, width, 4)
