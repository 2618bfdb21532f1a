"""Pictures of which nothing is decided, recognised by their warning: blank, or of no chest."""

BLANK = "blank"
"""Start of the warning of a picture whose pixels are all equal."""
NEARLY_BLANK = "nearly blank"
SEPARATOR = "; "
"""Between the warnings of one image."""
BY_PART, BY_MODALITY = " by its Body Part Examined", " by its Modality ("
"""What a DICOM's header says of a picture that shows something else than a chest."""


def shows_nothing(warning: str) -> bool:
    """Whether an image's warning says that it is blank.

    >>> shows_nothing("in colour; blank: every pixel is 255"), shows_nothing("in colour")
    (True, False)
    """
    parts = warning.split(SEPARATOR)
    return any(part == NEARLY_BLANK or part.startswith(f"{BLANK}: ") for part in parts)


def shows_no_chest(warning: str) -> bool:
    """Whether an image's warning says that its header names another part or another modality.

    >>> shows_no_chest("HAND by its Body Part Examined"), shows_no_chest("in colour")
    (True, False)
    """
    return any(part.endswith(BY_PART) or BY_MODALITY in part for part in warning.split(SEPARATOR))


def undecidable(warning: str) -> bool:
    """Whether nothing is decided of an image, by its warning."""
    return shows_nothing(warning) or shows_no_chest(warning)
