"""Findings inside the lungs: haze, nodules, oedema, lobar blocks, fluffy patches and bands."""

import numpy as np

from cxrtool.data.phantoms.anatomy import LEFT, RIGHT, Chest, LungField
from cxrtool.data.phantoms.film import Film
from cxrtool.data.phantoms.raster import Box, Patch, Points, box_around, ellipse, smooth_closed

Site = tuple[int, float]
"""A side (-1 the patient's right, 1 the left), and the share of the way down the lung."""


def draw_opacity(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Lung Opacity: one smooth hazy cloud without an edge."""
    centre = _centre(chest.field(site[0]), site, rng)
    cloud = _lump(rng, centre, rng.uniform(2.5, 3.5), 0.2)
    return _add(film, film.canvas.polygons([cloud], 0.85), 0.36 * strength)


def draw_lesion(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Lung Lesion: a round mass with a sharp border, at times with a smaller one beside it."""
    field, boxes = chest.field(site[0]), list[Box]()
    centre = _centre(field, site, rng)
    radius = rng.uniform(1.7, 2.5)
    lumps = [_lump(rng, centre, radius, 0.05)]
    if rng.random() < 0.35:
        turn = rng.uniform(0, 2 * np.pi)
        beside = centre + (radius + 1.5) * np.array([np.cos(turn), np.sin(turn)])
        lumps.append(_lump(rng, beside, rng.uniform(0.6, 0.9), 0.05))
    for lump in lumps:
        boxes += _add(film, film.canvas.polygons([lump], 0.1), 0.68 * strength)
    return boxes


def draw_edema(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Edema: haze like a bat's wings around both lung roots, and Kerley B lines at the wall."""
    boxes = []
    spread, height = rng.uniform(0.2, 0.3), rng.uniform(0.48, 0.56)
    for side in (RIGHT, LEFT)[: len(chest.fields)]:
        field = chest.field(side)
        (x, y), *_ = field.at(spread + 0.08, height)
        wing = ellipse(x, y, 2.4 * spread / 0.25, rng.uniform(3.2, 4.4), -12 * side)
        puffs = [_lump(rng, p, rng.uniform(0.5, 0.9), 0.2) for p in _scattered(rng, wing, 7)]
        boxes += _add(film, film.canvas.polygons([wing], 1.0), 0.20 * strength)
        _add(film, film.canvas.polygons(puffs, 0.3), 0.07 * strength)
        start = rng.uniform(0.66, 0.74)
        downs = start + 0.035 * np.arange(int(rng.integers(5, 8)))
        lines = [field.at(np.array([0.8, 0.99]), np.array([d + 0.01, d])) for d in downs]
        kerley = film.canvas.strokes(lines, [0.16] * len(lines), 0.06)
        boxes += _add(film, kerley, 0.34 * strength)
    return boxes


def draw_consolidation(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Consolidation: a dense block along a straight fissure, with dark air bronchograms."""
    field = chest.field(site[0])
    top = float(np.clip(site[1] - 0.12, 0.12, 0.64))
    near, tall = rng.uniform(0.22, 0.34), rng.uniform(0.22, 0.28)
    across = np.linspace(near, 0.99, 7)
    ragged = top + tall + rng.normal(0, 0.018, 7)
    block = np.concatenate(
        [field.at(across, top + 0.03 * across), field.at(across[::-1], ragged[::-1])]
    )
    boxes = _add(film, film.canvas.polygons([block], 0.16), 0.46 * strength)
    airways = []
    for end in top + tall * np.array([0.22, 0.5, 0.8]):
        stem = field.at(np.array([near + 0.06, 0.62]), np.array([top + 0.5 * tall, end]))
        fork = field.at(np.array([0.5, 0.82]), np.array([0.3 * top + 0.7 * end, end + 0.03]))
        airways += [stem, fork]
    bronchi = film.canvas.strokes(airways, [0.34, 0.24] * 3, 0.08)
    _add(film, bronchi, -0.26 * strength)
    return boxes


def draw_pneumonia(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Pneumonia: a segment full of small fluffy patches that run into each other."""
    centre = _centre(chest.field(site[0]), site, rng)
    region = ellipse(
        centre[0], centre[1], rng.uniform(2.7, 3.4), rng.uniform(2.4, 3.0), rng.uniform(-40, 40)
    )
    tufts = [_lump(rng, p, rng.uniform(0.36, 0.62), 0.25) for p in _scattered(rng, region, 20)]
    return _add(film, film.canvas.polygons(tufts, 0.14), 0.58 * strength)


def draw_atelectasis(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Atelectasis: plate-like bands over a raised half of the diaphragm."""
    field = chest.field(site[0])
    across = np.linspace(0.04, 0.98, 16)
    lift = rng.uniform(1.2, 1.9) * (0.4 + 0.6 * strength) * np.sin(np.pi * across) ** 0.7
    low = field.at(across, 1.0)
    boxes = _add(
        film,
        film.canvas.polygons([np.concatenate([low, (low - lift[:, None] * (0, 1))[::-1]])], 0.1),
        0.52 * strength,
    )
    bands, count = [], int(rng.integers(2, 4))
    slope = rng.uniform(-0.07, 0.07)
    for i in range(count):
        down = 0.80 - 0.085 * i + rng.uniform(-0.015, 0.015)
        ends = np.array([rng.uniform(0.22, 0.34), rng.uniform(0.78, 0.94)])
        bands.append(field.at(ends, np.array([down, down + slope])))
    plates = film.canvas.strokes(bands, [0.75] * count, 0.09)
    return boxes + _add(film, plates, 0.6 * strength)


def _add(film: Film, patch: Patch, density: float) -> list[Box]:
    """Add what lies in the lungs; the box around it, if it can be seen at all."""
    seen = patch.masked(film.lungs)
    film.add(seen, density)
    return box_around(seen)


def _centre(field: LungField, site: Site, rng: np.random.Generator) -> Points:
    centre: Points = field.at(rng.uniform(0.4, 0.74), site[1] + rng.uniform(-0.04, 0.04))[0]
    return centre


def _lump(rng: np.random.Generator, centre: Points, radius: float, unrest: float) -> Points:
    """A closed round outline whose radius varies by the share `unrest`."""
    turn = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    r = radius * np.clip(rng.normal(1, unrest, 9), 0.6, 1.5)
    return smooth_closed(centre + np.stack([r * np.cos(turn), r * np.sin(turn)], axis=1), steps=3)


def _scattered(rng: np.random.Generator, outline: Points, count: int) -> Points:
    """Points (count, 2) inside a convex outline."""
    middle = outline.mean(axis=0)
    rims = outline[rng.integers(len(outline), size=count)]
    inside: Points = middle + (rims - middle) * np.sqrt(rng.random((count, 1)))
    return inside
