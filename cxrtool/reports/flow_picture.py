"""The flow as boxes and arrows, in the units of an SVG's view box.

Narrow and tall, so that its words can be read on a telephone as on paper.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from cxrtool.core.errors import counted
from cxrtool.reports.flow import Count, Flow, LeftOut

WIDTH, GAP, LINE, PAD = 560, 26, 17, 9
"""Of the picture, between boxes, of a line of text, and inside a box."""
MAIN, BESIDE = 262, 272
"""Widths of the boxes on the way, and of those beside it."""
LETTER = 6.7
"""How wide a letter is on average."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box: its place, its heading and the lines under it."""

    x: float
    y: float
    width: float
    title: str
    lines: Sequence[str]
    kind: str = ""
    """`out` for what is left out, `scored` for what the page is about."""

    @property
    def height(self) -> float:
        """As high as its lines need."""
        return 2 * PAD + LINE * (1 + len(self.lines))

    @property
    def middle(self) -> float:
        """Its middle from left to right."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Arrow:
    """A straight line, with a head at its end or without."""

    x1: float
    y1: float
    x2: float
    y2: float
    head: bool = True

    @property
    def points(self) -> str:
        """The corners of its head; an arrow points down or to the right."""
        x, y = self.x2, self.y2
        if self.x1 == self.x2:
            return f"{x:g},{y:g} {x - 4:g},{y - 8:g} {x + 4:g},{y - 8:g}"
        return f"{x:g},{y:g} {x - 8:g},{y - 4:g} {x - 8:g},{y + 4:g}"


@dataclass
class Drawing:
    """Boxes and arrows; `height` grows as they are put below each other."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    width: float = WIDTH
    height: float = 4.0

    def put(
        self,
        title: str,
        lines: Sequence[str],
        x: float = 0.0,
        width: float = MAIN,
        kind: str = "",
    ) -> Box:
        """Put a box at the lower end, which stays where it is."""
        letters = int((width - 2 * PAD) / LETTER)
        wrapped = [part for line in lines for part in textwrap.wrap(line, letters)]
        box = Box(x=x, y=self.height, width=width, title=title, lines=wrapped, kind=kind)
        self.boxes.append(box)
        return box


def draw_flow(flow: Flow) -> Drawing:
    """All boxes of a flow, from the tables down to what was scored."""
    drawing = Drawing()
    _step(drawing, "In the tables", flow.listed, "Left out while they were read", flow.unread)
    _step(drawing, "One row an image", flow.read, "Left out", flow.left_out)
    kept = drawing.put("In the manifest", _count_lines(flow.kept))
    drawing.height += kept.height + GAP
    above = _put_parts(drawing, flow, kept)
    where = "All of them" if flow.part is None else f"The part {flow.part}"
    text = ", ".join(_count_lines(flow.scored))
    scored = drawing.put(f"{where}, scored", [text], width=WIDTH, kind="scored")
    drawing.arrows.append(Arrow(above.middle, above.y + above.height, above.middle, scored.y))
    drawing.height += scored.height + 4
    return drawing


def _step(drawing: Drawing, title: str, count: Count, out_title: str, out: LeftOut) -> None:
    """A box on the way, and beside it what is left out after it."""
    top = drawing.height
    box = drawing.put(title, _count_lines(count))
    drawing.height += box.height + GAP / 2
    lines = [f"{reason}: {number:,}" for reason, number in out.reasons.items()]
    if out.unexplained:
        lines.append(f"reason not known: {out.unexplained:,}")
    number = "not known" if out.total is None else f"{out.total:,}"
    beside = drawing.put(f"{out_title}: {number}", lines, WIDTH - BESIDE, BESIDE, "out")
    end = drawing.height + beside.height + GAP / 2
    middle = drawing.height + beside.height / 2
    drawing.arrows += [
        Arrow(box.middle, top + box.height, box.middle, end),
        Arrow(box.middle, middle, beside.x, middle),
    ]
    drawing.height = end


def _put_parts(drawing: Drawing, flow: Flow, kept: Box) -> Box:
    """The parts side by side; the one that is scored, or the manifest where there are none."""
    if not flow.parts:
        return kept
    top, width = drawing.height, (WIDTH - 10 * (len(flow.parts) - 1)) / len(flow.parts)
    boxes = {
        name: drawing.put(name, _count_lines(count), place * (width + 10), width)
        for place, (name, count) in enumerate(flow.parts.items())
    }
    between = top - GAP / 2
    drawing.arrows += [Arrow(box.middle, between, box.middle, top) for box in boxes.values()]
    ends = [box.middle for box in boxes.values()]
    drawing.arrows += [
        Arrow(kept.middle, kept.y + kept.height, kept.middle, between, head=False),
        Arrow(min(ends), between, max(ends), between, head=False),
    ]
    drawing.height = top + max(box.height for box in boxes.values()) + GAP
    return boxes.get(flow.part or "", kept)


def _count_lines(count: Count) -> list[str]:
    """A count in words, images or rows and patients apart."""
    rows = "not known" if count.rows is None else counted(count.rows, count.unit)
    if count.patients is None:
        return [rows]
    return [rows, counted(count.patients, "patient")]
