"""The style that all pictures share; fonts, what they can write, and lines of text that fit."""

import logging
import threading
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

# Of a font without bold letters it says each time that the plain ones are taken.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

INK, GRID = "#1f2933", "#d9dee3"
PARTS = {"positive": "#2b6cb0", "uncertain": "#e0a526", "negative": "#8a97a5"}
SEXES = {"Female": "#b8527a", "Male": "#2b6cb0"}
OTHER_SEX = "#8a97a5"
DOTS_PER_INCH = 150
SMALL, NORMAL, TITLE, LINE = 7.0, 8.0, 8.5, 1.25
"""Sizes of text, and a line's height over its text's size."""
BOX = "□"
"""For a character that no font here has."""
UNSEEN = ("Cc", "Cf", "Cs", "Co")
"""Categories of characters (Unicode) that have no picture."""
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAGothic"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "PingFang SC"),
    *("Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans Devanagari", "Noto Sans Thai"),
)
"""Taken, where installed, for what DejaVu Sans cannot write: it comes with matplotlib, and knows
Latin, Greek, Cyrillic and Arabic."""

ONE_AT_A_TIME = threading.Lock()
"""Held by whoever draws on a server's threads: matplotlib is not safe in several."""


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that needs no pyplot, so that no global state and no display are touched."""
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    make_plain(axes)
    return figure, axes


def make_plain(axes: Axes) -> None:
    """Leave only the line at the bottom, and put the grid behind what is drawn."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=INK, which="both", length=0)
    axes.set_axisbelow(True)


def text_style(size: float, colour: str = INK) -> dict[str, Any]:
    """How matplotlib is to write: never as mathematics, which a `$` in a name would begin."""
    return {"fontsize": size, "color": colour, "family": families(), "parse_math": False}


def families() -> list[str]:
    """The fonts to write with, in the order they are asked."""
    return _fonts()[0]


@cache
def _fonts() -> tuple[list[str], frozenset[int]]:
    """The fonts to write with, in the order they are asked, and the characters that they know."""
    installed = set(fontManager.get_font_names())
    names = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
    known = [get_font(findfont(FontProperties(family=name))).get_charmap() for name in names]
    return names, frozenset().union(*known)


def readable(text: str) -> str:
    """One line of text without what no font can write: a box stands for such a character."""
    shown = (char for char in " ".join(text.split()) if unicodedata.category(char) not in UNSEEN)
    return "".join(char if ord(char) in _fonts()[1] else BOX for char in shown)


def readable_names(given: Iterable[str]) -> list[str]:
    """Names as they can be written: with a number where boxes alone would look the same."""
    shown = [readable(name) for name in given]
    return [
        f"no. {place}: {name}" if BOX in name or not name else name
        for place, name in enumerate(shown, start=1)
    ]


def width_of(figure: Figure, text: str, size: float, weight: str = "normal") -> float:
    """A text's width in inches."""
    written = figure.text(0, 0, readable(text), **text_style(size) | {"fontweight": weight})
    width = written.get_window_extent().width / figure.dpi
    written.remove()
    return float(width)


def _width_of_start(figure: Figure, text: str, size: float, weight: str, end: int) -> float:
    return width_of(figure, text[:end], size, weight)


def fitted(
    figure: Figure, text: str, room: float, most: int, size: float, weight: str = "normal"
) -> list[str]:
    """Break text into lines that are no wider than `room`; what needs more than `most` is cut."""
    left, lines = readable(text), list[str]()
    while left:
        lengths = range(1, len(left) + 1)
        wide = partial(_width_of_start, figure, left, size, weight)
        end = len(left) if wide(len(left)) <= room else bisect_right(lengths, room, key=wide) or 1
        if end == len(left):
            return [*lines, left]
        if len(lines) == most - 1:
            return [*lines, left[: end - 1].rstrip() + "…"]
        space = left.rfind(" ", 1, end + 1)
        end = space if space > 0 else end
        lines.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return lines or [""]
