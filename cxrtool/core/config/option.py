"""What an option is, and the check of its values wherever they come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from inspect import get_annotations
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from cxrtool.core.errors import UsageError, unknown_name

T = TypeVar("T")
Check = Callable[[Any], str]
"""What is wrong with a value, in words; empty if nothing is."""

# The groups of the help, in the order in which it shows them.
SEARCH = "Search"
RUN = "Run"
DATA = "Data"
SPLIT = "Split"
CACHE = "Cache"
MODEL = "Model"
OPTIMISATION = "Optimisation"
SCORES = "Scores"
HEAT_MAPS = "Heat maps"
DICOM_RESULTS = "DICOM results"
ARCHIVES = "Archives"
RECEIVING = "Receiving"
SPOOL = "Spool"
PAGE = "Page"
OUTPUT = "Output"
COMPUTING = "Computing"
GENERAL = "General"
PANELS = (
    *(SEARCH, RUN, DATA, SPLIT, CACHE, MODEL, OPTIMISATION),
    *(SCORES, HEAT_MAPS, DICOM_RESULTS, RECEIVING, SPOOL, ARCHIVES, PAGE, OUTPUT, COMPUTING),
    GENERAL,
)
_KEY = "option"
_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    Path: (Path, "a path"),
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field of a config as an option: its meaning, what it takes, and how it is written."""

    panel: str
    help: str
    within: tuple[float, float] | None = None
    """The smallest and the largest number allowed."""
    choices: tuple[str, ...] = ()
    named: Callable[[str], bool] | None = None
    """Whether a name is taken that is none of the choices."""
    besides: str = ""
    """What else is taken beside the choices begins with this."""
    noun: str = "value"
    """What one of the choices is called."""
    check: Check | None = None
    """Of what neither a range nor choices can say."""
    metavar: str = ""
    shown: str = ""
    """The default in words, where the value itself (None) says nothing."""
    flags: tuple[str, ...] = ()
    """Other than `--name`."""
    envvar: str | None = None
    argument: bool = False
    """Given by its place, without a flag."""

    # Of the field.
    name: str = ""
    default: object = None
    kind: type = str
    optional: bool = False
    several: bool = False

    @property
    def written(self) -> str:
        """The option as it is typed, and as messages name it."""
        if self.argument:
            return self.name
        if len(self.flags) == 1 and "/" not in self.flags[0]:  # a name that Python cannot have
            return self.flags[0]
        return f"--{self.name.replace('_', '-')}"

    def problem(self, value: object) -> str:
        """What is wrong with a value; empty if nothing is."""
        if value is None:
            return "" if self.optional else "a value is missing"
        if not self.several:
            return self._problem_of_one(value)
        if not isinstance(value, list | tuple):
            return f"{value!r} is not a list"
        return next((found for one in value if (found := self._problem_of_one(one))), "")

    def _problem_of_one(self, value: Any) -> str:
        if not _is_of(self.kind, value):
            return f"{shown(value)} is not {_KINDS[self.kind][1]}"
        low, high = self.within or (value, value)
        if value < low:
            return f"{shown(value)} is below {shown(low)}, the smallest value allowed"
        if value > high:
            return f"{shown(value)} is above {shown(high)}, the largest value allowed"
        if isinstance(value, float) and not isfinite(value):
            return f"{value} is not a finite number"
        if self.choices and value not in self.choices and not self._is_besides(value):
            besides = (f"{self.besides}NAME",) if self.besides else ()
            return unknown_name(self.noun, value, (*self.choices, *besides))
        return self.check(value) if self.check else ""

    def _is_besides(self, value: str) -> bool:
        if self.named is not None and self.named(value):
            return True
        return bool(self.besides) and value.startswith(self.besides) and value != self.besides

    def checked(self, value: T) -> T:
        """The value itself.

        Raises:
            ValueError: the option does not take it.
        """
        if found := self.problem(value):
            raise ValueError(found)
        return value


def _is_of(kind: type, value: object) -> bool:
    # True is an int to Python, and no number to anybody else.
    return isinstance(value, _KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))


def shown(value: object) -> str:
    """A value in a message."""
    if isinstance(value, float):
        return f"{value:.12g}"  # enough to differ from the end that it exceeds
    return str(value) if isinstance(value, Integral) else repr(value)


@dataclass(frozen=True)
class Unexplained(Generic[T]):
    """An option that is a field of a config once its help is given."""

    default: T
    about: dict[str, Any]

    def help(self, text: str) -> T:
        """The field; `text` is what the option means, in a sentence or two."""
        about = Option(help=text, **self.about)
        return field(default=self.default, metadata={_KEY: about})


def option(default: T, panel: str, **about: Any) -> Unexplained[T]:
    """`option(10, OPTIMISATION, within=(1, 99)).help("Epochs to train.")`: a field of a config.

    Args:
        default: its default.
        panel: the group of the help that it is in, one of `PANELS`.
        about: other fields of `Option`.
    """
    return Unexplained(default, {"panel": panel, **about})


def like(config: type, name: str, default: T, **other: Any) -> T:
    """The option of another config, with the same checks; `other` fields of `Option` differ."""
    about = next(one.metadata[_KEY] for one in fields(config) if one.name == name)
    return field(default=default, metadata={_KEY: replace(about, **other)})


@cache
def options_of(config: type) -> Mapping[str, Option]:
    """The options of a config by their names, those that it declares itself first."""
    hints, own = get_type_hints(config), get_annotations(config)
    found = {
        one.name: replace(
            one.metadata[_KEY], name=one.name, default=one.default, **_of_hint(hints[one.name])
        )
        for one in sorted(fields(config), key=lambda one: one.name not in own)
        if _KEY in one.metadata
    }
    return MappingProxyType(found)


def _of_hint(hint: Any) -> dict[str, Any]:
    parts = [part for part in get_args(hint) or (hint,) if part is not type(None)]
    plain = hint if get_origin(hint) is list else parts[0]
    several = get_origin(plain) is list
    return {
        "kind": get_args(plain)[0] if several else plain,
        "optional": type(None) in get_args(hint),
        "several": several,
    }


class Config:
    """The base of the configs: whoever makes one, each value is checked as its option says."""

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            UsageError: it names every option that does not take its value, and what it takes.
        """
        config: type = type(self)
        found = [
            f"{one.written}: {problem}"
            for name, one in options_of(config).items()
            if (problem := one.problem(getattr(self, name)))
        ]
        if found:
            raise UsageError("; ".join(found))
