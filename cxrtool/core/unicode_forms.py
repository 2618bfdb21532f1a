"""Names that look the same: an é may be one character (NFC) or an e and an accent (NFD).

macOS writes NFD, everybody else NFC, and other systems take the two for different files. The user's
files keep their names; they are compared in one form, and found under either.
"""

import os
import time
import unicodedata
from functools import lru_cache
from pathlib import Path

SETTLED = 2 * 10**9
"""Nanoseconds after which another change of a folder surely has another time."""


def normal(name: str) -> str:
    """A name in the form in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def forms(name: str) -> set[str]:
    """A name in the forms in which it may stand on a disk."""
    return {name, normal(name), unicodedata.normalize("NFD", name)}


def on_disk(path: Path) -> Path:
    """The path that is there, whose names may be in the other form; otherwise `path` as it is."""
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    parts = path.parts[1:] if path.anchor else path.parts
    for number, part in enumerate(parts):
        here = found / part
        if not os.path.lexists(here):
            other = _in_other_form(found, part)
            if other is None:
                return found.joinpath(*parts[number:])
            here = found / other
        found = here
    return found


def _in_other_form(folder: Path, name: str) -> str | None:
    try:
        changed = folder.stat().st_mtime_ns
        # A folder of a hundred thousand names is read once, and not once for each of them.
        settled = time.time_ns() - changed > SETTLED
        return (_by_form if settled else _by_form.__wrapped__)(folder, changed).get(normal(name))
    except OSError:
        return None


@lru_cache(maxsize=8)
def _by_form(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder, by the form in which they are compared, as of its last change."""
    return {normal(name): name for name in os.listdir(folder)}  # noqa: PTH208 - names alone
