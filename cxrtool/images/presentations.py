"""How pixels at full depth are shown as 8-bit greys: by a window or by a table (PS3.3, C.11.2).

A picture has several presentations; the first is the one that the network is given.
"""

import base64
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)
FULL_RANGE = "full range"
"""Name of the window from the least value to the greatest."""
AS_STORED = "as stored"
"""Name of the window that shows 8-bit pixels as they are."""

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window over values (C.11.2.1.2 and C.11.2.1.3)."""

    name: str
    centre: float
    width: float
    function: Function
    least: float | None = field(default=None, compare=False)
    """What is black, where the window was made of its ends: the centre is rounded."""

    @classmethod
    def between(cls, least: float, greatest: float, name: str) -> "Window":
        """The window that shows `least` as black and `greatest` as white."""
        width = (greatest - least) or 1.0
        centre = least + width / 2
        return cls(name=name, centre=centre, width=width, function="LINEAR_EXACT", least=least)

    @property
    def is_wide_enough(self) -> bool:
        """Whether the standard allows its width."""
        return self.width >= (1 if self.function == "LINEAR" else 1e-9)

    def of(self, values: Values) -> Values:
        """Each value from 0 (black) to 1 (white); linear ones exceed them outside the window."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return 1 / (1 + np.exp(-4 * (values - self.centre) / self.width))
        if self.least is not None:
            return (values - self.least) / self.width
        moved, width = (0.5, self.width - 1) if self.function == "LINEAR" else (0.0, self.width)
        centre = self.centre - moved
        return (values - centre) / width + 0.5 if width else (values > centre).astype(np.float64)

    def as_json(self) -> dict[str, Any]:
        """As the page and the API have it."""
        return {
            "kind": "window",
            "name": self.name,
            "centre": self.centre,
            "width": self.width,
            "function": self.function,
        }


@dataclass(frozen=True, kw_only=True)
class Table:
    """The grey of every pixel value from 0."""

    name: str
    greys: bytes
    """As displayed: where the least value is white, this is already applied."""

    def as_json(self) -> dict[str, Any]:
        """As the page and the API have it."""
        greys = base64.b64encode(self.greys).decode("ascii")
        return {"kind": "table", "name": self.name, "greys": greys}


Presentation = Window | Table


def presentation_from(values: dict[str, Any]) -> Presentation:
    """The presentation that `as_json` gave."""
    rest = {key: value for key, value in values.items() if key != "kind"}
    if values["kind"] == "window":
        return Window(**rest)
    return Table(name=rest["name"], greys=base64.b64decode(rest["greys"]))


@dataclass(frozen=True, kw_only=True)
class FullDepth:
    """A grey picture's pixels at their full depth, and how they may be shown."""

    values: NDArray[np.uint8] | NDArray[np.uint16]
    """(rows, columns)."""
    slope: float
    intercept: float
    """A pixel's value, over which windows are, is slope * pixel + intercept."""
    white_is_zero: bool
    """Whether what a window gives is to be inverted."""
    presentations: tuple[Presentation, ...]
    """The first shows the picture as the network is given it, within one level."""

    def turned(self, how: Image.Transpose) -> "FullDepth":
        """The same picture, turned or mirrored."""
        values = np.asarray(Image.fromarray(self.values).transpose(how))
        return replace(self, values=values)


def as_stored(grey: Image.Image) -> FullDepth:
    """An 8-bit picture as its own full depth."""
    return FullDepth(
        values=np.asarray(grey),
        slope=1.0,
        intercept=0.0,
        white_is_zero=False,
        presentations=(Window.between(0, 255, AS_STORED),),
    )
