"""How this program was called, so that a command that is named works as it is typed."""

import functools
import re
import shlex
import shutil
import sys
from pathlib import Path

from cxrtool.core.config import CommonConfig

NAME = "cxrtool"


@functools.cache
def program() -> str:
    """What the user types before a command: cxrtool, or a path to it where no PATH leads there."""
    return _as_typed(sys.argv[0])


def _as_typed(script: str) -> str:
    path = Path(script)
    if path.name == "__main__.py" and path.parent.name == NAME:
        return f"{_word(sys.executable, Path(sys.executable).name)} -m {NAME}"
    return _word(script, NAME) if path.stem == NAME else NAME


def _word(path: str, name: str) -> str:
    """A program's name, where the shell finds this very one by it; otherwise its path."""
    found = shutil.which(name)
    # Not where links lead: the python of a virtual environment is a link to another one.
    same = found is not None and Path(found).absolute() == Path(path).absolute()
    return name if same else shlex.quote(path)


def workspace_option(folder: Path) -> str:
    """The -w option that a command about a workspace needs, if any."""
    usual = folder == CommonConfig.workspace
    return "" if usual else f" -w {shlex.quote(str(folder))}"


def as_called(text: str) -> str:
    """A message whose commands, in backticks, begin as the user has to begin them."""
    return re.sub(rf"`{NAME}(?= )", lambda _: f"`{program()}", text)
