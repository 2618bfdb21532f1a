"""Put an X-ray upright as its Patient Orientation says (PS3.3, C.7.6.1.1.1).

It names what of the patient a row runs to, and a column: left or right, front (anterior) or back
(posterior), head or foot. Upright, a column runs to the foot. A row of a frontal view runs to the
patient's left, as if facing who looks at it; a lateral view is shown to either side.
"""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image
from pydicom.dataset import Dataset

ACROSS, ALONG = ("L", "R", "A", "P"), ("H", "F")
LETTERS = {*ACROSS, *ALONG}
MOST_LETTERS = 3
"""Of a direction: the main one, and what it is oblique to."""
TURNS = {
    (False, False, False): None,
    (False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Image.Transpose.ROTATE_180,
    (True, False, False): Image.Transpose.TRANSPOSE,
    (True, True, False): Image.Transpose.ROTATE_270,
    (True, False, True): Image.Transpose.ROTATE_90,
    (True, True, True): Image.Transpose.TRANSVERSE,
}
"""By whether rows and columns change places, and whether then left and right, top and bottom do."""
FLAGS = {turn: flags for flags, turn in TURNS.items()}
LYING = {one for (lying, _, _), one in TURNS.items() if lying}
"""Those after which width and height have changed places."""
OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))


class Upright(NamedTuple):
    """What puts a picture upright."""

    turn: Image.Transpose | None
    orientation: tuple[str, str] | None
    """What rows and columns then run to; None: it is not known."""
    warning: str

    @property
    def lying(self) -> bool:
        """Whether rows and columns change places."""
        return self.turn in LYING

    def stored_place(self, across: float, down: float) -> tuple[float, float]:
        """Where a place of the upright picture is in the stored one.

        Both are shares of the picture's width and height, from its upper left corner.
        """
        lying, mirrored, upside_down = FLAGS[self.turn]
        across, down = 1 - across if mirrored else across, 1 - down if upside_down else down
        return (down, across) if lying else (across, down)


def upright(dataset: Dataset) -> Upright:
    """What puts a picture upright; nothing where it is, or where nobody says how it lies."""
    row, column = _directions(dataset.get("PatientOrientation"))
    if not row or not column:
        return Upright(None, None, "")
    said = f"its Patient Orientation ({row}\\{column})"
    lying = row[0] in ALONG
    across, along = (column, row) if lying else (row, column)
    if across[0] not in ACROSS or along[0] not in ALONG:
        return Upright(None, (row, column), f"{said} is of neither a frontal nor a lateral view")
    mirrored, upside_down = across[0] == "R", along[0] == "H"
    turn = TURNS[lying, mirrored, upside_down]
    orientation = _other_way(across, mirrored), _other_way(along, upside_down)
    return Upright(turn, orientation, f"put upright by {said}" if turn is not None else "")


def put_upright(dataset: Dataset) -> Upright:
    """Make a header's orientation that of the upright picture; the pixels are left to be turned."""
    found = upright(dataset)
    if found.turn is None or found.orientation is None:
        return found
    dataset.PatientOrientation = list(found.orientation)
    return found


def _directions(value: object) -> tuple[str, str]:
    """What rows and columns run to; empty where it is not said in the standard's letters."""
    said = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    words = [str(one).strip(" \0").upper() for one in said]
    known = all(0 < len(one) <= MOST_LETTERS and LETTERS.issuperset(one) for one in words)
    return (words[0], words[1]) if len(words) == 2 and known else ("", "")


def _other_way(direction: str, turned: bool) -> str:
    return "".join(OPPOSITE[letter] for letter in direction) if turned else direction
