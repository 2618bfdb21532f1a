"""What a terminal is sent: names that cannot steer it, commands as the user types them."""

import functools
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

NAME = "cxrtool"
PLACE = " -w "
"""The option that names a workspace, within a command."""
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ufeff"  # ends of lines that are none, and a mark without width
    "\ud800-\udfff]"  # bytes of a file's name that are no text
)
"""Characters that would steer a terminal: names come from other people's files."""


def visible(text: str) -> str:
    r"""A text as a terminal may show it: `\x1b[31m` and not red; its lines stay."""

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return UNSAFE.sub(escaped, text)


def json_escaped(text: str) -> str:
    """JSON with the same values, in which no such character stands as itself."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@functools.cache
def program() -> str:
    """What the user types before a command: cxrtool, or a path to it where no PATH leads there."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py" and script.parent.name == NAME:
        return f"{_word(sys.executable, Path(sys.executable).name)} -m {NAME}"
    return _word(sys.argv[0], NAME) if script.stem == NAME else NAME


def _word(path: str, name: str) -> str:
    """A program's name, where the shell finds this very one by it; otherwise its path."""
    found = shutil.which(name)
    # Not where links lead: the python of a virtual environment is a link to another one.
    same = found is not None and Path(found).absolute() == Path(path).absolute()
    return name if same else shlex.quote(path)


_repeated: ContextVar[str] = ContextVar("repeated", default="")


@contextmanager
def repeating(options: str) -> Iterator[None]:
    """Inside, the commands in messages have these options: those that say where the user works."""
    token = _repeated.set(options)
    try:
        yield
    finally:
        _repeated.reset(token)


def as_called(text: str) -> str:
    """A message whose commands, in backticks, are as the user has to type them."""

    def called(found: re.Match[str]) -> str:
        words = found[1]
        return f"`{program()}{words}{'' if PLACE in words else _repeated.get()}`"

    return re.sub(rf"`{NAME}(\s[^`]+)`", called, text)
