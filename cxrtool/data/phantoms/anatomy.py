"""What a patient's chest is made of, whatever side it is seen from: build, lungs, layers."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cxrtool.data.phantoms.raster import Points, ribbon

RIGHT, LEFT = -1, 1
"""The patient's sides, as the signs of x: the patient's right lung is on the image's left."""


@dataclass(frozen=True)
class Build:
    """What stays the same in all images of a patient; lengths in centimetres."""

    female: bool
    width: float
    """From the midline to the lungs' outer wall."""
    base: float
    """Height of the right diaphragm's dome."""
    heart: float
    """Width of the heart over the width of both lungs: the cardiothoracic ratio."""
    mediastinum: float
    rib_spacing: float
    rib_droop: float
    shoulder: float
    bulk: float
    breast: float
    bubble: float
    vessels_seed: int


def draw_build(rng: np.random.Generator, *, female: bool, age: int) -> Build:
    """Draw a patient's build: women are smaller, and hearts widen a little with age."""
    size = rng.normal(0.95 if female else 1.02, 0.04)
    return Build(
        female=female,
        width=13.0 * size * rng.normal(1, 0.03),
        base=7.2 * size + rng.normal(0, 0.7),
        heart=float(np.clip(rng.normal(0.435 + 0.0005 * (age - 55), 0.022), 0.38, 0.48)),
        mediastinum=float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.12)),
        rib_spacing=rng.normal(2.15, 0.09) * size,
        rib_droop=rng.normal(3.4, 0.5),
        shoulder=rng.normal(0, 0.6),
        bulk=rng.normal(0, 1),
        breast=rng.uniform(3.8, 5.8) if female else 0.0,
        bubble=rng.uniform(0.6, 1.6),
        vessels_seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class LungField:
    """One aerated region: `side` times the distance from the line x = `middle`."""

    side: int
    middle: float
    inner: float
    outer: float
    top: float
    base: float
    """Height of the diaphragm's dome; the lung's outer corner hangs `gutter` below it."""
    gutter: float

    def inside(self, y: float | Points) -> Points:
        """Distance of the inner border from the middle at heights y (any shape)."""
        apex = np.clip((np.asarray(y) - self.top) / (0.28 * (self.base - self.top)), 0, 1)
        tip = self.inner + 0.22 * (self.outer - self.inner)
        edge: Points = tip - (tip - self.inner) * np.sqrt(1 - (1 - apex) ** 2)
        return edge

    def outside(self, y: float | Points) -> Points:
        """Distance of the outer wall from the middle at heights y (any shape)."""
        down = np.clip((np.asarray(y) - self.top) / (0.85 * (self.base - self.top)), 0, 1)
        tip = self.inner + 0.22 * (self.outer - self.inner)
        wall: Points = tip + (self.outer - tip) * np.sqrt(1 - (1 - down) ** 2.3)
        return wall

    def dome(self, across: float | Points) -> Points:
        """Height of the diaphragm, `across` from the inner border (0) to the wall (1)."""
        far = np.asarray(across) - 0.38
        curve: Points = self.base + np.where(
            far > 0, self.gutter * (far / 0.62) ** 2, 0.35 * self.gutter * (far / 0.38) ** 2
        )
        return curve

    def at(self, across: float | Points, down: float | Points) -> Points:
        """Points (n, 2) by their share of the way across the lung and down to the dome."""
        across, down = np.broadcast_arrays(np.asarray(across, float), np.asarray(down, float))
        y = self.top + down * (self.dome(across) - self.top)
        distance = self.inside(y) + across * (self.outside(y) - self.inside(y))
        return np.stack([self.middle + self.side * distance, y], axis=-1).reshape(-1, 2)

    def outline(self) -> Points:
        """The whole border, as (n, 2)."""
        down, across = np.linspace(0, 1, 20), np.linspace(1, 0, 16)
        return np.concatenate(
            [self.at(1.0, down), self.at(across, 1.0)[1:], self.at(0.0, down[::-1])[1:-1]]
        )


@dataclass(frozen=True)
class Layer:
    """Shapes of one tissue: how much they add to the film's density, and how soft they are."""

    kind: str
    """`area` (filled), `cover` (filled up to a density, whatever lies below), `bone` (filled and
    rimmed) or `stroke` (lines, `width` centimetres)."""
    shapes: tuple[Points, ...]
    density: float
    blur: float = 0.15
    width: float = 0.0


@dataclass(frozen=True)
class Chest:
    """Everything that is drawn of a healthy chest, and what findings need to know of it."""

    lateral: bool
    fields: tuple[LungField, ...]
    heart: Points
    mediastinum: Points
    ribs: tuple[Points, ...]
    """Centre lines, from the spine outwards."""
    rib_half_width: float
    backdrop: tuple[Layer, ...]
    """Skin, muscle and what lies behind the lungs."""
    front: tuple[Layer, ...]
    """Bones and air that lie over everything."""

    def field(self, side: int) -> LungField:
        """The lung of a side; seen from the side there is only one."""
        return self.fields[0] if self.lateral or side == RIGHT else self.fields[1]

    def layers(self) -> tuple[Layer, ...]:
        """All layers over the lungs, in drawing order: first the heart and the mediastinum."""
        rib_outlines = tuple(ribbon(rib, self.rib_half_width) for rib in self.ribs)
        return (
            Layer("area", (self.mediastinum, self.heart), 0.40, blur=0.22),
            *self.backdrop,
            Layer("bone", rib_outlines, 0.115 if not self.lateral else 0.08, blur=0.07),
            *self.front,
        )


@lru_cache(maxsize=8)
def _vessel_shares(seed: int) -> tuple[Points, tuple[float, ...]]:
    """Branches of one lung: (branches, 5, 2) shares as `LungField.at` takes them, and widths."""
    rng = np.random.default_rng(seed)
    main, t = 9, np.linspace(0, 1, 9)
    aim = np.linspace(-1.15, 0.85, main) + rng.uniform(-0.1, 0.1, main)
    reach = rng.uniform(0.7, 0.95, main)[:, None]
    bend = rng.uniform(-0.25, 0.25, main)[:, None]
    turn = aim[:, None] + bend * t
    across = np.clip(0.07 + 0.92 * reach * t * np.cos(0.8 * turn), 0.02, 0.97)
    down = np.clip(0.55 + 0.5 * reach * t * np.sin(turn), 0.04, 0.97)
    mains = np.stack([across, down], axis=2)
    paths = [mains[:, :3], mains[:, 2:5], mains[:, 4:7], mains[:, 6:]]
    widths = [0.46] * main + [0.3] * main + [0.17] * main + [0.08] * main
    for start, width in ((2, 0.2), (3, 0.17), (4, 0.13), (5, 0.1), (6, 0.08)):
        way = mains[:, start] - mains[:, start - 1]
        side = np.where(np.arange(main) % 2 == start % 2, 1.0, -1.0)[:, None]
        skew = np.stack([-way[:, 1], way[:, 0]], axis=1) * side * rng.uniform(0.5, 0.9, (main, 1))
        s = np.linspace(0, 1, 3)[:, None]
        twig = mains[:, None, start] + (way + skew)[:, None] * 2.0 * s - skew[:, None] * 0.7 * s**2
        paths.append(np.clip(twig, 0.02, 0.97))
        widths += [width] * main
    longest = max(path.shape[1] for path in paths)
    padded = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0)), "edge") for p in paths]
    return np.concatenate(padded), tuple(widths)


def vessel_tree(build: Build, field: LungField) -> tuple[tuple[Points, ...], tuple[float, ...]]:
    """Branches from a lung's root outwards: paths and their widths in centimetres."""
    shares, widths = _vessel_shares(build.vessels_seed + field.side)
    points = field.at(shares[..., 0].ravel(), shares[..., 1].ravel())
    return tuple(points.reshape(shares.shape)), widths
