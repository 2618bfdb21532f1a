"""The page as a browser gets it: one document of our own around Gradio's scripts."""

import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cxrtool.core.errors import UsageError
from cxrtool.gui.model_card import Facts

MOST_FILES = 200
"""That can be dropped at once."""
STATIC = Path(__file__).parent / "static"
KINDS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",  # neither text of the page nor a string becomes a program
        "style-src 'self' 'unsafe-inline'",  # Gradio's components set styles of their own
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy: a browser asks nobody but this server for anything."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TAG = re.compile(
    r'<script type="module"[^<>]*src="\./assets/[\w.-]+\.js"[^<>]*></script>'
    r'|<link rel="stylesheet"[^<>]*href="\./assets/[\w.-]+\.css"[^<>]*>'
)


@dataclass(frozen=True)
class File:
    """Something that is served as it is."""

    content: bytes
    kind: str


def site(facts: Facts, gradio_index: Path, *, most_mb: int, absent: str) -> dict[str, File]:
    """The files of our own that are served, by their paths.

    Gradio's own document is not: it names hosts, fonts and scripts that are not ours.

    Args:
        facts: the model's card.
        gradio_index: Gradio's document, which names its scripts.
        most_mb: how much can be dropped at once.
        absent: why there are no heat maps, if there are none.

    Raises:
        UsageError: this version of Gradio has another document.
    """
    try:
        tags = TAG.findall(gradio_index.read_text(encoding="utf-8"))
    except OSError:
        tags = []
    if len(tags) != 2:
        raise UsageError(
            "this version of Gradio is not supported: install one that is with "
            "`pip install 'cxrtool[gui]'`"
        )
    environment = Environment(
        loader=PackageLoader("cxrtool.gui"), undefined=StrictUndefined, autoescape=True
    )
    page = environment.get_template("page.html.j2").render(
        facts=facts,
        gradio=[Markup(tag) for tag in tags],
        most_mb=most_mb,
        most_bytes=most_mb * 2**20,
        most_files=MOST_FILES,
        absent=absent,
    )
    own = {
        f"/cxrtool/{name}": File((STATIC / name).read_bytes(), kind) for name, kind in KINDS.items()
    }
    return {"/": File(page.encode(), "text/html; charset=utf-8"), **own}
