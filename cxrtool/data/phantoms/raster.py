"""Soft shapes on a canvas that is measured in centimetres: polygons, strokes and bones.

The origin is the middle of the chest at the height of the carina; x grows to the image's right
(the patient's left), y grows downwards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Points = NDArray[np.float64]
"""(n, 2): x and y in centimetres, or in pixels where the name says so."""
Plane = NDArray[np.float32]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels: the first column and row inside, and the first ones past the end."""

FIBRE = 120
"""Grey of a bone's marrow, beside 255 for its rim."""

ALIGN = 4
"""Patches start at multiples of this, so that a shape that is drawn at a quarter of the size falls
on the same pixels whatever is drawn with it."""


@dataclass(frozen=True)
class Patch:
    """A rectangle of a canvas: where it lies, and its values from 0 to 1."""

    rows: slice
    columns: slice
    values: Plane

    @property
    def window(self) -> tuple[slice, slice]:
        """The index of the rectangle in any plane of the canvas's size."""
        return self.rows, self.columns

    def masked(self, plane: Plane) -> "Patch":
        """The patch times a plane of the canvas's size (a mask from 0 to 1)."""
        return Patch(self.rows, self.columns, self.values * plane[self.window])

    def box(self, level: float = 0.15) -> Box | None:
        """The smallest box around all that exceeds `level`; None where nothing does."""
        seen = self.values > level
        if not seen.any():
            return None
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        x, y = self.columns.start, self.rows.start
        return (
            float(x + columns[0]),
            float(y + rows[0]),
            float(x + columns[-1] + 1),
            float(y + rows[-1] + 1),
        )


def box_around(*patches: Patch) -> list[Box]:
    """The box around all that can be seen of some patches; none where nothing can."""
    boxes = [box for patch in patches if (box := patch.box())]
    if not boxes:
        return []
    left, top, right, bottom = zip(*boxes, strict=True)
    return [(min(left), min(top), max(right), max(bottom))]


@dataclass(frozen=True)
class Canvas:
    """Where centimetres lie on an image: `scale` is pixels a centimetre, `angle` is in degrees.

    `shift` is where the origin lies, in pixels.
    """

    height: int
    width: int
    scale: float
    angle: float
    shift: tuple[float, float]

    @cached_property
    def _turn(self) -> Points:
        a = np.deg2rad(self.angle)
        turn: Points = self.scale * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        return turn

    def to_pixels(self, points: Points) -> Points:
        """Centimetres to pixels; both (n, 2)."""
        moved: Points = points @ self._turn + np.array(self.shift)
        return moved

    def _all_to_pixels(self, paths: Iterable[Points]) -> list[Points]:
        each = list(paths)
        ends = np.cumsum([len(path) for path in each])[:-1]
        return np.split(self.to_pixels(np.concatenate(each)), ends)

    def polygons(self, outlines: Iterable[Points], blur: float) -> Patch:
        """Fill closed outlines; `blur` is the edge's standard deviation in centimetres."""
        drawn = self._all_to_pixels(outlines)
        return self._patch(drawn, [0.0] * len(drawn), blur, closed=True)

    def strokes(self, paths: Iterable[Points], widths: Sequence[float], blur: float) -> Patch:
        """Draw open paths with round ends, each with its width; all in centimetres."""
        drawn = self._all_to_pixels(paths)
        return self._patch(drawn, widths, blur, closed=False)

    def bones(self, outlines: Iterable[Points], blur: float) -> Patch:
        """Fill closed outlines faintly and rim them brightly, as cortical bone looks."""
        drawn = self._all_to_pixels(outlines)
        return self._patch(drawn, [0.0] * len(drawn), blur, closed=True, rim=True)

    def _patch(
        self,
        paths: Sequence[Points],
        widths: Sequence[float],
        blur: float,
        closed: bool,
        rim: bool = False,
    ) -> Patch:
        sigma = blur * self.scale
        # Soft shapes are drawn small and enlarged, hard ones large and reduced: that is fast.
        grain = 2.0 if sigma < 1 and not rim else 1.0 if sigma < 1.6 else 0.5 if sigma < 8 else 0.25
        margin = 3 * sigma + max(widths, default=0.0) * self.scale + 2
        rows, columns = self._window(paths, margin)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < 2:
            return Patch(slice(0, 0), slice(0, 0), np.zeros((0, 0), np.float32))
        full = (-(-width // ALIGN) * ALIGN, -(-height // ALIGN) * ALIGN)
        size = (int(full[0] * grain), int(full[1] * grain))
        image = Image.new("L", size)
        pen = ImageDraw.Draw(image)
        corner = np.array([columns.start, rows.start])
        for path, thickness in zip(paths, widths, strict=True):
            xy = ((path - corner) * grain).ravel().tolist()
            if closed:
                pen.polygon(xy, fill=FIBRE if rim else 255, outline=255, width=1)
            else:
                _stroke(pen, xy, thickness * self.scale * grain)
        image = _blurred(image, sigma, grain)
        if image.size != full:
            image = image.resize(full, Image.Resampling.BILINEAR)
        values = np.asarray(image)[:height, :width] * np.float32(1 / 255)
        return Patch(rows, columns, values)

    def _window(self, paths: Sequence[Points], margin: float) -> tuple[slice, slice]:
        """The rows and columns that the paths and their blur reach, inside the canvas."""
        everything = np.concatenate(paths)
        low = np.floor((everything.min(axis=0) - margin) / ALIGN).astype(int) * ALIGN
        high = np.ceil(everything.max(axis=0) + margin).astype(int)
        top, bottom = np.clip((low[1], high[1]), 0, self.height)
        left, right = np.clip((low[0], high[0]), 0, self.width)
        return slice(int(top), int(bottom)), slice(int(left), int(right))


def _blurred(image: Image.Image, sigma: float, grain: float) -> Image.Image:
    if grain > 1:
        image = image.reduce(2)
    if sigma >= 1.6:
        return image.filter(ImageFilter.GaussianBlur(sigma * grain))
    # One box is as good as a Gaussian where only a pixel or two are blended.
    return image.filter(ImageFilter.BoxBlur(1.2 * sigma)) if sigma > 0.3 else image


def _stroke(pen: ImageDraw.ImageDraw, xy: list[float], thickness: float) -> None:
    # A line thinner than a pixel is drawn fainter instead.
    grey = round(255 * min(1.0, thickness))
    pen.line(
        xy, fill=grey, width=max(1, round(thickness)), joint="curve" if thickness > 4 else None
    )
    if thickness > 5:
        r = thickness / 2
        for x, y in (xy[:2], xy[-2:]):
            pen.ellipse((x - r, y - r, x + r, y + r), fill=grey)


def smooth_closed(points: Points, steps: int = 6) -> Points:
    """A closed Catmull-Rom curve through (n, 2) points, as (n * steps, 2)."""
    a, b = np.roll(points, 1, axis=0), points
    c, d = np.roll(points, -1, axis=0), np.roll(points, -2, axis=0)
    return _catmull_rom(a, b, c, d, steps)


def smooth_open(points: Points, steps: int = 6) -> Points:
    """An open Catmull-Rom curve through (n, 2) points, as ((n - 1) * steps + 1, 2)."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    curve = _catmull_rom(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], steps)
    return np.concatenate([curve, points[-1:]])


def _catmull_rom(a: Points, b: Points, c: Points, d: Points, steps: int) -> Points:
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (a, b, c, d))
    curve: Points = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve.reshape(-1, 2)


def ellipse(
    x: float, y: float, rx: float, ry: float, angle: float = 0.0, steps: int = 28
) -> Points:
    """The outline of an ellipse around (x, y), turned by `angle` degrees, as (steps, 2)."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    a = np.deg2rad(angle)
    flat = np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1)
    turned: Points = flat @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    moved: Points = turned + np.array([x, y])
    return moved


def ribbon(path: Points, half_width: NDArray[np.float64] | float) -> Points:
    """The closed outline of a band around a path (n, 2), as (2n, 2)."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.broadcast_to(np.asarray(half_width, dtype=np.float64), (len(path),))[:, None]
    return np.concatenate([path + across * half, (path - across * half)[::-1]])


def mirrored(points: Points, side: int) -> Points:
    """Points drawn for the image's right (side 1), flipped for its left (side -1)."""
    flipped: Points = points * np.array([float(side), 1.0])
    return flipped
