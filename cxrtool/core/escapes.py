"""Characters that would steer a terminal, made visible: names come from other people's files."""

import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ufeff"  # ends of lines that are none, and a mark without width
    "\ud800-\udfff]"  # bytes of a file's name that are no text
)


def visible(text: str) -> str:
    r"""A text as a terminal may show it: `\x1b[31m` and not red; its lines stay."""
    return UNSAFE.sub(_escaped, text)


def json_escaped(text: str) -> str:
    """JSON with the same values, in which no such character stands as itself."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
