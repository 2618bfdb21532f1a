"""Blank pictures, recognised by their warning: they get no decision."""

BLANK = "blank"
"""Start of the warning of a picture whose pixels are all equal."""
NEARLY_BLANK = "nearly blank"
SEPARATOR = "; "
"""Between the warnings of one image."""


def shows_nothing(warning: str) -> bool:
    """Whether an image's warning says that it is blank.

    >>> shows_nothing("in colour; blank: every pixel is 255"), shows_nothing("in colour")
    (True, False)
    """
    parts = warning.split(SEPARATOR)
    return any(part == NEARLY_BLANK or part.startswith(f"{BLANK}: ") for part in parts)
