"""Options as Typer's parameters: each is declared once, in `core.config`, and made here."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrtool.cli.help import ARGUMENTS
from cxrtool.core.config import CommonConfig
from cxrtool.core.config.option import Option

METAVARS: dict[type, str] = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
FOLDERS = {"RUN": "runs", "NAME": "runs", "STUDY": "studies"}
"""Where in a workspace the names are that such a value may be."""


def parameter(option: Option, callback: Callable[..., Any] | None = None) -> inspect.Parameter:
    """A parameter of a command's function.

    Args:
        option: what it is.
        callback: reads a file of defaults; Typer calls it before all others.
    """
    low, high = option.within or (None, None)
    about: dict[str, Any] = {
        "help": option.help,
        "metavar": _metavar(option),
        "min": low,
        "max": high,
        "envvar": option.envvar,
        "callback": callback or _checking(option),
        "is_eager": callback is not None,
        "show_default": option.shown or not option.argument,
        "autocompletion": _completing(option),
        "rich_help_panel": ARGUMENTS if option.argument else option.panel,
    }
    declared: Any = typer.Argument(**about) if option.argument else None
    if declared is None:
        flags = option.flags or ((option.written,) if option.kind is bool else ())
        declared = typer.Option(*flags, **about)
    hint: Any = list[option.kind] if option.several else option.kind  # type: ignore[name-defined]
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[hint | None if option.optional else hint, declared],
    )


def _metavar(option: Option) -> str | None:
    if option.metavar or option.argument:
        return option.metavar or option.name.upper()
    return "|".join(option.choices) or METAVARS.get(option.kind)


def _checking(option: Option) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        """The value, if the option takes it."""
        try:
            return option.checked(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return check


def _completing(option: Option) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        """The values that begin so: choices, runs or studies; the shell itself completes files."""
        names = option.choices
        if not names and option.metavar in FOLDERS and option.name != "name":
            workspace = ctx.params.get("workspace") or CommonConfig.workspace
            folder = Path(workspace).expanduser() / FOLDERS[option.metavar]
            names = tuple(sorted(path.name for path in folder.glob("[!.]*") if path.is_dir()))
        return [name for name in names if name.startswith(incomplete)]

    return complete
