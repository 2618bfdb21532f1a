"""How help is laid out: in groups, boxed on a terminal and plain elsewhere."""

import re
import sys
from textwrap import indent
from typing import Any

from typer.core import TyperCommand, TyperGroup

from cxrtool.core.config.option import GENERAL, PANELS

ARGUMENTS = "Arguments"
MOST_COLUMNS = 28
"""Of an option's name and metavar beside its help; longer ones have a line of their own."""
UNBROKEN = "\N{NON-BREAKING HYPHEN}"
"""Else a line may end within `--keep-checkpoint`."""
Sections = dict[str, list[tuple[str, str]]]


class GroupedCommand(TyperCommand):
    """A command whose help shows its options in the groups in which they are declared."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Typer's, by groups."""
        found: Sections = {title: [] for title in (ARGUMENTS, *PANELS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and parameter.param_type_name == "argument":
                # Without the type, which Typer gives after the name.
                more = "" if parameter.nargs == 1 else "..."
                found[ARGUMENTS].append((f"{parameter.metavar}{more}", record[1]))
            elif record is not None:
                found[getattr(parameter, "rich_help_panel", None) or GENERAL].append(record)
        _write(found, formatter)


class GroupedCommands(TyperGroup):
    """The program, whose help shows the commands by the step of the work that they are."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Typer's, by groups, the commands first."""
        found: Sections = {}
        for name, command in self.commands.items():
            about = " ".join(str(command.help).split())
            found.setdefault(str(getattr(command, "rich_help_panel", None)), []).append(
                (name, about)
            )
        _write(found, formatter)
        records = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
        _write({GENERAL: [record for record in records if record is not None]}, formatter)


def _write(sections: Sections, formatter: Any) -> None:
    terminal = sys.stdout.isatty()
    sections = {title: records for title, records in sections.items() if records}
    longest = max(len(term) for records in sections.values() for term, _ in records)
    columns = min(longest, MOST_COLUMNS)
    for title, found in sections.items():
        inside = type(formatter)(width=formatter.width - 4)
        wrapped = [(_wrapped(term, inside.width), about) for term, about in found]
        records = [(term.ljust(columns), about.replace("-", UNBROKEN)) for term, about in wrapped]
        inside.write_dl(records, col_max=columns)
        lines = inside.getvalue().rstrip("\n").replace(UNBROKEN, "-")
        if terminal:
            formatter.write(_boxed(title, lines, formatter.width))
        else:
            formatter.write(f"\n{title}:\n{indent(lines, '  ')}\n")


def _wrapped(term: str, width: int) -> str:
    """An option with many choices over several lines, each but the last ending in `|`."""
    lines = [""]
    for part in re.split(r"(?<=\|)", term):
        if len(lines[-1]) + len(part) > width:
            lines.append("    ")
        lines[-1] += part
    return "\n".join(lines)


def _boxed(title: str, lines: str, width: int) -> str:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    text = Text(lines)
    text.highlight_regex(r"(?<![\w-])--?[a-z][a-z-]*", "cyan")
    text.highlight_regex(r"\[(default|env var|required|x|\d)[^\]]*\]", "dim")
    console = Console(width=width, force_terminal=True, highlight=False)
    with console.capture() as captured:
        console.print(Panel(text, title=f"[bold]{title}", title_align="left", border_style="dim"))
    return captured.get()
