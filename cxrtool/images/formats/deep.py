"""Deep pictures that Pillow does not read, where their pixels lie plainly in the file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DeepPicture:
    """A picture of one sample a pixel, not decoded yet."""

    width: int
    height: int
    mode: str
    """In Pillow's way: I;16, F;64."""
    decode: Callable[[], NDArray[Any]]
    """Gives (height, width); raises a DataError where it is damaged."""
    white_is_zero: bool = False
    orientation: int = 1
    """As of EXIF: 1 is upright."""
