"""A table for a paper, and its markup: Markdown, LaTeX, CSV.

pandas has both, but `Styler.to_latex` leaves captions, headings and `<`, `|`, `--` unescaped and
knows neither lines between rows, notes, nor tables wider than the text; `to_markdown` needs one
more package, which escapes nothing.
"""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

MISSING = "n/a"
LONGEST_CELL = 42
"""In LaTeX, longer cells go below the table, and a letter stands for them."""
WIDTHS = {
    r"\footnotesize": (68, r"\setlength{\tabcolsep}{4pt}"),
    r"\scriptsize": (92, r"\setlength{\tabcolsep}{2pt}"),
}
"""In LaTeX, a table of more characters is set in this size, with less room between columns."""
NAME_WIDTH = 24
"""In LaTeX, the characters at which the first column of a table in the smallest size breaks."""

_NUMBER = re.compile(r"[+-]?[\d.]")
_MARKDOWN = re.compile(r"[\\`*<|$~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|(?<=\])\(")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",  # this and the next two are other signs in LaTeX's own fonts
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {sign: rf"\{sign}" for sign in "&%$#_{}"}


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table as plain text, before any markup.

    The first column names the rows. None is shown as n/a. `bold` holds (row, column) of cells and
    `rules_after` rows that a line follows, both counted from 0. `notes` stand below the table.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str | None]]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()
    rules_after: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number}: {len(row)} cells for {len(self.columns)} columns")


def to_csv(table: PaperTable) -> str:
    """The header and the rows as CSV; caption, notes and bold are left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([MISSING if cell is None else cell for cell in row] for row in table.rows)
    return text.getvalue()


def to_markdown(table: PaperTable) -> str:
    """The caption, a table as GitHub draws it, and the notes. It knows no lines between rows."""
    marks = ["---:" if _is_numeric(table, column) else ":---" for column in _columns(table)]
    rows = _marked_up(table, _escape_markdown, "**{}**".format)
    lines = [[_escape_markdown(name) for name in table.columns], marks, *rows]
    parts = [f"**{_escape_markdown(table.caption)}**"]
    parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts.extend(_escape_markdown(note) for note in table.notes)
    return "\n\n".join(parts) + "\n"


def to_latex(table: PaperTable) -> str:
    r"""A whole table environment, for which `\usepackage{booktabs}` is enough.

    What is no number and longer than `LONGEST_CELL` stands below the table, a letter in its place.
    """
    table = with_letters(table, LONGEST_CELL)
    rows = _marked_up(table, _escape_latex, r"\textbf{{{}}}".format)
    numeric = [_is_numeric(table, column) for column in _columns(table)]
    heads = [_latex_head(table, column) for column in _columns(table)]
    sizes, broken = _latex_sizes(table)
    if broken:
        box = r"\parbox[t]{0.2\linewidth}{\raggedright\hangindent=1em "
        rows = [[rf"{box}{row[0]}\strut}}", *row[1:]] for row in rows]
    # What is wider than the text all the same sticks out on both sides alike.
    before, after = (r"\makebox[\linewidth]{", "}") if sizes else ("", "")
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{_escape_latex(table.caption)}}}",
        *sizes,
        rf"{before}\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
        r"\toprule",
        _latex_row(heads),
        r"\midrule",
    ]
    for number, row in enumerate(rows):
        lines.append(_latex_row(row))
        if number in table.rules_after and number + 1 < len(rows):
            lines.append(r"\midrule")
    lines += [r"\bottomrule", rf"\end{{tabular}}{after}"]
    if table.notes:
        notes = "\n\n".join(_escape_latex(note) for note in table.notes)
        lines += ["", r"\medskip", r"\begin{minipage}{\linewidth}", r"\footnotesize\raggedright"]
        lines += [notes, r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _columns(table: PaperTable) -> range:
    return range(len(table.columns))


def _is_numeric(table: PaperTable, column: int) -> bool:
    """Whether a column holds numbers or nothing; the first one names the rows."""
    cells = [row[column] for row in table.rows]
    return column > 0 and all(cell is None or _NUMBER.match(cell) for cell in cells)


def _marked_up(
    table: PaperTable, escape: Callable[[str], str], embolden: Callable[[str], str]
) -> list[list[str]]:
    rows = []
    for number, row in enumerate(table.rows):
        cells = [escape(MISSING if cell is None else cell) for cell in row]
        for column, cell in enumerate(cells):
            if (number, column) in table.bold:
                cells[column] = embolden(cell)
        rows.append(cells)
    return rows


def _escape_markdown(text: str) -> str:
    plain = " ".join(text.split())
    return _MARKDOWN.sub(lambda found: "\\" + found[0], plain)


def _escape_latex(text: str) -> str:
    plain = "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
    plain = re.sub(r"-(?=-)", "-{}", plain)  # two would become a dash
    return re.sub(r"(?<![^\s(\[])-(?=[\d.])", "$-$", plain)


def _latex_row(cells: Sequence[str]) -> str:
    # A [ or * at the start would be taken for an option of the command before.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return rf"{guard}{' & '.join(cells)} \\"


def _latex_head(table: PaperTable, column: int) -> str:
    """A column's name, over numbers in lines no longer than it has to be anyway."""
    name = table.columns[column]
    lines = [_escape_latex(line) for line in textwrap.wrap(name, _width(table, column))]
    if len(lines) < 2:
        return _escape_latex(name)
    stacked = r" \\ ".join(rf"{{}}{line}" for line in lines)
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{stacked}\end{{tabular}}"


def _latex_sizes(table: PaperTable) -> tuple[list[str], bool]:
    """The commands that make a table small enough, and whether its first column must break too."""
    widths = [_width(table, column) + 2 for column in _columns(table)]
    fitting: list[str] = []
    for size, (limit, columns) in WIDTHS.items():
        if sum(widths) > limit:
            fitting = [size, columns]
    return fitting, r"\scriptsize" in fitting and widths[0] > NAME_WIDTH


def _width(table: PaperTable, column: int) -> int:
    """About how many characters a column is wide."""
    words = table.columns[column].split() if _is_numeric(table, column) else [table.columns[column]]
    return max(len(text) for text in [*words, *(row[column] or MISSING for row in table.rows)])


def with_letters(table: PaperTable, longest: int) -> PaperTable:
    """Cells of more characters, each but once, as notes; (a), (b), ... in their place."""
    letters: dict[str, str] = {}
    rows = []
    for row in table.rows:
        rows.append(row[:1])
        for cell in row[1:]:
            if cell is not None and len(cell) > longest:
                cell = letters.setdefault(cell, f"({_letter(len(letters))})")
            rows[-1].append(cell)
    below = tuple(f"{letter} {text}." for text, letter in letters.items())
    return replace(table, rows=rows, notes=(*below, *table.notes))


def _letter(number: int) -> str:
    """a to z, then aa, ab, ..."""
    before, place = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + place)
