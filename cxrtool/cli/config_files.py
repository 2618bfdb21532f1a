"""Files of option values: `--config`, and recipes of one's own."""

from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import typer

from cxrtool.cli.suggestions import FILES, OPTION_WORDS, meant
from cxrtool.core.config import RECIPES
from cxrtool.core.config.option import GENERAL, Option
from cxrtool.core.errors import DataError, did_you_mean, unknown_name
from cxrtool.core.unicode_forms import on_disk

CONFIG = Option(
    name="config",
    panel=GENERAL,
    help="YAML file of option values, such as `epochs: 3`; options that are typed win over it.",
    kind=Path,
    optional=True,
    metavar="FILE",
)
_RECIPES = tuple(RECIPES)
Value = TypeVar("Value")


def in_home(value: Value) -> Value:
    """A path as it is on the disk: `~/x` in the home folder, names of either Unicode form.

    No shell has expanded what comes from a file, from a variable or from `--data=~/x`.
    """
    if isinstance(value, list):
        return cast(Value, [in_home(one) for one in value])
    if not isinstance(value, str | Path):
        return value
    if not str(value).startswith("~"):
        found = on_disk(Path(value))
        return value if found == Path(value) else cast(Value, type(value)(found))
    first, slash, rest = str(value).partition("/")
    if isinstance(value, str) and not slash and value != "~":
        return value  # a name may begin with ~
    with suppress(RuntimeError):  # no such user
        return cast(Value, type(value)(f"{Path(first).expanduser()}{slash}{rest}"))
    return value


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make a YAML file's values the defaults, so that flags still win over them."""
    if path is None or ctx.resilient_parsing:
        return path
    path = in_home(path)
    values = _values_in(path, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **values}
    ctx.meta.setdefault(FILES, {}).update(dict.fromkeys(values, path))
    _show_in_help(values, ctx)
    return path


def read_recipe(ctx: typer.Context, recipe: str) -> str:
    """Make a recipe's values the defaults; a config file's, and flags, win over them."""
    if ctx.resilient_parsing:
        return recipe
    recipe = in_home(recipe)
    if recipe in RECIPES:
        values = dict(RECIPES[recipe])
    elif Path(recipe).is_file():
        values = _values_in(Path(recipe), ctx)
        ctx.meta[FILES] = {**dict.fromkeys(values, recipe), **ctx.meta.get(FILES, {})}
        base = str(values.pop("recipe", _RECIPES[0]))
        if base not in RECIPES:
            raise typer.BadParameter(f"{recipe}: " + unknown_name("recipe", base, _RECIPES))
        values = {**RECIPES[base], **values}
    else:
        raise typer.BadParameter(unknown_name("recipe", recipe, _RECIPES) + ", or name a file")
    ctx.default_map = {**values, **(ctx.default_map or {})}
    _show_in_help(values, ctx)
    return recipe


def _show_in_help(values: dict[str, object], ctx: typer.Context) -> None:
    """Let the help tell these defaults also where it says in words how one is chosen."""
    for parameter in ctx.command.params:
        if values.get(str(parameter.name)) is not None and hasattr(parameter, "show_default"):
            parameter.show_default = True


def _values_in(path: Path, ctx: typer.Context) -> dict[str, object]:
    """A YAML file's option values, as the command line would have them."""
    from cxrtool.core.yaml_files import read_yaml

    try:
        values = read_yaml(path, as_text=True)
    except DataError as error:
        raise typer.BadParameter(str(error)) from None
    names = [str(parameter.name) for parameter in ctx.command.params if parameter.name != "config"]
    unknown = [str(key) for key in values if key not in names]
    if unknown:
        names.sort()
        described = [f"{key!r}{did_you_mean(meant(key, names, OPTION_WORDS))}" for key in unknown]
        are = "key is" if len(unknown) == 1 else f"{len(unknown)} keys are"
        raise typer.BadParameter(
            f"{path}: {are} not known: {', '.join(described)}; there are {', '.join(names)}"
        )
    several = {str(p.name) for p in ctx.command.params if getattr(p, "multiple", False)}
    found = {key: _as_written(value) for key, value in values.items()}
    for key in several & set(values):
        value = values[key]
        if value is not None:  # one value needs no list
            each = value if isinstance(value, list) else [value]
            found[key] = [_as_written(one) for one in each]
    return found


def _as_written(value: object) -> object:
    """A YAML value as the command line would have it: YAML has lists and pairs of its own."""
    if isinstance(value, dict):
        value = [f"{name}={item}" for name, item in value.items()]
    if isinstance(value, list):
        items = [str(item) for item in value]
        return ",".join(f'"{item}"' if "," in item else item for item in items)
    return value if value is None else str(value)
