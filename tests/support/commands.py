"""The help of every command as Markdown: `python -m tests.support.commands` writes it anew."""

from pathlib import Path

import typer

from cxrtool.cli.app import app
from cxrtool.cli.help import ARGUMENTS
from cxrtool.core.config.option import GENERAL, PANELS

PAGE = Path(__file__).parents[2] / "examples" / "guides" / "commands.md"
HEAD = """<!-- Written by `python -m tests.support.commands` from the options; do not edit it. -->

# Commands

What `cxrtool COMMAND --help` says. Keys of a `--config` file are the names of options with `_` for
`-`; a default in words stands where the value depends on something.
"""


def row(parameter):
    """A line of a table: an option, what it takes, its default, its meaning."""
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    values = ", ".join(f"`{value}`" for value in (parameter.metavar or "").split("|") if value)
    if parameter.param_type_name == "argument":
        names, values = values + (" ..." if parameter.nargs != 1 else ""), ""
    elif parameter.min is not None:
        values = f"{parameter.min:,} to {parameter.max:,}"
    default = "yes" if parameter.default is True else f"`{parameter.default}`"
    if parameter.default is None or parameter.default is False:
        default = ""
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    about = parameter.help + (f" Environment: `{parameter.envvar}`." if parameter.envvar else "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (names, values, default, about))


def tables(parameters):
    """A table for each group of options."""
    found = {title: [] for title in (ARGUMENTS, *PANELS)}
    for parameter in parameters:
        found[parameter.rich_help_panel].append(row(parameter))
    for title, rows in found.items():
        if rows:
            head = [f"| {title} | Values | Default | Meaning", "|---|---|---|---"]
            yield "".join(f"{line} |\n" for line in [*head, *rows]).replace("--- |", "---|")


def page():
    """The whole page."""
    commands = typer.main.get_command(app).commands
    parts, common = [HEAD], None
    for name, command in commands.items():
        general = [one for one in command.params if one.rich_help_panel in (GENERAL, None)]
        if common is None:
            common = {row(one) for one in general}
            parts += ["## Options of every command\n", *tables(general)]
        usage = " ".join(command.collect_usage_pieces(typer.Context(command)))
        parts += [f"## {name}\n", " ".join(command.help.split()) + "\n"]
        parts += [f"```\ncxrtool {name} {usage}\n```\n"]
        parts += tables(one for one in command.params if row(one) not in common)
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
