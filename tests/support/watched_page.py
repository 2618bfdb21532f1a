"""The page in a real Chromium: what a person drops and reads, and what the browser asks for."""

import base64
import shutil
import time
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
        self.address = address

    def listen(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self):
        self.page.goto(self.address)
        self.settle()
        return self

    def close(self):
        """Close it; it asked nobody but the server, and complained of nothing."""
        self.page.close()
        hosts = {urlsplit(one).hostname for one in self.requests if not one.startswith("data:")}
        assert hosts == {"127.0.0.1"}
        assert self.complaints == []

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
        """Wait until nothing is at work."""
        self.page.wait_for_timeout(30)  # what was done changes the status in the next turn
        self.page.locator("#status", has_text="Ready").wait_for()

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
        entries = self.page.locator("#images li").all()
        return [
            (one.locator(".name").text_content(), one.locator(".state").text_content())
            for one in entries
        ]

    def entry(self, name):
        return self.page.locator("#images li", has_text=name)

    def open_image(self, name):
        self.entry(name).locator(".open").click()
        self.settle()

    def findings(self, column=0):
        """Label to probability, in the order of the table."""
        return {
            row.get_attribute("data-label"): float(
                row.locator("td").nth(column).inner_text().split()[0]
            )
            for row in self.page.locator("#table tbody tr").all()
        }

    def finding(self, label):
        return self.page.locator(f'#table tr[data-label="{label}"]')

    def pane(self, index=0):
        return self.page.locator(".pane").nth(index)

    def told(self, part, index=0):
        """What stands beside a film: zoom, window, value, ruler, name."""
        return self.pane(index).locator(f".{part}").first.inner_text()

    def middle(self, index=0):
        box = self.pane(index).locator("canvas").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def until(self, condition):
        """Wait for an expression in the page; its own waiting would evaluate text there."""
        end = time.monotonic() + 60
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(50)

    def frame(self):
        """Wait until what was changed is drawn."""
        self.page.evaluate(
            "new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done))))"
        )

    def greys(self, index=0):
        """All that a film's canvas shows: rows of grey, or of colours where there are any."""
        self.frame()
        found = (
            self.pane(index)
            .locator("canvas")
            .evaluate(
                """(one) => {
                const { width, height } = one;
                const { data } = one.getContext("2d").getImageData(0, 0, width, height);
                let text = "";
                for (const byte of data) text += String.fromCharCode(byte);
                return [width, height, btoa(text)];
            }"""
            )
        )
        width, height, text = found
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
