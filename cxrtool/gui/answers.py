"""What came of one image, and how the page shows it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from cxrtool.evaluation.decisions import NONE, POSITIVE, Finding, is_doubtful, why_none
from cxrtool.gui.heat_layers import SIDE, Layer
from cxrtool.gui.pictures import layer_uri, xray_uri
from cxrtool.images.blanks import shows_nothing

NAME_LENGTH = 120
"""Letters of a file's name that are shown."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """An image that was dropped."""

    name: str
    """As it is shown."""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    """What its parts on the page are known by."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the network says of an image."""

    item: Item
    grey: Image.Image
    """8-bit grey, at its own size."""
    pixels: NDArray[np.uint8]
    """(image_size, image_size): what the network saw."""
    warning: str
    findings: tuple[Finding, ...]
    """The most probable first, and No Finding last."""

    @property
    def positive(self) -> tuple[str, ...]:
        """The findings at or over their threshold, the most probable first."""
        return tuple(one.label for one in self.findings if one.decision == POSITIVE)

    @property
    def blank(self) -> bool:
        """Whether it shows nothing, so that nothing is decided."""
        return shows_nothing(self.warning)

    @property
    def doubtful(self) -> bool:
        """Whether its decisions may mean nothing."""
        return is_doubtful(self.warning)

    @property
    def told(self) -> str:
        """What is decided, for the list of images."""
        if self.blank:
            return "no decision"
        if not any(one.decision != NONE for one in self.findings):
            return "no thresholds"
        count = f"{len(self.positive)} positive"
        return f"doubtful: {count}" if self.doubtful else count

    @property
    def why_none(self) -> list[str]:
        """Why labels have no threshold, or one that says little."""
        without = {one.label: one.why_none for one in self.findings if one.why_none}
        return why_none(without, list(without))


def shown_name(name: str) -> str:
    """A file's name as it can be shown: in one line, not endless, without the folders."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter if letter.isprintable() else " " for letter in last).strip()
    short = plain if len(plain) <= NAME_LENGTH else f"{plain[: NAME_LENGTH - 1]}…"
    return short or "image without a name"


def queue_html(items: Sequence[Item]) -> str:
    """The list entries of images that are about to be looked at."""
    return _render("queue", items=items)


def answer_html(answer: Answer, absent: str = "") -> str:
    """One image with its findings; the maps come after it.

    Args:
        answer: what is shown.
        absent: why there will be no maps.
    """
    uri, width, height = xray_uri(answer.grey)
    picture = {"uri": uri, "width": width, "height": height}
    return _render("answer", answer=answer, picture=picture, absent=absent)


def failed_html(item: Item, reason: str) -> str:
    """An image that could not be looked at, and why."""
    return _render("failed", item=item, reason=reason)


def maps_html(answer: Answer, layers: Sequence[Layer | None] | str) -> str:
    """An answer's maps, in the order of its findings; or why there are none."""
    absent = layers if isinstance(layers, str) else ""
    found = [] if isinstance(layers, str) else layers
    pictures = ["" if layer is None else layer_uri(layer) for layer in found]
    return _render("maps", item=answer.item, absent=absent, pictures=pictures, side=SIDE)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cxrtool.gui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # One that lies just above 1, where nobody shall be positive, stands at the end of the bar.
    made.filters["percent"] = lambda value: f"{100 * min(max(value, 0.0), 1.0):.2f}%"
    return made


def _render(part: str, **values: Any) -> str:
    """A part of the page, in one line: Markdown ends a block of HTML at a blank one."""
    text = _environment().get_template(f"{part}.html.j2").render(**values)
    return " ".join(text.split())
