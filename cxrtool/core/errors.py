"""The errors that a user can mend: raised anywhere, shown once, by the command line's boundary."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class CxrToolError(Exception):
    """What is wrong, where, what was expected and found, and what to do next, in one message."""

    exit_code = 1


class DataError(CxrToolError):
    """A table, an image or a split that cannot be used as it is."""


class RunError(CxrToolError):
    """A run that is missing, unfinished, incomplete or altered."""


class NotWrittenError(RunError):
    """A file of a run that could not be written: the disk is full, or failed."""


class WeightsError(CxrToolError):
    """Weights that cannot be had or do not fit the network."""


class StoppedError(CxrToolError):
    """Work that was asked to stop, and did so in order: the message says how to resume it."""

    exit_code = 130


class UsageError(CxrToolError):
    """An option's value that no data could make right."""

    exit_code = 2


LONGEST = 300
"""Characters of each of the things that a message names."""


def first_few(things: Sequence[object], limit: int = 3) -> str:
    """Name the first few of many: `a, b, c, ... (112 in all)`."""
    # A file's header or a key may be of any length.
    texts = [str(thing) for thing in things[:limit]]
    shown = ", ".join(text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in texts)
    return shown if len(things) <= limit else f"{shown}, ... ({len(things)} in all)"


def counted(number: int, noun: str) -> str:
    """So many things: `1 image`, `2,000 images`, `3 studies`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The names of which one thing is said, by what it is: pairs give that, and a name.

    >>> grouped([("rare", "Fracture"), ("absent", "Edema"), ("rare", "Pneumonia")])
    {'rare': ['Fracture', 'Pneumonia'], 'absent': ['Edema']}
    """
    found: dict[str, dict[str, None]] = {}
    for said, name in pairs:
        found.setdefault(said, {})[name] = None
    return {said: list(names) for said, names in found.items()}


def unknown_name(what: str, name: str, names: Sequence[str]) -> str:
    """The message for a name that is not among `names`: the near ones first, if there are any."""
    near = near_names(name, names)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{what} {name!r} is not known: {meant}there are {', '.join(names)}"


def unknown_names(what: str, unknown: Sequence[str], names: Sequence[str]) -> str:
    """The same for several at once, each with what may have been meant."""
    if len(unknown) == 1:
        return unknown_name(what, unknown[0], names)
    found = [f"{name!r}{did_you_mean(near_names(name, names))}" for name in unknown]
    return f"{len(found)} {what}s are not known: {', '.join(found)}; there are {', '.join(names)}"


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Up to three that may have been meant."""
    return get_close_matches(name, names, n=3, cutoff=0.6)


def did_you_mean(found: Sequence[str]) -> str:
    """` (did you mean a or b?)`; nothing where nothing is near."""
    return f" (did you mean {' or '.join(found)}?)" if found else ""
