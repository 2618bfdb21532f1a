"""What a film on display needs of a DICOM's header beyond its pixels: scale, sides and study."""

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

FILM_TAGS = (
    "WindowCenterWidthExplanation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "StudyInstanceUID",
)
"""Elements read for a film alone: names of windows, a ruler's scale, and which films are one study.

The study's number is the only one that belongs to a person's record: it goes back to whoever sent
the file, so that the films of one study can be shown together, and nowhere else."""
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
"""In order: measured in the patient if calibrated, else at the detector (PS3.3, 10.7.1.3)."""
SIDES = {"L": ("R", "L"), "R": ("L", "R")}
"""Left and right edge, by where a row runs to."""
MOST_UID = 64
"""Characters of a UID (PS3.5, 9.1)."""


@dataclass(frozen=True, kw_only=True)
class FilmHeader:
    """Where a film's pixels lie; all of it may be unknown."""

    spacing: tuple[float, float] | None = None
    """Millimetres from row to row, and from column to column."""
    sides: tuple[str, str] = ("", "")
    """The patient's sides at the left and at the right edge: R or L."""
    study: str = ""
    """Study Instance UID."""


def read_film_header(dataset: Dataset, *, lying: bool = False) -> FilmHeader:
    """Read what is there and usable; a damaged value is an unknown one.

    Args:
        dataset: with the orientation of the picture as it is shown.
        lying: whether its rows were columns in the file.
    """
    orientation = _values(dataset, "PatientOrientation")
    row = str(orientation[0]).strip() if orientation else ""
    study = "".join(str(one) for one in _values(dataset, "StudyInstanceUID")[:1])
    spacing = next(filter(None, (_spacing(dataset, keyword) for keyword in SPACINGS)), None)
    return FilmHeader(
        spacing=spacing[::-1] if lying and spacing is not None else spacing,
        sides=SIDES.get(row, ("", "")),
        study="".join(one for one in study if one.isprintable())[:MOST_UID],
    )


def _spacing(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        row, column = (float(one) for one in _values(dataset, keyword))
    except (TypeError, ValueError):  # not two numbers
        return None
    # Not NaN, nothing infinite, nothing beyond what a detector can have.
    return (row, column) if all(0 < one < 1000 for one in (row, column)) else None


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """An element's values; none if it is absent or damaged."""
    try:
        value = dataset.get(keyword)
        return [] if value is None else [value] if isinstance(value, str) else list(value)
    except Exception:  # pydicom raises nearly anything on a damaged value
        return []
