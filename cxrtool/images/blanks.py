"""Pictures that show nothing, by the warning that they carry: nothing is decided of them."""

BLANK = "blank"
"""Begins the warning of a picture whose pixels are all the same."""
NEARLY_BLANK = "nearly blank"
SEPARATOR = "; "
"""Between the warnings of one image."""


def shows_nothing(warning: str) -> bool:
    """Whether an image's warning says that there is nothing to be seen on it.

    >>> shows_nothing("in colour; blank: every pixel is 255"), shows_nothing("in colour")
    (True, False)
    """
    parts = warning.split(SEPARATOR)
    return any(part == NEARLY_BLANK or part.startswith(f"{BLANK}: ") for part in parts)
