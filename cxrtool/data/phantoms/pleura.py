"""Findings between the lung and the chest wall: air, fluid and scars."""

import numpy as np

from cxrtool.data.phantoms.anatomy import Chest
from cxrtool.data.phantoms.film import Film
from cxrtool.data.phantoms.opacities import Site
from cxrtool.data.phantoms.raster import Box, box_around, ellipse


def draw_pneumothorax(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Pneumothorax: a dark rim without vessels outside a thin bright pleural line."""
    field = chest.field(site[0])
    down = np.linspace(0.0, rng.uniform(0.5, 0.68), 18)
    share = down / down[-1]
    depth = rng.uniform(0.26, 0.38) * (0.55 + 0.45 * strength) * np.cos(np.pi / 2 * share) ** 0.6
    pleura = field.at(1 - depth, np.maximum(down, 0.07))
    wall = field.at(1.0, down)
    rim = film.canvas.polygons([np.concatenate([pleura, wall[::-1]])], 0.08).masked(film.lungs)
    line = film.canvas.strokes([pleura], [0.2], 0.06).masked(film.lungs)
    film.add(rim, -0.18 * strength)
    film.vessels[rim.window] *= 1 - rim.values
    film.add(line, 0.36 * strength)
    return box_around(rim, line)


def draw_effusion(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Pleural Effusion: fluid that fills the outer corner and climbs the wall as a meniscus."""
    field = chest.field(site[0])
    across = np.linspace(0.0, 1.0, 24)
    dome = field.at(across, 1.0)
    corner = dome[-1, 1]
    rise = rng.uniform(5.0, 7.6) * (0.65 + 0.35 * strength)
    surface = np.minimum(corner - rise * (0.42 + 0.58 * across**4), dome[:, 1])
    top = np.stack([dome[:, 0], surface], axis=1)
    fluid = film.canvas.polygons([np.concatenate([dome, top[::-1]])], 0.14).masked(film.lungs)
    film.add(fluid, 0.62 * (0.3 + 0.7 * strength))
    return box_around(fluid)


def draw_thickening(
    film: Film, chest: Chest, site: Site, rng: np.random.Generator, strength: float
) -> list[Box]:
    """Pleural Other: a lobulated scar along the wall or over the apex, with chalky plaques."""
    field = chest.field(site[0])
    apex = rng.random() < 0.25
    start = 0.0 if apex else rng.uniform(0.24, 0.44)
    down = np.linspace(start, start + (0.16 if apex else rng.uniform(0.3, 0.4)), 14)
    swell = np.sin(np.linspace(0.12, np.pi - 0.12, 14)) ** 0.5
    lobes = 1 + 0.25 * np.sin(np.linspace(0, rng.uniform(9, 14), 14) + rng.uniform(0, 6))
    thick = 0.26 * swell * lobes * (1.8 if apex else 1)
    inner, wall = field.at(1 - thick, down), field.at(1.0, down)
    scar = film.canvas.polygons([np.concatenate([inner, wall[::-1]])], 0.1).masked(film.lungs)
    film.add(scar, 0.62 * strength)
    spots = rng.uniform(0.15, 0.85, 4)
    points = field.at(
        1 - 0.5 * np.interp(spots, np.linspace(0, 1, 14), thick), start + spots * (down[-1] - start)
    )
    chalk = [ellipse(x, y, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6), 0, 9) for x, y in points]
    plaques = film.canvas.polygons(chalk, 0.06).masked(film.lungs)
    film.add(plaques, 0.8 * strength)
    return box_around(scar, plaques)
