"""Gradio's part: a place to drop files, and the way of what comes back."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fastapi
import gradio

Look = Callable[[Sequence[str]], Iterator[str]]
AT_ONCE = 4
"""Drops that are at work at once; others wait."""
WAITING = 100
"""Drops that may wait."""
SUFFIXES = [".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm", ".dicom"]
INDEX = Path(gradio.__file__).parent / "templates" / "frontend" / "index.html"


def make_app(look: Look, most_bytes: int) -> fastapi.FastAPI:
    """The application that takes files and gives the page's parts; to be served behind a guard.

    It is never launched as Gradio calls it: no link for sharing, no look for a newer version.

    Args:
        look: called with the paths of files; gives a text of HTML that grows.
        most_bytes: of one file, as the page says before it is sent.
    """

    def answer(files: list[dict[str, Any]] | None) -> Iterator[tuple[None, str]]:
        for text in look([file["path"] for file in files or []]):
            yield None, text

    with gradio.Blocks(analytics_enabled=False, title="cxrtool") as blocks:
        drop = gradio.File(
            file_count="multiple",
            label="Chest X-rays",
            show_label=False,
            height=124,
            elem_id="drop",
        )
        # Not gradio.HTML, which makes programs of its templates in the browser.
        delivery = gradio.Markdown(
            elem_id="delivery", sanitize_html=False, latex_delimiters=[], show_label=False
        )
        hidden: Any = {"show_progress": "hidden", "api_visibility": "private"}
        done = drop.upload(answer, drop, [drop, delivery], preprocess=False, **hidden)
        # The page has taken what was delivered: Gradio would keep it for the session.
        done.then(lambda: "", None, delivery, **hidden)
    blocks.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING, api_open=False)
    blocks.state_session_capacity = WAITING
    app: fastapi.FastAPI = gradio.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        "/",
        footer_links=[],
        run_history=False,  # it would keep images in the browser
        allowed_paths=[],
        show_error=False,
        max_file_size=most_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gradio.themes.Base(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
    )
    # Without this Gradio does not compare the files that a call names with its own folder.
    blocks.has_launched = blocks.is_running = True
    return app
