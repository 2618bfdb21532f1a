"""Where the files of images are, that need not be on this machine until they are scored."""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

from cxrtool.images.dicom.instance_ids import InstanceIds

DICOMWEB = "dicomweb:"
"""What the address of an archive begins with, and the name of each image of it."""


class Window(NamedTuple):
    """Some images, while their files are on this machine."""

    places: Sequence[int]
    """Among all images."""
    files: Sequence[str]
    """In the order of the places."""
    errors: Mapping[int, str]
    """Why an image has no file, by its place."""


class Source(Protocol):
    """Where files come from that are on this machine only while they are needed."""

    def windows(self, places: Sequence[int], size: int) -> Generator[Window, None, None]:
        """The images at these places, at most so many at a time, in their order.

        Their files go when the next window is asked for; those of a study that continues in it stay
        until it is complete.
        """

    def ids(self, place: int) -> InstanceIds:
        """What is known of an image without its file."""

    def part(self, places: Sequence[int]) -> "Source":
        """The images at these places alone, in this order."""
