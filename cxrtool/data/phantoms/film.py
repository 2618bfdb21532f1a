"""From a chest to an 8-bit film: tissue adds up to a density, and density darkens to grey."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from cxrtool.data.phantoms.anatomy import Build, Chest, Layer, vessel_tree
from cxrtool.data.phantoms.frontal import frontal_body, frontal_chest
from cxrtool.data.phantoms.lateral import lateral_body, lateral_chest
from cxrtool.data.phantoms.raster import Canvas, Patch, Plane, ellipse

BODY, AIR = 0.62, -0.42
"""Density of the body's wall, and what the air in a lung takes away."""

GRAIN = 900
"""Side of the sheet of noise, in pixels: more than twice an image's."""


@dataclass(frozen=True)
class Exposure:
    """How one image of a patient was taken."""

    lateral: bool
    portable: bool
    height: int
    width: int
    scale: float
    """Pixels a centimetre."""
    angle: float
    shift: tuple[float, float]
    breath: float
    contrast: float
    offset: float
    noise: float
    cone: tuple[int, int, int, int]
    """Unexposed pixels at the left, top, right and bottom."""
    seed: int

    def canvas(self) -> Canvas:
        """The canvas that lies under the image."""
        return Canvas(self.height, self.width, self.scale, self.angle, self.shift)


def draw_exposure(rng: np.random.Generator, *, lateral: bool, portable: bool) -> Exposure:
    """Draw size, position, breath and tube settings; portable images vary most."""
    long = int(rng.integers(368, 400))
    landscape = not lateral and rng.random() < (0.75 if portable else 0.3)
    height, width = (320, long) if landscape else (long, 320)
    wild = 1.0 if portable else 0.6
    field = 38.5 if landscape else 40.0
    scale = min(height / field, width / (41 if landscape else 34)) * rng.normal(1, 0.035 * wild)
    centre = np.array([width * 0.5, height * (0.5 if landscape else 0.47)])
    shift = centre + rng.normal(0, 0.75 * wild, 2) * scale
    cone = tuple(int(v) for v in rng.integers(1, 12, 4) * (rng.random(4) < 0.3))
    return Exposure(
        lateral=lateral,
        portable=portable,
        height=height,
        width=width,
        scale=float(scale),
        angle=rng.normal(0, 2.6 * wild),
        shift=(float(shift[0]), float(shift[1])),
        breath=rng.normal(0, 0.7),
        contrast=float(np.clip(rng.normal(1.0, 0.11), 0.78, 1.25)),
        offset=rng.normal(0.0, 0.04),
        noise=rng.uniform(0.008, 0.022),
        cone=(cone[0], cone[1], cone[2], cone[3]),
        seed=int(rng.integers(2**31)),
    )


def build_chest(build: Build, exposure: Exposure) -> Chest:
    """The chest as this exposure sees it."""
    if exposure.lateral:
        return lateral_chest(build, breath=exposure.breath)
    return frontal_chest(build, portable=exposure.portable, breath=exposure.breath)


class Film:
    """A film while it is being drawn: planes of the image's size."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        shape = (canvas.height, canvas.width)
        self.density: Plane = np.zeros(shape, np.float32)
        self.body: Plane = np.zeros(shape, np.float32)
        """The body's thickness: thinner towards the skin, 0 outside."""
        self.vessels: Plane = np.zeros(shape, np.float32)
        """Kept apart until the end, because a collapsed lung loses them."""
        self.lungs: Plane = np.zeros(shape, np.float32)
        """1 where there is air-filled lung in front of the film, 0 elsewhere."""

    def add(self, patch: Patch, density: float) -> None:
        """Add a patch to the density, times a factor."""
        self.density[patch.window] += np.float32(density) * patch.values

    def draw(self, layer: Layer) -> Patch:
        """Add a layer of anatomy; where it lies."""
        if layer.kind == "stroke":
            patch = self.canvas.strokes(layer.shapes, [layer.width] * len(layer.shapes), layer.blur)
        elif layer.kind == "bone":
            patch = self.canvas.bones(layer.shapes, layer.blur)
        else:
            patch = self.canvas.polygons(layer.shapes, layer.blur)
        if layer.kind == "cover":
            below = self.density[patch.window]
            level = np.float32(layer.density) * self.body[patch.window]
            below += patch.values * (level - below)
        else:
            self.add(patch, layer.density)
        return patch


def expose_chest(chest: Chest, build: Build, exposure: Exposure) -> Film:
    """Draw all anatomy; findings are added to the film afterwards."""
    film = Film(exposure.canvas())
    body = lateral_body(build) if exposure.lateral else frontal_body(build)
    skin, depth = film.canvas.polygons([body], 0.3), film.canvas.polygons([body], 2.4)
    film.body[depth.window] = depth.values
    inside = film.body[skin.window] * skin.values
    film.body[:] = 0
    film.body[skin.window] = inside
    film.density += np.float32(BODY) * film.body
    lungs = film.canvas.polygons([field.outline() for field in chest.fields], 0.13)
    film.lungs[lungs.window] = lungs.values
    film.add(lungs, AIR)
    silhouette, *others = chest.layers()
    middle = film.draw(silhouette)
    for layer in others:
        film.draw(layer)
    trees = [vessel_tree(build, field) for field in chest.fields]
    paths = [path for tree in trees for path in tree[0]]
    widths = [width for tree in trees for width in tree[1]]
    vessels = film.canvas.strokes(paths, widths, 0.125)
    film.vessels[vessels.window] += np.float32(0.16) * vessels.values
    if not chest.lateral:
        roots = [
            ellipse(f.side * 3.1, -0.4 + 0.6 * (f.side < 0), 0.9, 1.9, -14 * f.side)
            for f in chest.fields
        ]
        hila = film.canvas.polygons(roots, 0.4)
        film.vessels[hila.window] += np.float32(0.14) * hila.values
    film.vessels *= film.lungs
    # The mediastinum hides most of what lies behind it.
    film.vessels[middle.window] *= 1 - np.float32(0.7) * middle.values
    return film


def develop(film: Film, exposure: Exposure) -> Image.Image:
    """Scatter, the film's curve, grain and the unexposed border: an 8-bit grey image."""
    rng = np.random.default_rng(exposure.seed)
    height, width = film.density.shape
    film.density += film.vessels
    scatter = Image.fromarray(rng.normal(0, 1, (5, 5)).astype(np.float32))
    film.density += np.float32(0.03) * _resized(scatter, (width, height))
    light = np.exp(np.float32(-1.65 * exposure.contrast) * film.density)
    grey = np.float32(1.0 + exposure.offset) - light
    row, column = rng.integers(GRAIN - height), rng.integers(GRAIN - width)
    grey += np.float32(exposure.noise) * _grain()[row : row + height, column : column + width]
    grey *= np.float32(262)
    left, top, right, bottom = exposure.cone
    grey[:, :left] = grey[:top] = grey[:, width - right :] = grey[height - bottom :] = 4
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def _grain() -> Plane:
    """One sheet of noise, which every image cuts its own piece from: drawing it is slow."""
    return np.random.default_rng(GRAIN).standard_normal((GRAIN, GRAIN), dtype=np.float32)


def _resized(image: Image.Image, size: tuple[int, int]) -> Plane:
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32)
