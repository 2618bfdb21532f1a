"""Options as Typer's parameters: each is declared once, in `core.config`, and made here."""

import inspect
from collections.abc import Callable
from contextlib import suppress
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
    """A parameter of a command's function; a callback reads defaults, and is called first."""
    required = inspect.Parameter.empty
    low, high = option.within or (None, None)
    about: dict[str, Any] = {
        "help": option.help,
        "metavar": _metavar(option),
        "min": low,  # of these only the help knows: `parser` comes before them
        "max": high,
        "parser": _reading(option),
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
        default=required if option.default is None and not option.optional else option.default,
        annotation=Annotated[hint | None if option.optional else hint, declared],
    )


def _metavar(option: Option) -> str | None:
    if option.metavar or option.argument:
        return option.metavar or option.name.upper()
    return "|".join(option.choices) or METAVARS.get(option.kind)


def _reading(option: Option) -> Callable[[Any], Any] | None:
    """What makes a number of a text, and refuses another in the option's words, not Typer's."""
    if option.kind not in (int, float):
        return None

    def read(text: Any) -> Any:
        value = text
        with suppress(ValueError):  # no number: refused as the text that it is
            value = option.kind(text)
        return _accepted(option, value)

    return read


def _checking(option: Option) -> Callable[[Any], Any] | None:
    """What refuses a value as it is read, so that the message names the file that it is from."""
    if not option.choices and option.check is None:
        return None

    def check(value: Any) -> Any:
        return _accepted(option, value)

    return check


def _accepted(option: Option, value: Any) -> Any:
    try:
        return option.checked(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _completing(option: Option) -> Callable[[typer.Context, str], list[str]] | None:
    """What offers values: choices, runs or studies; files are completed by the shell itself."""
    folder = None if option.name == "name" else FOLDERS.get(option.metavar)
    if not option.choices and folder is None:
        return None

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        names = list(option.choices)
        if folder is not None and not names:
            place = Path(ctx.params.get("workspace") or CommonConfig.workspace).expanduser()
            names = sorted(path.name for path in (place / folder).glob("[!.]*") if path.is_dir())
        return [name for name in names if name.startswith(incomplete)]

    return complete
