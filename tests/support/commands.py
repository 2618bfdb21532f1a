"""The help of every command as Markdown: `python -m tests.support.commands` writes it anew."""

from pathlib import Path

import typer

from cxrtool.cli.app import INPUTS, RUNS, app
from cxrtool.cli.config_files import CONFIG
from cxrtool.cli.help import ARGUMENTS
from cxrtool.core import config as configs
from cxrtool.core.config import options_of
from cxrtool.core.config.option import PANELS

PAGE = Path(__file__).parents[2] / "examples" / "guides" / "commands.md"
HEAD = """<!-- Written by `python -m tests.support.commands` from the options; do not edit it. -->

# Commands

What `cxrtool COMMAND --help` says. Keys of a `--config` file are the names of options with `_` for
`-`. A default in words is one that depends on something.
"""
COMMON = [CONFIG, *options_of(configs.CommonConfig).values()]


def code(words):
    """Words as they are typed."""
    return ", ".join(f"`{word}`" for word in words if word)


def row(option):
    """A line of a table: an option, what it takes, its default, its meaning."""
    names = code(part for flag in option.flags or [option.written] for part in flag.split("/"))
    values = code(option.choices or option.metavar.split("|"))
    if option.argument:
        names = code([option.metavar or option.name.upper()]) + (" ..." if option.several else "")
    if option.argument and not option.choices:
        values = ""
    if option.within:
        values = "{:,} to {:,}".format(*option.within)
    default = "" if option.default in (None, "") else code([str(option.default)])
    if isinstance(option.default, bool):
        default = "yes" if option.default else ""
    about = option.help + (f" Environment: `{option.envvar}`." if option.envvar else "")
    cells = (names, values, option.shown or default, about)
    return f"| {' | '.join(cells)} |\n"


def tables(options):
    """A table for each group of options."""
    for title in (ARGUMENTS, *PANELS):
        rows = [row(one) for one in options if title == (ARGUMENTS if one.argument else one.panel)]
        if rows:
            yield "".join([f"| {title} | Values | Default | Meaning |\n|---|---|---|---|\n", *rows])


def page():
    """The whole page."""
    parts = [HEAD, "## Options of every command\n", *tables(COMMON)]
    for name, command in typer.main.get_command(app).commands.items():
        own = list(options_of(getattr(configs, f"{name.capitalize()}Config")).values())
        own += {"compare": [RUNS], "predict": [INPUTS]}.get(name, [])
        there = {one.name for one in command.params}
        parts += [f"## {name}\n", " ".join(command.help.split()) + "\n"]
        parts += tables([option for option in own if option.name in there])
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
