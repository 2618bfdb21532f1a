"""One image's findings as one page of PDF: film, map, all findings, and what they rest on."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
from PIL import Image

from cxrtool.core.numbers import Estimate, with_interval
from cxrtool.core.plotting import GRID, INK, ONE_AT_A_TIME, fitted, text_style, width_of
from cxrtool.evaluation.decisions import NONE, POSITIVE, YES, Finding, why_none
from cxrtool.images.heat_grid import HeatMap
from cxrtool.inference.heatmap_figures import COLOURS, NOTHING, heat_layer, laid_over
from cxrtool.inference.model_facts import ModelFacts

WIDTH, HEIGHT, MARGIN = 595.0, 842.0, 42.0
"""Points (1/72 inch) of A4, and of its margins."""
INSIDE, GAP = WIDTH - 2 * MARGIN, 12.0
PANEL = (INSIDE - GAP) / 2
"""Width of the film, and of the map beside it."""
LEAST_PANEL, MOST_PANEL = 130.0, 300.0
"""Height of both."""
LONGEST = 1000
"""Pixels of a film's longer side: 240 a printed inch, or more."""
TITLE, LARGE, NORMAL, SMALL = 15.0, 9.5, 8.5, 7.0
ROW, HEAD_ROW, LINE, CAPTION = 13.0, 17.0, 10.0, 40.0
MUTED, ACCENT, ALARM = "#5b6773", "#2b6cb0", "#b42318"
NOTICE_GROUND, ALARM_GROUND = "#fff3d6", "#fdecea"
HEADING = "Chest X-ray: findings of a neural network"
NOTICE = "Research only: not a medical device."
NOTICE_MORE = "Nothing here is a diagnosis, and no clinical decision may rest on it."
MOST_REMARKS = 12
"""Lines of warnings and contradictions."""
COLUMNS = {"bar": 182.0, "probability": 296.0, "threshold": 345.0, "decision": 357.0}
"""From the left margin; numbers end there, words begin there."""
BAR = 62.0
NAME_ROOM = 172.0


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What stands on the page."""

    film: Image.Image
    """In the greys that it is shown in, 8-bit, at its own size."""
    findings: tuple[Finding, ...]
    """The most probable first, and No Finding last."""
    model: ModelFacts
    made: datetime
    name: str = ""
    """The image's; empty: none is written."""
    label: str = ""
    """The finding whose map is shown."""
    heat: HeatMap | None = None
    absent: str = ""
    """Why there is no map."""
    areas: Mapping[str, Estimate] = field(default_factory=dict)
    """AUROCs on test by label, where they are known."""
    level: float | None = None
    """Of their intervals."""
    warnings: tuple[str, ...] = ()
    """Why the decisions may mean nothing: of the image and of the model."""
    contradictions: tuple[str, ...] = ()
    """Decisions that cannot both be right."""
    engine: str = ""
    """What computed it, in words."""


def write_page(sheet: Sheet) -> bytes:
    """The page as a PDF: A4, one page, with fonts embedded and text that can be selected.

    Where there are more findings than fit, the least probable are counted and left out. The same
    sheet gives the same bytes.
    """
    with ONE_AT_A_TIME:
        mpl.rcParams["pdf.fonttype"] = 42  # TrueType: text stays text in every reader
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
        top = _draw_head(figure, sheet)
        top = _draw_remarks(figure, sheet, top)
        low = _draw_provenance(figure, sheet)
        rows, left_out = _rows_that_fit(figure, sheet, top - low)
        table = _height_of_table(figure, sheet, rows, left_out)
        top = _draw_films(figure, sheet, top, top - low - table)
        _draw_table(figure, sheet, rows, left_out, top)
        file = io.BytesIO()
        about = {"Title": HEADING, "Subject": NOTICE, "CreationDate": sheet.made}
        about["Creator"] = f"cxrtool {sheet.model.version}"
        figure.savefig(file, format="pdf", metadata=about)
        return file.getvalue()


def _draw_head(figure: Figure, sheet: Sheet) -> float:
    """Heading, the image's name and what the page is no use for; returns where that ends."""
    top = HEIGHT - MARGIN
    _write(figure, MARGIN, top, HEADING, TITLE, weight="bold")
    when = f"{sheet.made:%Y-%m-%d %H:%M}"
    _write(figure, WIDTH - MARGIN, top - 4, when, NORMAL, colour=MUTED, ha="right")
    top -= 22
    if sheet.name:
        line = fitted(figure, sheet.name, INSIDE / 72, 1, LARGE)[0]
        _write(figure, MARGIN, top, line, LARGE, colour=MUTED)
        top -= 17
    _box(figure, MARGIN, top - 22, INSIDE, 22, NOTICE_GROUND)
    _write(figure, MARGIN + 8, top - 6.5, NOTICE, LARGE, weight="bold")
    after = MARGIN + 16 + 72 * width_of(figure, NOTICE, LARGE, "bold")
    _write(figure, after, top - 7.5, NOTICE_MORE, NORMAL)
    return top - 22 - 10


def _draw_remarks(figure: Figure, sheet: Sheet, top: float) -> float:
    """Warnings and contradictions, in a box that nobody overlooks."""
    texts = [*sheet.warnings, *sheet.contradictions]
    if not texts:
        return top
    most = max(1, MOST_REMARKS // len(texts))
    lines = [line for text in texts[:MOST_REMARKS] for line in _bulleted(figure, text, most)]
    lines += [f"and {len(texts) - MOST_REMARKS} more"] * (len(texts) > MOST_REMARKS)
    height = LINE * len(lines) + 10
    _box(figure, MARGIN, top - height, INSIDE, height, ALARM_GROUND)
    _box(figure, MARGIN, top - height, 3, height, ALARM)
    for place, line in enumerate(lines):
        _write(figure, MARGIN + 10, top - 5 - LINE * place, line, NORMAL - 0.5)
    return top - height - 10


def _bulleted(figure: Figure, text: str, most: int) -> list[str]:
    first, *rest = fitted(figure, text, (INSIDE - 28) / 72, most, NORMAL - 0.5)
    return [f"• {first}", *(f"   {line}" for line in rest)]


def _draw_provenance(figure: Figure, sheet: Sheet) -> float:
    """What the findings rest on, from the lower margin up; returns where that begins."""
    model = sheet.model
    rows = {
        "Model": f"{model.name}, {model.arch}",
        "Weights": f"SHA-256 {model.fingerprint}",
        "Operating point": f"{model.operating_point}; calibration: {model.calibration}",
        "Computed with": ", ".join(filter(None, (f"cxrtool {model.version}", sheet.engine))),
    }
    for place, (term, text) in enumerate(reversed(rows.items())):
        at = MARGIN + 8.5 + LINE * place
        _write(figure, MARGIN, at, term, SMALL, colour=MUTED)
        line = fitted(figure, text, (INSIDE - 80) / 72, 1, SMALL)[0]
        _write(figure, MARGIN + 78, at, line, SMALL)
    low = MARGIN + 2 + LINE * len(rows)
    _box(figure, MARGIN, low + 3, INSIDE, 0.6, GRID)
    return low + 12


def _rows_that_fit(
    figure: Figure, sheet: Sheet, room: float
) -> tuple[list[tuple[Finding, list[str]]], int]:
    """The findings with the lines of their names, and how many there is no room for."""
    named = [
        (finding, fitted(figure, finding.label, NAME_ROOM / 72, 2, NORMAL, _weight(finding)))
        for finding in sheet.findings
    ]
    room -= LEAST_PANEL + CAPTION
    left_out = 0
    while len(named) > 1 and _height_of_table(figure, sheet, named, left_out) > room:
        named.pop(-2 if named[-1][0].apart else -1)
        left_out += 1
    return named, left_out


def _height_of_table(
    figure: Figure, sheet: Sheet, rows: Sequence[tuple[Finding, list[str]]], left_out: int
) -> float:
    heights = sum(_height(lines) for _, lines in rows)
    return HEAD_ROW + heights + LINE * len(_notes(figure, sheet, left_out)) + 10


def _draw_table(
    figure: Figure,
    sheet: Sheet,
    rows: Sequence[tuple[Finding, list[str]]],
    left_out: int,
    top: float,
) -> None:
    """The findings, and below what is to be known of them."""
    _draw_columns(figure, sheet, top)
    top -= HEAD_ROW
    for finding, lines in rows:
        if finding.apart:
            _box(figure, MARGIN, top - 0.3, INSIDE, 0.6, GRID)
        _draw_row(figure, sheet, finding, lines, top)
        top -= _height(lines)
    for note in _notes(figure, sheet, left_out):
        _write(figure, MARGIN, top - 4, note, SMALL, colour=MUTED)
        top -= LINE


def _draw_columns(figure: Figure, sheet: Sheet, top: float) -> None:
    level = f" ({100 * sheet.level:g} % interval)" if sheet.level and sheet.areas else ""
    heads = (
        (0.0, "Finding", "left"),
        (COLUMNS["probability"], "Probability", "right"),
        (COLUMNS["threshold"], "Threshold", "right"),
        (COLUMNS["decision"], "Decision", "left"),
        (INSIDE, f"AUROC on test{level}", "right"),
    )
    for across, words, side in heads:
        _write(figure, MARGIN + across, top - 3, words, SMALL, colour=MUTED, ha=side)
    _box(figure, MARGIN, top - HEAD_ROW + 2, INSIDE, 0.8, INK)


def _draw_row(
    figure: Figure, sheet: Sheet, finding: Finding, lines: Sequence[str], top: float
) -> None:
    at, weight = top - 3, _weight(finding)
    for place, line in enumerate(lines):
        _write(figure, MARGIN, at - LINE * place, line, NORMAL, weight=weight)
    _draw_bar(figure, finding, top - ROW / 2)
    decided = "no decision" if finding.decision == NONE else finding.decision
    decided += f", {finding.verdict}" if finding.verdict else ""
    area = sheet.areas.get(finding.label)
    known = area is not None and area.value is not None
    cells = (
        (COLUMNS["probability"], finding.shown, "right", INK),
        (COLUMNS["threshold"], finding.shown_threshold, "right", INK),
        (COLUMNS["decision"], decided, "left", _ink(finding)),
        (INSIDE, with_interval(area) if area and known else "not known", "right", INK),
    )
    for across, words, side, colour in cells:
        bold = weight if side == "left" else "normal"
        _write(figure, MARGIN + across, at, words, NORMAL, colour=colour, weight=bold, ha=side)


def _draw_bar(figure: Figure, finding: Finding, middle: float) -> None:
    """The probability as a bar from 0 to 1, with a mark at the threshold."""
    left = MARGIN + COLUMNS["bar"]
    share = min(max(finding.probability, 0.0), 1.0)
    positive = finding.decision in (POSITIVE, YES)
    _box(figure, left, middle - 2.5, BAR, 5, "#e9edf1")
    _box(figure, left, middle - 2.5, BAR * share, 5, ACCENT if positive else "#9aa5b1")
    if finding.threshold is not None:
        mark = left + BAR * min(max(finding.threshold, 0.0), 1.0)
        _box(figure, mark - 0.5, middle - 4.5, 1, 9, INK)


def _notes(figure: Figure, sheet: Sheet, left_out: int) -> list[str]:
    """What is to be known of the table, a line each."""
    reasons = {one.label: one.why_none for one in sheet.findings if one.why_none}
    notes = [f"Thresholds: {one}" for one in why_none(reasons, list(reasons))[:3]]
    if left_out:
        cut = [one for one in sheet.findings if not one.apart][-left_out:]
        positive = sum(one.decision == POSITIVE for one in cut)
        among = f", {positive} of them positive" if positive else ""
        text = f"{left_out} more of {len(sheet.findings)}, the least probable, left out{among}"
        notes.insert(0, text)
    return [fitted(figure, note, INSIDE / 72, 1, SMALL)[0] for note in notes]


def _draw_films(figure: Figure, sheet: Sheet, top: float, room: float) -> float:
    """The film, and the same with the map over it, as large as there is room; returns the end."""
    film = _smaller(sheet.film)
    height = min(MOST_PANEL, room - CAPTION, PANEL * film.height / film.width)
    width = height * film.width / film.height
    low, beside = top - height, MARGIN + PANEL + GAP
    plain = np.dstack([np.asarray(film)] * 3)
    _place(figure, plain, MARGIN, low, width, height)
    _write(figure, MARGIN, low - 5, "The X-ray, in the greys that the network was given", NORMAL)
    if sheet.heat is None:
        _say_why(figure, sheet.absent or "no heat map", beside, top)
    else:
        layer = heat_layer(sheet.heat.values, sheet.heat.cells, film.width, film.height)
        _place(figure, laid_over(layer, plain), beside, low, width, height)
        _explain_map(figure, sheet.label, float(sheet.heat.values.max()), beside, low)
    return low - CAPTION


def _explain_map(figure: Figure, label: str, most: float, left: float, low: float) -> None:
    words = f"What speaks for: {label}" if most > 0 else f"{label}: {NOTHING}"
    line = fitted(figure, words, PANEL / 72, 1, NORMAL, "bold")[0]
    _write(figure, left, low - 5, line, NORMAL, weight="bold")
    if most > 0:
        _draw_scale(figure, left, low - 22, most)


def _draw_scale(figure: Figure, left: float, low: float, most: float) -> None:
    """What the map's colours mean."""
    _write(figure, left, low + 5.5, "0", SMALL, colour=MUTED)
    _place(figure, COLOURS[None], left + 8, low, 70, 5)
    words = f"{most:.2g} in logits, the map's maximum"
    _write(figure, left + 82, low + 5.5, words, SMALL, colour=MUTED)


def _say_why(figure: Figure, why: str, left: float, top: float) -> None:
    _box(figure, left, top - 60, PANEL, 60, "#f3f5f7")
    for place, line in enumerate(fitted(figure, why, (PANEL - 20) / 72, 4, NORMAL)):
        _write(figure, left + 10, top - 10 - LINE * place, line, NORMAL, colour=MUTED)


def _smaller(film: Image.Image) -> Image.Image:
    scale = min(1.0, LONGEST / max(film.size))
    size = (max(1, round(film.width * scale)), max(1, round(film.height * scale)))
    return film.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _place(
    figure: Figure,
    pixels: NDArray[np.uint8],
    left: float,
    low: float,
    width: float,
    height: float,
) -> None:
    """A picture in RGB at a place in points, with all of its pixels."""
    axes = figure.add_axes((left / WIDTH, low / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.imshow(pixels, aspect="auto", interpolation="none")
    axes.set_axis_off()


def _box(figure: Figure, left: float, low: float, width: float, height: float, colour: str) -> None:
    figure.add_artist(
        Rectangle((left, low), width, height, facecolor=colour, lw=0, transform=IdentityTransform())
    )


def _write(
    figure: Figure,
    across: float,
    top: float,
    words: str,
    size: float,
    *,
    colour: str = INK,
    weight: str = "normal",
    ha: str = "left",
) -> None:
    """One line at a place in points from the lower left corner."""
    style = text_style(size, colour) | {"transform": IdentityTransform(), "fontweight": weight}
    figure.text(across, top, words, va="top", ha=ha, **style)


def _height(lines: Sequence[str]) -> float:
    return ROW + LINE * (len(lines) - 1)


def _weight(finding: Finding) -> str:
    return "bold" if finding.decision in (POSITIVE, YES) else "normal"


def _ink(finding: Finding) -> str:
    return MUTED if finding.decision == NONE else INK
